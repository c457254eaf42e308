"""The fast PAdES writer: our own reader of cross-references, splicing editor, CMS templates and self-check."""
