"""Rules about customers: users, accounts, IAM policies and their audit."""
