"""Rules about the SaaS stack: what runs, what is to run, and whether it is healthy."""
