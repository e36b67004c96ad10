"""Tests against an Active Directory domain: what is in ``inside`` runs in the domain's own network."""
