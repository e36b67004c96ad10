"""IAM for the sandbox, on moto."""
