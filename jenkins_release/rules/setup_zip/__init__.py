"""Rules about the setup zip: its settings, its files, and the proof of it."""
