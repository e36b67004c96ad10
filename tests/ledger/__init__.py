"""The ledger outside the share."""
