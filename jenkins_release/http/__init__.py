"""HTTP as our clients speak it: one exchange in bounded time, and a probe."""
