"""Release candidates: exported, listed, read, tampered with."""
