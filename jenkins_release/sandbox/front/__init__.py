"""The door of the sandbox's AWS: which service a request is for."""
