"""Loopback Docker, Samba, registry, ECR and AWS for rehearsals, the demo and the tests."""
