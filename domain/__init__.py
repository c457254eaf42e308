"""Shared rules without I/O."""
