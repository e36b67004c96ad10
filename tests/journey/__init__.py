"""The whole way: from a promotion to a running stack at a customer's, and back."""
