"""The signer's libraries and network; some of its modules may be compiled (services/signer/compilation.py)."""

from services.signer.compilation import compiled_first

compiled_first(__name__, __path__)
