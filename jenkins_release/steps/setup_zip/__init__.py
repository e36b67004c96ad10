"""Builds and verifies the setup zip with which a customer deploys."""
