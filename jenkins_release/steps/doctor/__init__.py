"""The doctor: whether a machine has everything that its part of a release needs."""
