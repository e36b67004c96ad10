"""The doctor: what it finds on good and on bad machines."""
