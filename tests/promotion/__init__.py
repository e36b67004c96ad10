"""Promotions: plan, approval, push, and everything that goes wrong on the way."""
