"""The fast PAdES writer: our own reader of cross-references, splicing editor, CMS templates and self-check."""

from services.signer.compilation import compiled_first

compiled_first(__name__, __path__)
