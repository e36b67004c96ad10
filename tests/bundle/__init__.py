"""The setup zip at the customer's: its scripts in every shell, and the whole way on real parts."""
