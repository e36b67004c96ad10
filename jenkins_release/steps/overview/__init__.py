"""What was released, and how it came to that."""
