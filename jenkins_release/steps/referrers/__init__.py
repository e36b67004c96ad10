"""What refers to the images in the registry: statements for other tools, attached and removed."""
