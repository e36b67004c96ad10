"""What refers to the images in the registry."""
