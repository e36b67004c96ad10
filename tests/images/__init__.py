"""Tests of images, archives and the Docker daemon."""
