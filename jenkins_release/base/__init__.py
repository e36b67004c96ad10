"""What every part uses, and what imports none of them: errors, waits, retries, names, versions."""
