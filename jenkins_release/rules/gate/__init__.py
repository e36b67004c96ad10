"""The gate: what counts as evidence, who may say what, and what a promotion needs."""
