"""Lists and histories."""
