"""ECS, SSM and Inspector for the sandbox, and moto's server."""
