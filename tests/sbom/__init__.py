"""SBOM and VEX documents."""
