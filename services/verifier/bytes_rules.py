"""Rules on the bytes themselves, without a PDF library: the gap rule, the tail rule, and a raw look for signatures.

A PDF library tells what the file means to it; these rules tell whether the bytes can mean anything else to another
reader (ISO 32000-2 clause 12.8.1; Mainka et al., "1 Trillion Dollar Refund", CCS 2019; "Shadow Attacks", NDSS 2021).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from domain.definitions import END_WITHIN

_SPACE = b" \t\r\n\x0c\x00"
_HEX = b"0123456789abcdefABCDEF"
_RAW_RANGE = re.compile(rb"/ByteRange[ \t\r\n\x0c\x00]*\[([0-9 \t\r\n\x0c\x00+-]{1,200})\]")
_REVISION_END = re.compile(rb"startxref[ \t\r\n\x0c\x00]+(\d{1,12})[ \t\r\n\x0c\x00]+%%EOF")
_LINE_END_MARK = re.compile(rb"[\r\n][ \t\x0c\x00]{0,20}%%EOF")
_HEADER = 1024
"""Offsets are counted from the header, which stands within the first so many bytes (ISO 32000-2 Annex C)."""
MOST_RAW = 500
"""More signature dictionaries than this are not looked at one by one."""


@dataclass(frozen=True)
class Fault:
    """A rule that does not hold: a kebab-case reason and values for its sentence."""

    reason: str
    detail: dict[str, str]


@dataclass(frozen=True)
class RawSignature:
    """A `/ByteRange` found by looking at the bytes, and the hex string in its gap."""

    offset: int
    byte_range: tuple[int, int, int, int]
    contents: bytes

    @property
    def end(self) -> int:
        """Where the signed bytes end."""
        return self.byte_range[2] + self.byte_range[3]


def four_integers(byte_range: Sequence[object] | None) -> tuple[int, int, int, int] | None:
    """The range as four integers, or none when it is anything else."""
    if byte_range is None or len(byte_range) != 4:
        return None
    values = [int(value) for value in byte_range if isinstance(value, int) and not isinstance(value, bool)]
    return (values[0], values[1], values[2], values[3]) if len(values) == 4 else None


def gap_fault(data: bytes, byte_range: Sequence[object] | None, contents: bytes | None) -> Fault | None:
    """The gap rule: between the two ranges stands exactly one hex string, and it is the `/Contents` that is judged.

    Otherwise something unsigned fits into the gap, or another value is judged than the one the reader sees
    (ISO 32000-2 clause 12.8.1: the range shall be the entire file but for the Contents value).
    """
    four = four_integers(byte_range)
    if four is None:
        return Fault("byte-range-form", {"found": _shown(byte_range)})
    first, length, second, rest = four
    if first != 0:
        return Fault("byte-range-start", {"found": str(first)})
    if min(four) < 0 or length == 0 or rest == 0 or length >= second:
        return Fault("byte-range-order", {"found": _shown(four)})
    if second + rest > len(data):
        return Fault("byte-range-outside", {"found": str(second + rest), "size": str(len(data))})
    gap = data[length:second]
    decoded = hex_string(gap)
    if decoded is None:
        return Fault("gap-not-one-hex-string", {"bytes": str(len(gap))})
    if contents is None or decoded != contents:
        return Fault("gap-is-not-contents", {"bytes": str(len(gap))})
    return None


def hex_string(text: bytes) -> bytes | None:
    """The value of `<...>` when `text` is exactly that and nothing else; none otherwise (ISO 32000-2 7.3.4.3)."""
    if len(text) < 2 or text[:1] != b"<" or text[-1:] != b">":
        return None
    digits = text[1:-1]
    others = digits.translate(None, _HEX)
    if others:
        if others.strip(_SPACE):
            return None
        digits = digits.translate(None, _SPACE)
    if len(digits) % 2:
        digits += b"0"
    return bytes.fromhex(digits.decode("ascii"))


def dictionary_fault(data: bytes, offset: int | None, byte_range: tuple[int, int, int, int]) -> Fault | None:
    """The signature dictionary that was judged must be the one that holds the gap, inside the signed bytes.

    `offset` is where its indirect object begins, none when that is not in plain sight. Otherwise a copy of a signature
    in an unsigned revision stands for the signed one.
    """
    gap = byte_range[1]
    if offset is None or offset >= gap or b"endobj" in data[offset:gap]:
        return Fault("dictionary-elsewhere", {"offset": "?" if offset is None else str(offset), "gap": str(gap)})
    return None


def tail_fault(data: bytes, end: int, listed: Iterable[int]) -> Fault | None:
    """The tail rule: what follows the signed bytes belongs to revisions that the reader lists, and nothing else.

    `end` is where the signed bytes end; `listed` are the offsets of the cross-reference sections of all revisions that
    are reached from the last `startxref`. A tail that only a repairing viewer would read is a change all the same, and
    so is one that names a section of the signed part as its own.
    """
    rest = data[end:]
    if rest and data.rfind(b"startxref", max(0, len(data) - END_WITHIN)) < 0:
        # White space alone: a viewer that finds no end mends the file and shows definitions that were never in use.
        return Fault("tail-far-end", {"bytes": str(len(rest))})
    if not rest.strip(_SPACE):
        return None
    known = set(listed)
    last = 0
    for found in _REVISION_END.finditer(rest):
        section = int(found.group(1))
        if section not in known or section + _HEADER < end + last:
            return Fault("tail-unlisted-revision", {"at": str(end + found.start())})
        known.remove(section)
        # Loose objects up to an end marker of their own: a revision without a section, which a repairing viewer reads.
        for stray in _LINE_END_MARK.finditer(rest, last, found.start()):
            if rest[last : stray.start()].strip(_SPACE):
                return Fault("tail-unlisted-revision", {"at": str(end + stray.start())})
            last = stray.end()
        last = found.end()
    if last == 0:
        return Fault("tail-without-revision", {"bytes": str(len(rest))})
    beyond = rest[last:].strip(_SPACE)
    if beyond:
        return Fault("tail-after-last-revision", {"bytes": str(len(beyond))})
    return None


def raw_signatures(data: bytes, known: Container[tuple[int, ...]] = ()) -> list[RawSignature]:
    """Every `/ByteRange` in plain sight, but those `known`, whose gap holds the rule, whether or not it is listed."""
    found: list[RawSignature] = []
    seen: set[tuple[int, int, int, int]] = set()
    for match in _RAW_RANGE.finditer(data):
        try:
            values = [int(word) for word in match.group(1).split()]
        except ValueError:
            continue
        four = four_integers(values)
        if four is None or four in seen or four in known or four[0] != 0 or not 0 < four[1] < four[2]:
            continue
        contents = hex_string(data[four[1] : four[2]])
        if contents is None or four[2] + four[3] > len(data):
            continue
        seen.add(four)
        found.append(RawSignature(match.start(), four, contents))
        if len(found) >= MOST_RAW:
            break
    return found


def mentions_signatures(data: bytes) -> bool:
    """Whether the bytes speak of signatures at all, for files that nothing can be read from."""
    return (
        _RAW_RANGE.search(data) is not None or b"/ByteRange" in data or b"adbe.pkcs7" in data or b"ETSI.CAdES" in data
    )


def _shown(byte_range: Sequence[object] | None) -> str:
    if byte_range is None:
        return "-"
    return "[" + " ".join(str(value)[:20] for value in byte_range[:8]) + "]"
