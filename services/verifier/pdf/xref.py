"""Cross-reference sections: tables, streams and hybrids, read lazily and within bounds (ISO 32000-2 clause 7.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.verifier.pdf.filters import Budget, decode
from services.verifier.pdf.syntax import SPACE, Misformed, Stream, Value, head, parse, stream_start

MOST_NUMBER = 8_388_607
"""ISO 32000-1 Annex C: the largest object number that readers need to hold."""

MOST_ENTRIES = 2_000_000
"""More entries than this in one section are refused."""

FREE, PLAIN, PACKED = 0, 1, 2
Entry = tuple[int, int, int]
"""(FREE, next, generation), (PLAIN, offset, generation) or (PACKED, number of the object stream, index in it)."""

_TABLE = re.compile(rb"[\0\t\n\x0c\r ]*+xref(?![0-9A-Za-z])")
_SUBSECTION = re.compile(rb"[\0\t\n\x0c\r ]*+(\d{1,10}+)[\0\t\n\x0c\r ]++(\d{1,10}+)[\0\t\x0c ]*+(?:\r\n|\n|\r)?")
_LINE = re.compile(rb"[\0\t\n\x0c\r ]*+(\d{1,12}+)[\0\t\n\x0c\r ]++(\d{1,6}+)[\0\t\n\x0c\r ]++([nf])(?![0-9A-Za-z])")
_TRAILER = re.compile(rb"[\0\t\n\x0c\r ]*+(?:%[^\r\n]*+[\0\t\n\x0c\r ]*+)*+trailer(?=[\0\t\n\x0c\r <%])")
_NEARBY = re.compile(rb"(?<![a-z])xref(?![0-9A-Za-z])|(?<![0-9])\d{1,10} \d{1,5} obj(?![0-9A-Za-z])")
_LINE_BYTES = b"0123456789 \r\nnf"


@dataclass
class _Lines:
    """A run of table entries of exactly 20 bytes, read one by one when asked for."""

    first: int
    count: int
    data: bytes
    start: int

    def entry(self, number: int) -> Entry:
        at = self.start + 20 * (number - self.first)
        try:
            offset, generation = int(self.data[at : at + 10]), int(self.data[at + 11 : at + 16])
        except ValueError:
            return (FREE, 0, 0)
        return (PLAIN if self.data[at + 17] == 0x6E else FREE, offset, generation)


@dataclass
class _Columns:
    """A run of entries of a cross-reference stream."""

    first: int
    count: int
    data: bytes
    start: int
    widths: tuple[int, int, int]

    def entry(self, number: int) -> Entry:
        one, two, three = self.widths
        at = self.start + (one + two + three) * (number - self.first)
        kind = int.from_bytes(self.data[at : at + one], "big") if one else PLAIN
        second = int.from_bytes(self.data[at + one : at + one + two], "big")
        third = int.from_bytes(self.data[at + one + two : at + one + two + three], "big")
        return (kind if kind in (PLAIN, PACKED) else FREE, second, third)


@dataclass
class _Loose:
    """Entries of a table that is not written as the standard has it, or that was rebuilt."""

    entries: dict[int, Entry]
    first: int = 0
    count: int = MOST_NUMBER + 1

    def entry(self, number: int) -> Entry | None:
        return self.entries.get(number)


@dataclass
class Section:
    """One cross-reference section with its trailer."""

    claimed: int
    """The offset by which `startxref` or `/Prev` names it."""
    offset: int
    end: int
    """Where its trailer or its stream ends."""
    trailer: dict[str, Value]
    runs: list[_Lines | _Columns | _Loose] = field(default_factory=list)
    hybrid: Section | None = None
    """The stream that `/XRefStm` names; it serves what the table itself does not hold or calls free (7.5.8.4)."""
    complaints: list[str] = field(default_factory=list)

    def entry(self, number: int) -> Entry | None:
        """What this section says of an object number; none when it says nothing."""
        for run in self.runs:
            if run.first <= number < run.first + run.count:
                found = run.entry(number)
                if found is None:
                    continue
                if found[0] == FREE and self.hybrid is not None:
                    return self.hybrid.entry(number) or found
                return found
        return self.hybrid.entry(number) if self.hybrid is not None else None

    def numbers(self) -> Iterator[int]:
        """Every object number of which it says something, some perhaps twice."""
        for run in self.runs:
            yield from run.entries if isinstance(run, _Loose) else range(run.first, run.first + run.count)
        if self.hybrid is not None:
            yield from self.hybrid.numbers()


def rebuilt(offset: int, end: int, trailer: dict[str, Value], entries: dict[int, Entry]) -> Section:
    """A section put together from objects found in the bytes."""
    return Section(-1, offset, end, trailer, [_Loose(entries)])


def is_section(data: bytes, at: int) -> bool:
    """Whether a table, or an indirect object that may be a stream, begins there."""
    return 0 <= at < len(data) and (_TABLE.match(data, at) is not None or head(data, at) is not None)


def read_section(data: bytes, claimed: int, shift: int, budget: Budget) -> Section:
    """The section that `startxref` or `/Prev` says is at `claimed`; `shift` is where the file's header stands.

    Raises:
        Misformed: there is no section, or one beyond the limits.
    """
    at = claimed + shift
    if not 0 <= at < len(data):
        raise Misformed("cross-reference section outside the file")
    off = not is_section(data, at)
    if off:
        at = _nearby(data, at)
    found = _TABLE.match(data, at)
    section = _stream_section(data, claimed, at, budget) if found is None else _table(data, claimed, at, found.end())
    if off:
        section.complaints.append("offset of a cross-reference section")
    if found is None:
        return section
    where = section.trailer.get("XRefStm")
    if type(where) is int:
        try:
            section.hybrid = _stream_section(data, where, where + shift, budget)
        except Misformed as fault:
            section.complaints.append(f"XRefStm: {fault}")
    return section


def _nearby(data: bytes, at: int) -> int:
    """Where a section begins a few bytes before or after a wrong offset; producers miscount line ends."""
    near = _NEARBY.search(data, max(at - 24, 0), at + 24)
    return at if near is None else near.start()


def _table(data: bytes, claimed: int, offset: int, at: int) -> Section:
    section = Section(claimed, offset, at, {})
    while True:
        found = _SUBSECTION.match(data, at)
        if found is None:
            break
        first, count = int(found[1]), int(found[2])
        at = found.end()
        block = data[at : at + 20 * count] if count <= len(data) // 20 else b""
        if len(block) == 20 * count and _is_plain(block):
            if count:
                section.runs.append(_Lines(first, count, data, at))
            at += 20 * count
        else:
            at = _loose(data, at, first, count, section)
        run = section.runs[-1] if section.runs else None
        if isinstance(run, _Lines) and first == run.first == 1 and run.entry(1) == (FREE, 0, 65535):
            run.first = 0
            section.complaints.append("first object number")
        if first + count > MOST_NUMBER + 1:
            raise Misformed("object numbers beyond the limit")
    found = _TRAILER.match(data, at)
    if found is None:
        raise Misformed("no trailer")
    trailer, section.end = parse(data, found.end())
    if not isinstance(trailer, dict):
        raise Misformed("no trailer dictionary")
    section.trailer = trailer
    _once(section)
    return section


def _once(section: Section) -> None:
    """Refuse a section that says two things of one object: readers would not agree on which holds."""
    if sum(len(run.entries) if isinstance(run, _Loose) else run.count for run in section.runs) > MOST_ENTRIES:
        raise Misformed("too many entries")
    last: _Lines | _Columns | None = None
    for run in sorted((one for one in section.runs if not isinstance(one, _Loose)), key=lambda one: one.first):
        if last is not None and run.first < last.first + last.count:
            both = range(run.first, min(last.first + last.count, run.first + run.count))
            if any(run.entry(number) != last.entry(number) for number in both):
                raise Misformed("an object number twice")
        if last is None or run.first + run.count > last.first + last.count:
            last = run
    for table in section.runs:
        if not isinstance(table, _Loose):
            continue
        for number, entry in table.entries.items():
            others = (one for one in section.runs if one is not table and one.first <= number < one.first + one.count)
            if any(one.entry(number) not in (None, entry) for one in others):
                raise Misformed("an object number twice")


def _is_plain(block: bytes) -> bool:
    return (
        not block.translate(None, _LINE_BYTES)
        and set(block[17::20]) <= {0x6E, 0x66}
        and set(block[10::20]) <= {0x20}
        and set(block[16::20]) <= {0x20}
        and set(block[18::20]) <= {0x20, 0x0D, 0x0A}
        and set(block[19::20]) <= {0x20, 0x0D, 0x0A}
    )


def _loose(data: bytes, at: int, first: int, count: int, section: Section) -> int:
    entries: dict[int, Entry] = {}
    number = first
    while number < first + count:
        found = _LINE.match(data, at)
        if found is None:
            section.complaints.append("entries of a table")
            break
        offset, generation = int(found[1]), int(found[2])
        if number == first == 1 and found[3] == b"f" and offset == 0 and generation == 65535:
            number = first = 0
            section.complaints.append("first object number")
        entries[number] = (PLAIN if found[3] == b"n" else FREE, offset, generation)
        number += 1
        at = found.end()
    section.runs.append(_Loose(entries))
    return at


def _stream_section(data: bytes, claimed: int, at: int, budget: Budget) -> Section:
    begin = head(data, at) if 0 <= at < len(data) else None
    if begin is None:
        raise Misformed("no cross-reference section")
    dictionary, end = parse(data, begin[2])
    start = stream_start(data, end)
    if not isinstance(dictionary, dict) or start is None or "W" not in dictionary:
        raise Misformed("no cross-reference stream")
    length = stream_length(data, start, dictionary.get("Length"))
    stream = Stream(dictionary, data, start, length)
    filters, parameters = filters_of(dictionary)
    decoded, left = decode(stream.raw, filters, parameters, budget)
    if left:
        raise Misformed("filter of a cross-reference stream")
    section = Section(claimed, at, start + length, dictionary)
    widths = dictionary["W"]
    if (
        not isinstance(widths, list)
        or len(widths) != 3
        or not all(type(width) is int and 0 <= width <= 8 for width in widths)
        or widths[1] == 0
    ):
        raise Misformed("W of a cross-reference stream")
    columns = (widths[0], widths[1], widths[2])
    size = sum(columns)
    index = dictionary.get("Index", [0, dictionary.get("Size")])
    if not isinstance(index, list):
        raise Misformed("Index of a cross-reference stream")
    place = 0
    for first, count in zip(index[::2], index[1::2], strict=False):
        if type(first) is not int or type(count) is not int or first < 0 or count < 0:
            raise Misformed("Index of a cross-reference stream")
        if count > (len(decoded) - place) // size:
            count = (len(decoded) - place) // size
            section.complaints.append("length of a cross-reference stream")
        if first + count > MOST_NUMBER + 1:
            raise Misformed("object numbers beyond the limit")
        if count:
            section.runs.append(_Columns(first, count, decoded, place, columns))
        place += size * count
    _once(section)
    return section


def stream_length(data: bytes, start: int, claimed: Value) -> int:
    """The length of a stream: as claimed where `endstream` follows it, else up to the first `endstream`.

    Raises:
        Misformed: the stream has no end.
    """
    if type(claimed) is int and 0 <= claimed <= len(data) - start:
        after = data[start + claimed : start + claimed + 32].lstrip(SPACE)
        if after.startswith((b"endstream", b"endobj")):
            return claimed
    end = data.find(b"endstream", start)
    if end < 0:
        end = data.find(b"endobj", start)
    if end < 0:
        raise Misformed("a stream without an end")
    if data[end - 2 : end] == b"\r\n" and end - 2 >= start:
        return end - 2 - start
    return end - start - (1 if end > start and data[end - 1] in b"\r\n" else 0)


def filters_of(dictionary: dict[str, Value]) -> tuple[list[Value], list[Value]]:
    """(the filters, their parameters) of a stream dictionary with direct values."""
    filters = dictionary.get("Filter", dictionary.get("F"))
    parameters = dictionary.get("DecodeParms", dictionary.get("DP"))
    return (
        filters if isinstance(filters, list) else [] if filters is None else [filters],
        parameters if isinstance(parameters, list) else [parameters],
    )
