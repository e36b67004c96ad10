"""The release process: one module per step, named by its verb."""
