"""The entrance to the sandbox's AWS: finds the service of a request."""
