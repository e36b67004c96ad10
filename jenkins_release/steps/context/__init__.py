"""What steps work with: services, trusted keys, the trust root, watchers."""
