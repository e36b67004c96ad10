"""The promotion: planned, requested, approved, carried out."""
