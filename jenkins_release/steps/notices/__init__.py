"""Notifies people of what happened."""
