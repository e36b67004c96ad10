"""QA: signs a verdict with its test results, and revokes it."""
