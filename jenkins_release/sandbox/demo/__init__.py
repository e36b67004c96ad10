"""The demo: one release from the build to the customer."""
