"""The registry on loopback, request by request."""
