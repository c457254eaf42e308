"""Tells subscribers what happened: webhooks that are signed, kept until delivered, and the same on every attempt."""
