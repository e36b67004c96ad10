"""HTTP for our clients: one exchange in bounded time, and a probe."""
