"""Publishing, and what is in force."""
