"""What a stamp is drawn with says nothing of when and where it was drawn."""

from __future__ import annotations

from io import BytesIO

from fontTools.ttLib import TTFont

from services.signer.adapters.stamps import FONT_FILE, font_bytes


def test_the_font_is_the_same_in_every_process():
    """docs/adr/0008: a signer that starts again makes the same bytes; who approved one digest is asked for no other."""
    trimmed, whole = TTFont(BytesIO(font_bytes())), TTFont(FONT_FILE, recalcTimestamp=False)
    assert trimmed["head"].modified == whole["head"].modified
