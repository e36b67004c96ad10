"""Rules about releases: support window, timeline, what a customer has in hand."""
