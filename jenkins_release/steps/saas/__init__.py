"""The SaaS stack: refreshed, rolled back, compared with what was released."""
