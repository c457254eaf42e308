"""Contracts: who must sign what, in which order, until when; the public API of the main line."""
