"""The documents: their examples run, their links lead somewhere, and they say what the code does."""
