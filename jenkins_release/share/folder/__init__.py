"""A share that is a folder of this machine."""
