"""The setup zip with which a customer deploys."""
