"""The download portal."""
