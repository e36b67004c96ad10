"""The ledger: shown, verified, adopted."""
