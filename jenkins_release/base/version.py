"""The package's version."""

__version__ = "0.1.0"
PROGRAM = f"jenkins-release/{__version__}"
"""How the package names itself in records."""
