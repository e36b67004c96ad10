"""Amazon ECR for the sandbox: its API, its registry, and the faults that it can inject."""
