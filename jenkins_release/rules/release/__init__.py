"""Rules about releases: support window, timeline, proof for customers."""
