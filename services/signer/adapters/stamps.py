# mypy: allow-untyped-calls
"""What a stamp says, in which size and where in its box: Vietnamese text, nothing ever left out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import x509 as asn1_x509
from fontTools.ttLib import TTFont

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
def font_bytes() -> bytes:
    """The font without layout tables: composed Vietnamese letters need none, and reading them takes 100 ms a stamp."""
    # The same octets in every process: a key elsewhere is asked for one digest, whoever signs and whenever it restarts.
    font: Any = TTFont(BytesIO(FONT_FILE.read_bytes()), lazy=True, recalcTimestamp=False)
    for table in ("GPOS", "GSUB", "GDEF"):
        if table in font:
            del font[table]
    trimmed = BytesIO()
    font.save(trimmed, reorderTables=None)
    return trimmed.getvalue()


@cache
def _measures() -> tuple[dict[int, int], int]:
    """Advance widths by code point, and units per em."""
    font: Any = TTFont(BytesIO(font_bytes()), lazy=True)
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


@dataclass(frozen=True)
class Arranged:
    """A stamp's text in its box: where lines begin, the first baseline, the letters' size, the bar at the left."""

    lines: tuple[str, ...]
    size: float
    x: float
    y: float
    bar: float

    def operators(self, height: float, show: Callable[[str], bytes]) -> bytes:
        """The content stream: one calibrated grey, no transparency (ISO 19005-3 clause 6.2.4).

        `show` gives the operators that show a line in the font /F.
        """
        said = [
            b"q /Grey cs 0.35 sc 0 0 %.3f %.3f re f" % (self.bar, height),
            b"/Grey cs 0 sc BT /F %.3f Tf" % self.size,
        ]
        for number, line in enumerate(self.lines):
            said.append(b"1 0 0 1 %.3f %.3f Tm %b" % (self.x, self.y - number * LEADING * self.size, show(line)))
        return b"\n".join([*said, b"ET Q"])


def arrange(text: StampText, width: float, height: float) -> Arranged:
    """The text in a box of `width` x `height` units."""
    pad = min(PADDING, width * 0.05, height * 0.1)
    bar = min(BAR, pad)
    size, lines = fit(text.paragraphs(), width - 2 * pad - bar, height - 2 * pad)
    block = (len(lines) - 1) * LEADING * size + (ASCENT + DESCENT) * size
    return Arranged(tuple(lines), size, pad + bar, height - (height - block) / 2 - ASCENT * size, bar)
