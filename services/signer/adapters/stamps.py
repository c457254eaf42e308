# mypy: allow-untyped-calls
"""The visible part of a signature: Vietnamese text in an embedded font, fit for PDF/A, upright on every page."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import x509 as asn1_x509
from fontTools.ttLib import TTFont
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.font.opentype import GlyphAccumulator
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.writer import BasePdfFileWriter

FONT_FILE = Path(__file__).parent.parent / "fonts" / "NotoSans-Regular.ttf"
VIETNAM = timezone(timedelta(hours=7))
LEADING = 1.28
ASCENT, DESCENT = 1.069, 0.293
LARGEST, SMALLEST, PER_HEIGHT = 11.0, 0.25, 6.2
PADDING = 3.0
BAR = 1.6


@dataclass(frozen=True)
class StampText:
    """What a stamp says."""

    name: str
    organisation: str | None
    at: datetime
    mark: str

    def paragraphs(self) -> tuple[str, ...]:
        """The lines in Vietnamese, each of which may be broken further."""
        said = [f"Ký bởi: {self.name}"]
        if self.organisation and self.organisation != self.name:
            said.append(f"Tổ chức: {self.organisation}")
        said.append(f"Ngày ký: {self.at.astimezone(VIETNAM):%d/%m/%Y %H:%M} (GMT+7)")
        said.append(f"Mã tài liệu: {self.mark}")
        return tuple(unicodedata.normalize("NFC", " ".join(line.split())) for line in said)


def text_for(certificate: bytes, at: datetime, mark: str) -> StampText:
    """What to say of the holder of this certificate (DER): common name and organisation; never a personal number."""
    said: dict[str, str] = {}
    for rdn in asn1_x509.Certificate.load(certificate).subject.chosen:
        for item in rdn:
            said.setdefault(item["type"].native, str(item["value"].native))
    organisation = said.get("organization_name")
    return StampText(said.get("common_name") or organisation or "—", organisation, at, mark)


@cache
def _font_bytes() -> bytes:
    """The font without layout tables: composed Vietnamese letters need none, and reading them takes 100 ms a stamp."""
    font: Any = TTFont(BytesIO(FONT_FILE.read_bytes()), lazy=True)
    for table in ("GPOS", "GSUB", "GDEF"):
        if table in font:
            del font[table]
    trimmed = BytesIO()
    font.save(trimmed, reorderTables=None)
    return trimmed.getvalue()


@cache
def _measures() -> tuple[dict[int, int], int]:
    """Advance widths by code point, and units per em."""
    font: Any = TTFont(BytesIO(_font_bytes()), lazy=True)
    widths = font["hmtx"].metrics
    return {code: widths[name][0] for code, name in font.getBestCmap().items()}, font["head"].unitsPerEm


def _width(text: str) -> float:
    """The text's width in ems; a character the font lacks counts as one em."""
    widths, em = _measures()
    return sum(widths.get(ord(character), em) for character in text) / em


def fold(paragraphs: tuple[str, ...], width: float, size: float) -> list[str]:
    """Break the paragraphs into lines no wider than `width` points at this size; a word too long is broken anywhere."""
    lines: list[str] = []
    room = width / size
    for paragraph in paragraphs:
        line = ""
        for word in paragraph.split(" "):
            grown = f"{line} {word}" if line else word
            if _width(grown) <= room:
                line = grown
                continue
            if line:
                lines.append(line)
            line = word
            while _width(line) > room and len(line) > 1:
                cut = max(n for n in range(1, len(line)) if n == 1 or _width(line[:n]) <= room)
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line)
    return lines


def fit(paragraphs: tuple[str, ...], width: float, height: float) -> tuple[float, list[str]]:
    """A size (points) at which all lines fit the box, and the lines. Nothing is left out, ever.

    The size follows the box, so that stamps of one size carry letters of one size unless a name needs more lines.
    """
    size = min(LARGEST, height / PER_HEIGHT * 1.15)
    while True:
        lines = fold(paragraphs, width, size)
        if (len(lines) - 1) * LEADING * size + (ASCENT + DESCENT) * size <= height or size <= SMALLEST:
            return size, lines
        size *= 0.97


def draw(
    writer: BasePdfFileWriter,
    text: StampText,
    width: float,
    height: float,
    matrix: tuple[int, int, int, int, int, int],
) -> generic.IndirectObject:
    """Add the stamp as a form XObject of `width` x `height` units; `matrix` turns it on rotated pages.

    One calibrated grey, no transparency, the font embedded and subset with its Unicode map (ISO 19005-3 clauses
    6.2.4, 6.2.11).
    """
    pad = min(PADDING, width * 0.05, height * 0.1)
    bar = min(BAR, pad)
    size, lines = fit(text.paragraphs(), width - 2 * pad - bar, height - 2 * pad)
    font = GlyphAccumulator(writer, BytesIO(_font_bytes()), font_size=size)
    font.tt.recalcTimestamp = False  # the same text gives the same bytes at any time
    block = (len(lines) - 1) * LEADING * size + (ASCENT + DESCENT) * size
    y = height - (height - block) / 2 - ASCENT * size
    operators = [
        b"q /Grey cs 0.35 sc %.3f %.3f %.3f %.3f re f" % (0, 0, bar, height),
        b"/Grey cs 0 sc BT /F %.3f Tf" % size,
    ]
    for number, line in enumerate(lines):
        shaped = font.shape(line, with_actual_text=False)
        operators.append(b"1 0 0 1 %.3f %.3f Tm %s" % (pad + bar, y - number * LEADING * size, shaped.graphics_ops))
    operators.append(b"ET Q")
    font.prepare_write()
    form = generic.StreamObject(
        {
            pdf_name("/Type"): pdf_name("/XObject"),
            pdf_name("/Subtype"): pdf_name("/Form"),
            pdf_name("/BBox"): _numbers((0, 0, width, height)),
            pdf_name("/Matrix"): _numbers(matrix),
            pdf_name("/Resources"): generic.DictionaryObject(
                {
                    pdf_name("/Font"): generic.DictionaryObject({pdf_name("/F"): font.as_resource()}),
                    pdf_name("/ColorSpace"): generic.DictionaryObject({pdf_name("/Grey"): _grey()}),
                }
            ),
        },
        stream_data=b"\n".join(operators),
    )
    form.compress()
    return writer.add_object(form)


def _grey() -> generic.ArrayObject:
    return generic.ArrayObject(
        [
            pdf_name("/CalGray"),
            generic.DictionaryObject(
                {
                    pdf_name("/WhitePoint"): _numbers((0.9505, 1, 1.089)),
                    pdf_name("/Gamma"): generic.FloatObject("2.2"),
                }
            ),
        ]
    )


def _numbers(values: tuple[float, ...]) -> generic.ArrayObject:
    return generic.ArrayObject([generic.FloatObject(f"{value:.4f}".rstrip("0").rstrip(".")) for value in values])
