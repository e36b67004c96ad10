"""Faults of networks and servers, and what every command that writes does under each of them."""
