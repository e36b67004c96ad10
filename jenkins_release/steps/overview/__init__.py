"""What was released, and its history."""
