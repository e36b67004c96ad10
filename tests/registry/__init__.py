"""Tests of Amazon ECR: the client, and the sandbox that stands in for AWS."""
