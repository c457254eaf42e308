"""The objects of one file as each of its revisions defines them, parsed only when asked for."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from services.verifier.pdf.crypt import Key, Locked
from services.verifier.pdf.filters import Budget, decode
from services.verifier.pdf.syntax import SPACE, Misformed, Ref, Stream, Value, head, parse, stream_start
from services.verifier.pdf.xref import (
    FREE,
    PACKED,
    PLAIN,
    Entry,
    Section,
    is_section,
    read_section,
    rebuilt,
    stream_length,
)

MOST_REVISIONS = 300
MOST_SECTIONS = 2 * MOST_REVISIONS
MOST_DECODED = 128 * 1024 * 1024
"""All streams of a file together may yield this many bytes."""
MOST_DECODED_EACH = 32 * 1024 * 1024
MOST_FOUND = 1_000_000
"""More objects than this are not looked for in a damaged file."""
MOST_ENTRIES = 4_000_000
"""All cross-reference sections of updates together may speak of this many objects."""
MOST_LINKS = 16
"""A chain of references that is longer leads nowhere."""

Place = int | tuple[int, int]
"""The offset of an object, or (offset of the object stream that holds it, index there)."""

_START = re.compile(rb"startxref[\0\t\n\x0c\r ]*+(\d{1,12})")
_END = re.compile(rb"startxref[\0\t\n\x0c\r ]++\d{1,12}[\0\t\n\x0c\r ]++%%EOF")
_OBJECT = re.compile(rb"(?<![0-9])(\d{1,10})[\0\t\n\x0c\r ]{1,8}(\d{1,5})[\0\t\n\x0c\r ]{1,8}obj(?![A-Za-z])")
_TRAILER = re.compile(rb"trailer[\0\t\n\x0c\r ]*+(?=<<)")


class Unreadable(Exception):
    """The file cannot be read as a PDF, or is beyond the limits.

    `reason` is a kebab-case name for the report's sentence, `detail` the values of its placeholders.
    """

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail: dict[str, str] = detail


@dataclass(frozen=True)
class Revision:
    """One state of the document: what an incremental update added (ISO 32000-2 clause 7.5.6)."""

    index: int
    xref_offset: int
    """What `startxref` says."""
    end: int
    """Where its cross-reference section ends."""


class File:
    """The bytes and their revisions. Every method but the constructor answers null for what cannot be read."""

    def __init__(self, data: bytes) -> None:
        """Read the cross-reference chain, and only that.

        Raises:
            Unreadable: no catalog is found, or the file is beyond the limits.
        """
        self.data = data
        self.complaints: list[str] = []
        self.tolerant = False
        self.rebuilt = False
        """Whether the cross-reference sections were of no use, so that the objects were looked for in the bytes."""
        self.budget = Budget(MOST_DECODED, MOST_DECODED_EACH)
        self.key: Key | None = None
        self.encrypt_number: int | None = None
        self.shift = max(data.find(b"%PDF-", 0, 1024), 0)
        self._values: dict[tuple[Place, int], Value] = {}
        self._opened: set[int] = set()
        self._ends: list[int] | None = None
        self._trailers: dict[int, dict[str, Value]] = {}
        self._settled = False
        """Whether the sections are all read, so that an index of them may be kept."""
        self._packs: dict[int, tuple[bytes, list[tuple[int, int]]]] = {}
        self._found: dict[int, list[int]] | None = None
        self._states: list[list[Section]] = []
        self._places: dict[tuple[int, int], Place | None] = {}
        self.links: dict[tuple[Place, int], tuple[int, ...]] = {}
        """The numbers to which the object at a place refers, where somebody asked."""
        try:
            self._states = self._grouped(self._chain())
            if not self._states:
                raise Misformed("no cross-reference section")
            self._unlock()
            catalog = self.catalog(len(self._states) - 1)
            if not isinstance(catalog, dict):
                raise Misformed("no catalog")
            if not isinstance(self.get(catalog.get("Pages"), len(self._states) - 1), dict):
                raise Misformed("no page tree")
        except Misformed as fault:
            self._rebuild(str(fault))
        if len(self._states) > MOST_REVISIONS:
            raise Unreadable("too-many-revisions", found=str(len(self._states)), most=str(MOST_REVISIONS))
        self._settled = len(self._states) > 8
        self.revisions = tuple(
            Revision(index, state[0].claimed, max(section.end for section in state))
            for index, state in enumerate(self._states)
        )

    # --- the chain of cross-reference sections -------------------------------------------------------------------

    def complain(self, what: str) -> None:
        """Note that the file breaks the standard, so that it is read tolerantly."""
        self.tolerant = True
        if len(self.complaints) < 20 and what not in self.complaints:
            self.complaints.append(what)

    def _chain(self) -> list[Section]:
        """The sections from the newest on."""
        data = self.data
        at = data.rfind(b"startxref")
        found = _START.match(data, at) if at >= 0 else None
        if found is None:
            raise Misformed("no startxref")
        claimed: Value = int(found[1])
        if self.shift and is_section(data, claimed) and not is_section(data, claimed + self.shift):
            self.shift = 0
        elif self.shift:
            self.complain("bytes before the header")
        sections: list[Section] = []
        seen: set[int] = set()
        while type(claimed) is int:
            if claimed in seen:
                self.complain("Prev in a circle")
                break
            seen.add(claimed)
            section = read_section(data, claimed, self.shift, self.budget)
            for what in section.complaints:
                self.complain(what)
            sections.append(section)
            if len(sections) > MOST_SECTIONS:
                raise Unreadable("too-many-revisions", found=f"> {MOST_REVISIONS}", most=str(MOST_REVISIONS))
            claimed = section.trailer.get("Prev")
            if isinstance(claimed, float) and claimed == int(claimed):
                claimed = int(claimed)
            if claimed == 0:
                break
        return sections

    def _grouped(self, sections: list[Section]) -> list[list[Section]]:
        """The revisions, oldest first, each with its sections, newest first."""
        states: list[list[Section]] = []
        for section in reversed(sections):
            # The section of a linearized file's first page stands before the one that it goes on from (Annex F.3).
            if states and section.offset < states[-1][0].offset and len(states) == 1 and self._linearized():
                states[-1].insert(0, section)
            else:
                states.append([section])
        return states

    def _linearized(self) -> bool:
        return b"/Linearized" in self.data[self.shift : self.shift + 2048]

    def _rebuild(self, why: str) -> None:
        """Find the objects in the bytes, as viewers do with a damaged file."""
        self.complain(why)
        self.rebuilt = True
        self._values.clear()
        self._places.clear()
        self._packs.clear()
        self._opened.clear()
        self._ends = None
        self._trailers.clear()
        self.key = None
        self._states = []
        data = self.data
        ends = [found.end() for found in _END.finditer(data)]
        if not ends or data[ends[-1] :].strip(SPACE):
            ends.append(len(data))
        start = 0
        found = self._scan()
        by_offset = sorted((offset, number) for number, offsets in found.items() for offset in offsets)
        trailers = [each.end() for each in _TRAILER.finditer(data)]
        index = 0
        for end in ends[-MOST_REVISIONS - 1 :]:
            entries: dict[int, Entry] = {}
            trailer: dict[str, Value] = {}
            while index < len(by_offset) and by_offset[index][0] < end:
                offset, number = by_offset[index]
                index += 1
                entries[number] = (PLAIN, offset, 0)
                self._unpack(offset, number, entries, trailer)
            for at in trailers:
                if start <= at < end:
                    try:
                        value, _ = parse(data, at)
                    except Misformed:
                        continue
                    if isinstance(value, dict):
                        trailer |= value
            if entries or trailer:
                if "Root" not in trailer and self._states:
                    trailer |= {k: v for k, v in self._states[-1][0].trailer.items() if k in ("Root", "Encrypt", "ID")}
                self._states.append([rebuilt(start, end, trailer, entries)])
            start = end
        if self._states:
            self._unlock()
        while not self._states or not isinstance(self.catalog(len(self._states) - 1), dict):
            if not self._states or not self._guess_catalog():
                raise Unreadable("pdf-unreadable", fault=why[:80])

    def _guess_catalog(self) -> bool:
        revision = len(self._states) - 1
        trailer = self._states[-1][0].trailer
        if trailer.get("\0guessed"):
            return False
        trailer["\0guessed"] = True
        for number in sorted(self._found or ()):
            value = self.get(Ref(number, 0), revision)
            if isinstance(value, dict) and value.get("Type") == "Catalog":
                trailer["Root"] = Ref(number, 0)
        self._trailers.clear()
        return True

    def _scan(self) -> dict[int, list[int]]:
        """Where objects begin, by number, found by looking at the bytes; those inside streams are passed over."""
        if self._found is not None:
            return self._found
        data = self.data
        result: dict[int, list[int]] = {}
        at = count = 0
        while (found := _OBJECT.search(data, at)) is not None:
            at = found.end()
            count += 1
            if count > MOST_FOUND:
                raise Unreadable("pdf-unreadable", fault="too many objects")
            result.setdefault(int(found[1]), []).append(found.start())
            try:
                value, end = parse(data, at)
                start = stream_start(data, end) if isinstance(value, dict) else None
                if start is not None:
                    at = start + stream_length(data, start, value.get("Length"))
            except Misformed:
                continue
        self._found = result
        return result

    def _unpack(self, offset: int, number: int, entries: dict[int, Entry], trailer: dict[str, Value]) -> None:
        """Of an object found by looking: enter what an object stream holds, take a cross-reference stream's trailer."""
        try:
            begin = head(self.data, offset)
            value, _ = parse(self.data, begin[2]) if begin else (None, 0)
        except Misformed:
            return
        if not isinstance(value, dict):
            return
        if value.get("Type") == "XRef":
            trailer |= {key: each for key, each in value.items() if key in ("Root", "Encrypt", "ID", "Info")}
        elif value.get("Type") == "ObjStm":
            self._states.append([rebuilt(0, len(self.data), {}, entries)])
            try:
                _, inside = self._pack(offset, number, len(self._states) - 1)
                for place, (each, _) in enumerate(inside):
                    entries.setdefault(each, (PACKED, number, place))
                    if entries[each][0] == PACKED:
                        entries[each] = (PACKED, number, place)
            except Misformed:
                pass
            self._states.pop()
            self._places.clear()

    # --- objects -------------------------------------------------------------------------------------------------

    def _unlock(self) -> None:
        """Decipher from now on, where the latest trailer says that the file is encrypted.

        Raises:
            Unreadable: the empty user password does not open it.
        """
        latest = len(self._states) - 1
        trailer = self.trailer(latest)
        reference = trailer.get("Encrypt")
        encrypt = self.get(reference, latest)
        if encrypt is None:
            return
        if not isinstance(encrypt, dict):
            raise Unreadable("encrypted")
        self.encrypt_number = reference.number if isinstance(reference, Ref) else None
        identifier = self.get(trailer.get("ID"), latest)
        first = self.get(identifier[0], latest) if isinstance(identifier, list) and identifier else b""
        try:
            self.key = Key(self._direct(encrypt, latest), first if isinstance(first, bytes) else b"")
        except (Locked, ValueError) as fault:
            raise Unreadable("encrypted") from fault
        self._values.clear()
        self._packs.clear()
        self._opened.clear()

    def _direct(self, value: dict[str, Value], revision: int, depth: int = 0) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key, raw in value.items():
            each = self.get(raw, revision)
            result[key] = self._direct(each, revision, depth + 1) if isinstance(each, dict) and depth < 4 else each
        return result

    def trailer(self, revision: int) -> dict[str, Value]:
        """The trailer of a revision; what it must hold and does not is taken from the one before."""
        if revision not in self._trailers:
            own = self._states[revision][0].trailer
            if "Root" not in own and revision:
                before = self.trailer(revision - 1)
                own = own | {key: before[key] for key in ("Root", "Info", "Encrypt", "ID") if key in before}
                self.complain("trailer without Root")
            self._trailers[revision] = own
        return self._trailers[revision]

    def catalog(self, revision: int) -> Value:
        """The catalog of a revision."""
        return self.get(self.trailer(revision).get("Root"), revision)

    @cached_property
    def _writers(self) -> dict[int, list[int]]:
        """For each object number, the updates that speak of it, oldest first; the first revision is asked itself."""
        result: dict[int, list[int]] = {}
        count = 0
        for index in range(1, len(self._states)):
            for number in self.written(index):
                count += 1
                if count > MOST_ENTRIES:
                    raise Unreadable("pdf-unreadable", fault="cross-reference entries")
                found = result.setdefault(number, [])
                if not found or found[-1] != index:
                    found.append(index)
        return result

    def _speakers(self, number: int, revision: int) -> Iterator[int]:
        """The revisions up to this one that may say something of an object, newest first."""
        if self._settled:
            found = self._writers.get(number, ())
            yield from (found[at] for at in range(bisect_right(found, revision) - 1, -1, -1))
            yield 0
        else:
            yield from range(revision, -1, -1)

    def section_values(self) -> frozenset[int]:
        """Where the values of the cross-reference streams begin."""
        sections = [one for state in self._states for one in state]
        sections += [one.hybrid for one in sections if one.hybrid is not None]
        found = (head(self.data, one.offset) for one in sections)
        return frozenset(begin[2] for begin in found if begin is not None)

    def written(self, revision: int) -> Iterator[int]:
        """The numbers of the objects that a revision wrote or freed, some perhaps twice."""
        for section in self._states[revision]:
            yield from section.numbers()

    def last_written(self, number: int, revision: int) -> int | None:
        """The newest revision up to `revision` that wrote or freed an object; none when none did."""
        for index in self._speakers(number, revision):
            if any(section.entry(number) is not None for section in self._states[index]):
                return index
        return None

    def place(self, number: int, revision: int) -> Place | None:
        """Where the object of this number lies as a revision sees it; none when it is free or not defined."""
        key = (number, revision)
        if key not in self._places:
            self._places[key] = self._placed(number, revision)
        return self._places[key]

    def _placed(self, number: int, revision: int) -> Place | None:
        entry = self._entry(number, revision)
        if entry is None or entry[0] == FREE:
            return None
        if entry[0] == PLAIN:
            return entry[1]
        holder = self._entry(entry[1], revision)
        return (holder[1], entry[2]) if holder is not None and holder[0] == PLAIN else None

    def _entry(self, number: int, revision: int) -> Entry | None:
        """The newest entry, its offset counted from the first byte of the file."""
        shift = 0 if self.rebuilt else self.shift
        for index in self._speakers(number, revision):
            for section in self._states[index]:
                found = section.entry(number)
                if found is None:
                    continue
                if found[0] != PLAIN:
                    return found
                offset = found[1] + shift
                if offset >= self._end(index):
                    # It was not there yet when this revision ended, and so it is not what a signer signed.
                    self.complain(f"object {number}: beyond its revision")
                    return None
                return (PLAIN, offset, found[2])
        return None

    def _end(self, index: int) -> int:
        return max(section.end for section in self._states[index])

    def _limit(self, offset: int) -> int:
        """Where the revision ends in whose bytes an offset lies: no object of it reaches further."""
        if self._ends is None or len(self._ends) != len(self._states):
            self._ends = sorted(self._end(index) for index in range(len(self._states)))
        at = bisect_right(self._ends, offset)
        return self._ends[at] if at < len(self._ends) else len(self.data)

    def get(self, value: Value, revision: int) -> Value:
        """The value itself, or what it refers to as a revision sees it; null for what is not defined (7.3.10).

        The generation of a reference is passed over, as readers do: no two objects share a number.
        """
        for _ in range(MOST_LINKS):
            if type(value) is not Ref:
                return value
            place = self.place(value.number, revision)
            value = None if place is None else self.at(place, value.number, revision)
        return None

    def at(self, place: Place, number: int, revision: int) -> Value:
        """The object at a place."""
        key = (place, number)  # two entries may point to one place: each is read for its own number
        if key in self._values:
            return self._values[key]
        self._values[key] = None  # an object that needs itself is null
        try:
            value = (
                self._packed(place, number, revision)
                if isinstance(place, tuple)
                else self._plain(place, number, revision)
            )
        except Misformed as fault:
            self.complain(f"object {number}: {fault}")
            value = None
        self._values[key] = value
        return value

    def _plain(self, offset: int, number: int, revision: int) -> Value:
        data = self.data
        begin = head(data, offset) if 0 <= offset < len(data) else None
        if begin is None or begin[0] != number:
            offset = self._elsewhere(number, revision)
            begin = head(data, offset)
        if begin is None:
            raise Misformed("no object")
        value, end = parse(data, begin[2])
        if isinstance(value, dict):
            start = stream_start(data, end)
            if start is not None:
                claimed = self.get(value.get("Length"), revision)
                length = stream_length(data, start, claimed)
                if length != claimed:
                    self.complain(f"object {number}: length of a stream")
                value = Stream(value, data, start, length)
                end = start + length
        if end > self._limit(offset):
            raise Misformed("reaches beyond its revision")
        if self.key is not None and number != self.encrypt_number:
            value = self.key.strings(value, number, begin[1])
            if isinstance(value, Stream):
                self.key.stream(value, number, begin[1])
        return value

    def _elsewhere(self, number: int, revision: int) -> int:
        """The last object of this number in the bytes of the revision whose cross-reference entry is wrong.

        Not an older one: then readers would not agree on what a later revision says.
        """
        self.complain(f"object {number}: offset")
        owner = self.last_written(number, revision) or 0
        start, end = (self._end(owner - 1) if owner else 0), self._end(owner)
        offsets = [offset for offset in self._scan().get(number, ()) if start <= offset < end]
        if not offsets:
            raise Misformed("no object")
        return offsets[-1]

    def _packed(self, place: tuple[int, int], number: int, revision: int) -> Value:
        body, inside = self._pack(place[0], None, revision)
        index = place[1]
        if not (0 <= index < len(inside) and inside[index][0] == number):
            index = next((turn for turn, one in enumerate(inside) if one[0] == number), -1)
            self.complain(f"object {number}: index in an object stream")
        if index < 0:
            raise Misformed("not in its object stream")
        return parse(body, inside[index][1])[0]

    def _pack(self, offset: int, number: int | None, revision: int) -> tuple[bytes, list[tuple[int, int]]]:
        """(decoded bytes, (number, where it begins) of each object) of the object stream at an offset."""
        if offset not in self._packs:
            if offset in self._opened:
                raise Misformed("object stream")
            self._opened.add(offset)
            begin = head(self.data, offset) if 0 <= offset < len(self.data) else None
            if begin is None:
                raise Misformed("object stream")
            holder = self.at(offset, begin[0] if number is None else number, revision)
            if not isinstance(holder, Stream):
                raise Misformed("object stream")
            body = self.decoded(holder, revision)
            first, count = (
                self.get(holder.dictionary.get("First"), revision),
                self.get(holder.dictionary.get("N"), revision),
            )
            if type(first) is not int or type(count) is not int or not 0 <= first <= len(body) or count < 0:
                raise Misformed("object stream")
            try:
                numbers = [int(word) for word in body[:first].split()[: 2 * count] if len(word) < 12]
            except ValueError as fault:
                raise Misformed("object stream") from fault
            self._packs[offset] = (
                body,
                [(one, first + at) for one, at in zip(numbers[::2], numbers[1::2], strict=False) if at >= 0],
            )
        return self._packs[offset]

    def packed(self, place: Place | None, revision: int) -> Iterator[int]:
        """The numbers of the objects in the object stream at a place; nothing where there is none that can be read."""
        if isinstance(place, int):
            with suppress(Misformed):
                yield from (number for number, _ in self._pack(place, None, revision)[1])

    def decoded(self, stream: Stream, revision: int) -> bytes:
        """The bytes of a stream behind its filters.

        Raises:
            Misformed: they do not fit their filters, are beyond the limits, or a filter is not known.
        """
        data, left = self.decoded_to(stream, revision)
        if left:
            raise Misformed(f"filter {str(left[0])[:20]}")
        return data

    def decoded_to(self, stream: Stream, revision: int) -> tuple[bytes, list[Value]]:
        """(the bytes behind the filters that are known, the filters left). Raises Misformed as `decoded`."""
        filters = self._list(stream.dictionary, "Filter", revision)
        parameters = self._list(stream.dictionary, "DecodeParms", revision)
        resolved = [
            {key: self.get(each, revision) for key, each in one.items()} if isinstance(one, dict) else None
            for one in parameters
        ]
        try:
            raw = stream.raw
        except ValueError as fault:
            raise Misformed("deciphering") from fault
        return decode(raw, filters, resolved, self.budget)

    def _list(self, dictionary: dict[str, Value], key: str, revision: int) -> list[Value]:
        value = self.get(dictionary.get(key), revision)
        if isinstance(value, list):
            return [self.get(each, revision) for each in value[:64]]
        return [] if value is None else [value]
