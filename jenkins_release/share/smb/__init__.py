"""A share over SMB 3."""
