"""A registry on loopback: what container tools of this machine pull from."""
