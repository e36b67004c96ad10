"""The SaaS stack: refresh, status, rollback."""
