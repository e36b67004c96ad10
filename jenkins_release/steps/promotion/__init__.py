"""Plans, requests, approves and runs promotions."""
