# mypy: allow-untyped-calls
"""A stamp as a form XObject: a font with the letters of Vietnamese names, subset once, and a few lines of text."""

from __future__ import annotations

import unicodedata
import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

from fontTools import subset
from fontTools.ttLib import TTFont

from services.signer.adapters import stamps
from services.signer.adapters.fast.revision import Revision
from services.signer.adapters.fast.syntax import Declined, Ref
from services.signer.model import SigningOrder

VOWELS = "aăâeêioôơuưy"
TONES = "\u0300\u0301\u0303\u0309\u0323"
_LOWER = {unicodedata.normalize("NFC", vowel + tone) for vowel in VOWELS for tone in ("", *TONES)} | {"đ"}
ALPHABET = frozenset(map(chr, range(0x20, 0x7F))) | _LOWER | {letter.upper() for letter in _LOWER} | set("–—“”‘’…&")
"""What nearly every stamp is written with."""

GREY = b"[/CalGray << /WhitePoint [0.9505 1 1.089] /Gamma 2.2 >>]"


@dataclass(frozen=True, slots=True)
class Font:
    """A subset: each character's glyph, and the objects that embed it, each waiting for the number of the next."""

    glyphs: dict[str, bytes]
    identifiers: bytes
    program: bytes
    unicode: bytes
    descriptor: bytes
    descendant: bytes
    whole: bytes

    def embed(self, revision: Revision, *, listed: bool) -> Ref:
        """Add the font; its reference. `listed` says which glyphs are in it (CIDSet, ISO 32000-1 table 124)."""
        program = revision.add(self.program)
        more = b" /CIDSet %b" % bytes(revision.add(self.identifiers)) if listed else b""
        descriptor = revision.add(self.descriptor % (bytes(program), more))
        descendant = revision.add(self.descendant % bytes(descriptor))
        return revision.add(self.whole % (bytes(descendant), bytes(revision.add(self.unicode))))

    def show(self, line: str) -> bytes:
        """The operator that shows a line."""
        glyphs = self.glyphs
        return b"<%b> Tj" % b"".join([glyphs[character] for character in line])


def draw(
    revision: Revision, order: SigningOrder, width: float, height: float, matrix: tuple[int, ...], *, listed: bool
) -> Ref:
    """Add the stamp as a form XObject of `width` x `height` units; `matrix` turns it on rotated pages.

    `listed` embeds its font as PDF/A-1 wants it.

    Raises:
        Declined: the name is in letters that have to be shaped, or that the font does not have.
    """
    text = stamps.text_for(order.chain[0], order.signed_at, order.redemption.shown.short)
    arranged = stamps.arrange(text, width, height)
    needed = frozenset("".join(arranged.lines))
    font = font_for(ALPHABET if needed <= ALPHABET else ALPHABET | needed)
    content = zlib.compress(arranged.operators(height, font.show), 1)
    return revision.add(
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 %.4f %.4f] /Matrix [%b] /Resources << /Font << /F %b >>"
        b" /ColorSpace << /Grey %b >> >> /Filter /FlateDecode /Length %d >>\nstream\n%b\nendstream"
        % (
            width,
            height,
            b" ".join(b"%d" % one for one in matrix),
            bytes(font.embed(revision, listed=listed)),
            GREY,
            len(content),
            content,
        )
    )


@lru_cache(maxsize=64)
def font_for(characters: frozenset[str]) -> Font:
    """The font's subset for these characters (ISO 32000-2 clause 9.7.4; PDF/A: ISO 19005-3 clause 6.2.11).

    Raises:
        Declined: characters that combine, are written right to left, or that the font does not have.
    """
    # The same text gives the same octets at any time: a key elsewhere is asked for one digest, whatever happens.
    font: Any = TTFont(BytesIO(stamps.font_bytes()), lazy=True, recalcTimestamp=False)
    known = font.getBestCmap()
    for character in characters:
        if (
            ord(character) not in known
            or unicodedata.combining(character)
            or unicodedata.bidirectional(character) in ("R", "AL", "RLE", "RLO", "RLI")
        ):
            raise Declined("a name in letters that have to be shaped")
    options = subset.Options(layout_closure=False, hinting=False, notdef_outline=True, glyph_names=False)
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "DSIG", "STAT", "meta"]
    cutter = subset.Subsetter(options=options)
    cutter.populate(unicodes=[ord(character) for character in characters])
    cutter.subset(font)
    out = BytesIO()
    font.save(out)
    cut: Any = TTFont(BytesIO(out.getvalue()), lazy=True)
    names = cut.getBestCmap()
    glyphs = {character: cut.getGlyphID(names[ord(character)]) for character in sorted(characters)}
    per_em = 1000 / cut["head"].unitsPerEm
    widths = {
        glyph: round(cut["hmtx"].metrics[names[ord(character)]][0] * per_em) for character, glyph in glyphs.items()
    }
    name = b"%b+NotoSans-Regular" % _tag(out.getvalue())
    return Font(
        glyphs={character: b"%04X" % glyph for character, glyph in glyphs.items()},
        identifiers=_stream(_set_bits(cut["maxp"].numGlyphs)),
        program=_stream(out.getvalue(), b" /Length1 %d" % len(out.getvalue())),
        unicode=_stream(_to_unicode(glyphs)),
        descriptor=_descriptor(cut, name, per_em),
        descendant=b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /%b /CIDToGIDMap /Identity /DW 1000 /W [%b]"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor %%b >>"
        % (name, b" ".join(b"%d [%d]" % pair for pair in sorted(widths.items()))),
        whole=b"<< /Type /Font /Subtype /Type0 /BaseFont /%b /Encoding /Identity-H /DescendantFonts [%%b]"
        b" /ToUnicode %%b >>" % name,
    )


def _descriptor(font: Any, name: bytes, per_em: float) -> bytes:
    head, hhea = font["head"], font["hhea"]
    box = b" ".join(b"%d" % round(v * per_em) for v in (head.xMin, head.yMin, head.xMax, head.yMax))
    heights = tuple(
        round(v * per_em) for v in (hhea.ascent, hhea.descent, getattr(font["OS/2"], "sCapHeight", hhea.ascent))
    )
    return (
        b"<< /Type /FontDescriptor /FontName /%b /Flags 4 /FontBBox [%b] /ItalicAngle 0 /Ascent %d /Descent %d"
        % (
            name,
            box,
            *heights[:2],
        )
        + b" /CapHeight %d /StemV 80 /FontFile2 %%b%%b >>" % heights[2]
    )


def _set_bits(count: int) -> bytes:
    """So many bits, from the highest of the first octet on."""
    return (((1 << count) - 1) << -count % 8).to_bytes((count + 7) // 8)


def _to_unicode(glyphs: dict[str, int]) -> bytes:
    rows = [b"<%04X> <%b>" % (glyph, c.encode("utf-16-be").hex().upper().encode()) for c, glyph in glyphs.items()]
    parts = [rows[i : i + 100] for i in range(0, len(rows), 100)]
    mapped = b"\n".join(b"%d beginbfchar\n%b\nendbfchar" % (len(part), b"\n".join(part)) for part in parts)
    return (
        b"/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo << /Registry (Adobe)"
        b" /Ordering (UCS) /Supplement 0 >> def\n/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        b"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n%b\nendcmap\nCMapName currentdict /CMap"
        b" defineresource pop\nend\nend" % mapped
    )


def _tag(program: bytes) -> bytes:
    """Six capitals that name the subset (ISO 32000-2 clause 9.9.2)."""
    rest = zlib.crc32(program)
    return bytes(65 + rest // 26**place % 26 for place in range(6))


def _stream(data: bytes, more: bytes = b"") -> bytes:
    packed = zlib.compress(data, 9)
    return b"<< /Filter /FlateDecode /Length %d%b >>\nstream\n%b\nendstream" % (len(packed), more, packed)
