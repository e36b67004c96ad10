"""Publishing installers to the release area."""
