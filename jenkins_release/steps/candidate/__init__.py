"""A release candidate: exported, listed, opened, loaded, fetched, verified."""
