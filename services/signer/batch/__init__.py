"""Batches: one approval, ten thousand documents, each signature provable against what was approved."""
