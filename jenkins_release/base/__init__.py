"""What every part uses, and what uses no part: errors, waits, retries, names, versions."""
