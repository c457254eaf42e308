"""Mutants of signed PDFs: blind damage, and edits that know what an xref, a revision, a ByteRange and a CMS are."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.fuzz import der
from tests.fuzz.seeds import RANGE

NUMBERS = (
    b"0", b"1", b"-1", b"2", b"255", b"65535", b"65536", b"2147483647", b"2147483648", b"-2147483648", b"4294967295",
    b"9223372036854775807", b"99999999999999999999", b"1.5", b"007", b"1e9",
)  # fmt: skip
NAMES = (
    b"/Type", b"/Sig", b"/ByteRange", b"/Contents", b"/Filter", b"/SubFilter", b"/Kids", b"/Parent", b"/Fields", b"/V",
    b"/FT", b"/T", b"/AcroForm", b"/Root", b"/Prev", b"/Size", b"/W", b"/Index", b"/XRefStm", b"/Length", b"/ObjStm",
    b"/First", b"/N", b"/Extends", b"/Encrypt", b"/DSS", b"/VRI", b"/Perms", b"/DocMDP", b"/Reference", b"/Annots",
    b"/AP", b"/Pages", b"/Page", b"/Count", b"/DocTimeStamp", b"/ETSI.CAdES.detached", b"/adbe.pkcs7.detached",
    b"/adbe.pkcs7.sha1", b"/adbe.x509.rsa_sha1", b"/ETSI.RFC3161", b"/FlateDecode", b"/LZWDecode", b"/ASCIIHexDecode",
    b"/ASCII85Decode", b"/RunLengthDecode", b"/Crypt", b"/DecodeParms", b"/Predictor", b"/Columns", b"/#00", b"/",
)  # fmt: skip
_NUMBER = re.compile(rb"(?<![0-9A-Za-z.#/<])-?\d{1,12}(?![0-9A-Za-z.])")
_REFERENCE = re.compile(rb"(?<!\d)(\d{1,6}) (\d{1,3}) (R|obj)\b")
_NAME = re.compile(rb"/[A-Za-z][A-Za-z0-9.]*")
_KEYWORD = re.compile(rb"endobj|endstream|\bobj\b|\bstream\b|xref|trailer|startxref|%%EOF|>>|<<|\]|\[")
_LENGTH = re.compile(rb"/Length\s+(\d+)(?!\s+\d+\s+R)")
_HEX = re.compile(rb"<([0-9A-Fa-f]{200,})>")
_ENTRY = re.compile(rb"\d{10} \d{5} [nf]")
_START = re.compile(rb"startxref\s+(\d+)|/Prev\s+(\d+)|/XRefStm\s+(\d+)")
_STREAM = re.compile(rb"stream\r?\n")
_PAGE_CONTENT = re.compile(rb"/Contents\s+(\d+) 0 R")


@dataclass(frozen=True)
class Mutant:
    """The bytes, from which seed, what was done, and whether the result may in no case be called intact."""

    data: bytes
    seed: str
    edits: tuple[str, ...]
    attack: bool = False


def mutant(files: Mapping[str, bytes], names: Sequence[str], chance: random.Random) -> Mutant:
    """One mutant: mostly one edit, sometimes up to four on top of each other; now and then a true attack."""
    name = chance.choice(names)
    data = files[name]
    if chance.random() < 0.02:
        attacked = repainted(data, chance)
        if attacked is not None:
            return Mutant(attacked, name, ("repainted",), attack=True)
    done = []
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        edit = chance.choices(EDITS, WEIGHTS)[0]
        data = spliced(data, chance, files[chance.choice(names)]) if edit is spliced else edit(data, chance)
        done.append(edit.__name__)
    return Mutant(data, name, tuple(done))


def repainted(data: bytes, chance: random.Random) -> bytes | None:
    """A further revision that puts another content on a page (incremental saving attack); none where it cannot."""
    first = RANGE.search(data)
    # Pages as the first signer saw them: behind that, corpus files hold pages of other attacks that nobody shows.
    pages = _PAGE_CONTENT.findall(data, 0, int(first[3]) + int(first[4])) if first else []
    start = re.findall(rb"startxref\s+(\d+)", data)
    root = re.findall(rb"/Root\s+(\d+ \d+ R)", data)
    if not pages or not start or not root or b"/Encrypt" in data:
        return None
    number = int(chance.choice(pages))
    drawn = b"BT /F1 30 Tf 9 99 Td (%d) Tj ET" % chance.randrange(10**9)
    out = data if data.endswith(b"\n") else data + b"\n"
    place = len(out)
    out += b"%d 0 obj\n<</Length %d>>\nstream\n%s\nendstream\nendobj\n" % (number, len(drawn), drawn)
    table = len(out)
    out += b"xref\n%d 1\n%010d 00000 n \n" % (number, place)
    size = max([number + 1, *(int(one) for one in re.findall(rb"/Size\s+(\d{1,7})", data))])
    return out + b"trailer\n<</Size %d/Root %s/Prev %s>>\nstartxref\n%d\n%%%%EOF\n" % (size, root[-1], start[-1], table)


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Some bytes, anywhere."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if out:
            out[chance.randrange(len(out))] = chance.randrange(256)
    return bytes(out)


def bit(data: bytes, chance: random.Random) -> bytes:
    """One bit of what is signed."""
    ranges = list(RANGE.finditer(data))
    if not ranges:
        return data
    start, first, second, rest = map(int, chance.choice(ranges).groups())
    place = chance.choice((start + chance.randrange(first + 1), second + chance.randrange(rest + 1)))
    return (
        data[:place] + bytes((data[place] ^ (1 << chance.randrange(8)),)) + data[place + 1 :]
        if place < len(data)
        else data
    )


def truncated(data: bytes, chance: random.Random) -> bytes:
    """Cut at the end or at the start."""
    place = chance.randrange(len(data) + 1)
    return data[:place] if chance.random() < 0.8 else data[place:]


def cut_out(data: bytes, chance: random.Random) -> bytes:
    """A piece missing."""
    place = chance.randrange(len(data) + 1)
    return data[:place] + data[place + chance.choice((1, 2, 20, 300, 5000)) :]


def put_in(data: bytes, chance: random.Random) -> bytes:
    """A piece too many: noise, white space, or a copy of what is near."""
    place = chance.randrange(len(data) + 1)
    size = chance.choice((1, 2, 16, 256))
    piece = chance.choice((chance.randbytes(size), b" " * size, b"\n" * size, data[place : place + size * 4]))
    return data[:place] + piece + data[place:]


def spliced(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """The head of one file and the tail of another."""
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _revisions(data: bytes) -> list[bytes]:
    ends = [match.end() for match in re.finditer(rb"%%EOF\r?\n?", data)]
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def revisions(data: bytes, chance: random.Random) -> bytes:
    """Revisions twice, in another order, or missing."""
    parts = _revisions(data)
    index = chance.randrange(len(parts))
    match chance.randrange(4):
        case 0:
            parts.insert(index, parts[index])
        case 1:
            chance.shuffle(parts)
        case 2:
            del parts[index]
        case _:
            parts.append(parts[index])
    return b"".join(parts)


def _replaced(data: bytes, pattern: re.Pattern[bytes], chance: random.Random, make: Callable[[bytes], bytes]) -> bytes:
    found = [match.span() for match in pattern.finditer(data)]
    if not found:
        return data
    start, end = chance.choice(found)
    return data[:start] + make(data[start:end]) + data[end:]


def xref_entry(data: bytes, chance: random.Random) -> bytes:
    """One entry of a table leads elsewhere, or is free."""

    def other(entry: bytes) -> bytes:
        places = [match.start() for match in _REFERENCE.finditer(data)] or [0]
        match chance.randrange(3):
            case 0:
                return b"%010d" % chance.choice(places) + entry[10:]
            case 1:
                return entry[:-1] + (b"f" if entry.endswith(b"n") else b"n")
            case _:
                return b"%010d" % chance.randrange(len(data) * 2 + 1) + entry[10:]

    return _replaced(data, _ENTRY, chance, other)


def xref_place(data: bytes, chance: random.Random) -> bytes:
    """startxref, /Prev or /XRefStm leads elsewhere: to another section, to itself, to nowhere."""
    places = [match.start() for match in re.finditer(rb"\bxref\b|/XRef\b", data)]
    goal = b"%d" % chance.choice([*places, 0, len(data), chance.randrange(len(data) + 1)])
    goal = chance.choice((goal, goal, chance.choice(NUMBERS)))
    return _replaced(data, _START, chance, lambda found: re.sub(rb"-?\d+", goal, found))


def byte_range(data: bytes, chance: random.Random) -> bytes:
    """The arithmetic of a /ByteRange, in the same room where it fits."""

    def other(found: bytes) -> bytes:
        numbers = re.findall(rb"\d+", found)
        index = chance.randrange(4)
        value = int(numbers[index])
        numbers[index] = chance.choice(
            (*NUMBERS[:12], b"%d" % (value + 1), b"%d" % max(0, value - 1), b"%d" % (value // 2), b"%d" % len(data))
        )
        if chance.random() < 0.2:
            chance.shuffle(numbers)
        if chance.random() < 0.1:
            numbers = numbers[: chance.randrange(5)]
        written = b"/ByteRange [" + b" ".join(numbers) + b"]"
        return written.ljust(len(found)) if len(written) <= len(found) else written

    return _replaced(data, RANGE, chance, other)


def contents(data: bytes, chance: random.Random) -> bytes:
    """The DER within a /Contents, or the string that holds it; its length stays."""

    def other(found: bytes) -> bytes:
        digits = found[1:-1]
        match chance.randrange(8):
            case 0:
                return b"<" + digits.swapcase() + b">"
            case 1:
                place = chance.randrange(len(digits))
                return (
                    b"<"
                    + digits[:place]
                    + chance.choice((b" ", b"\n", b"g", b">", b"<", b"%"))
                    + digits[place + 1 :]
                    + b">"
                )
            case 2:
                return b"(" + digits + b")"
            case 3:
                return b"<" + digits[:-8] + b"deadbeef" + b">"
            case _:
                raw = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
                for _ in range(chance.choice((1, 1, 2, 4))):
                    raw = der.edited(raw, chance)
                return b"<" + raw.hex().encode()[: len(digits)].ljust(len(digits), b"0") + b">"

    return _replaced(data, _HEX, chance, other)


def evidence(data: bytes, chance: random.Random) -> bytes:
    """The DER within a stream: a certificate, a CRL, an OCSP response."""
    places = [match.end() for match in _STREAM.finditer(data) if data[match.end() : match.end() + 1] == b"\x30"]
    if not places:
        return contents(data, chance)
    start = chance.choice(places)
    end = data.find(b"endstream", start)
    if end < 0:
        return data
    return data[:start] + der.edited(data[start:end], chance) + data[end:]


def inflated(data: bytes, chance: random.Random) -> bytes:
    """The inside of a compressed stream (an xref stream, an object stream), packed again."""
    packed = []
    for match in _STREAM.finditer(data):
        end = data.find(b"endstream", match.end())
        if data[match.end() : match.end() + 1] in (b"\x78", b"h", b"H") and 0 < end - match.end() < 1 << 16:
            packed.append((match.end(), end))
    if not packed:
        return data
    start, end = chance.choice(packed)
    try:
        plain = zlib.decompressobj().decompress(data[start:end], 1 << 20)
    except zlib.error:
        return data
    edit = chance.choice((flipped, numbers, names, truncated, put_in, keywords))
    if not plain:
        return data
    again = zlib.compress(edit(plain, chance))
    head = data[:start]
    lengths = list(_LENGTH.finditer(head))
    if lengths and lengths[-1].end() > start - 300:
        spot = lengths[-1]
        head = head[: spot.start(1)] + b"%d" % len(again) + head[spot.end(1) :]
    return head + again + b"\n" + data[end:]


def numbers(data: bytes, chance: random.Random) -> bytes:
    """A number becomes an extreme one."""
    return _replaced(data, _NUMBER, chance, lambda _: chance.choice(NUMBERS))


def references(data: bytes, chance: random.Random) -> bytes:
    """A reference or an object takes the number of another."""
    known = [match.group(1) for match in _REFERENCE.finditer(data)]
    return _replaced(
        data,
        _REFERENCE,
        chance,
        lambda found: chance.choice(known) + b" " + found.split(b" ", 1)[1] if known else found,
    )


def names(data: bytes, chance: random.Random) -> bytes:
    """A name becomes another that means something."""
    return _replaced(data, _NAME, chance, lambda _: chance.choice(NAMES))


def keywords(data: bytes, chance: random.Random) -> bytes:
    """A keyword or a bracket is lost, doubled or another one."""
    others = (b"", b"", b"endobj", b"endstream", b"stream", b"obj", b"[" * 900, b"<<" * 300, b">>", b"]", b"%%EOF\n")
    return _replaced(data, _KEYWORD, chance, lambda found: chance.choice((*others, found * 2)))


def lengths(data: bytes, chance: random.Random) -> bytes:
    """A stream lies about its length."""
    return _replaced(
        data, _LENGTH, chance, lambda found: b"/Length " + chance.choice((*NUMBERS, found.split()[-1] + b"0", b"5 0 R"))
    )


EDITS: tuple[Callable[..., bytes], ...] = (
    flipped, bit, truncated, cut_out, put_in, spliced, revisions, xref_entry, xref_place, byte_range, contents,
    evidence, inflated, numbers, references, names, keywords, lengths,
)  # fmt: skip
WEIGHTS = (5, 6, 3, 4, 4, 3, 6, 6, 6, 8, 14, 7, 5, 6, 6, 7, 6, 4)
