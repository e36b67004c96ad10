"""Rules about the SaaS stack: what runs, what should run, and whether it is healthy."""
