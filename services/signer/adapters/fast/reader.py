"""A file's cross-references, looked up one object at a time: tables, streams, hybrids and object streams."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from domain.definitions import END_WITHIN, definitions, overlap
from services.signer.adapters.fast.syntax import (
    Declined,
    Dictionary,
    Octets,
    Ref,
    dictionary_at,
    integer,
    items,
    reference,
    value_at,
)

MOST_OBJECTS = 8_388_607
"""ISO 32000-1 annex C."""
MOST_SECTIONS = 2_000
MOST_IN_STREAM = 200_000
LOOKING = 8_000_000
UNPACKED = 64_000_000
FEW = 8
"""Rows of a predicted cross-reference stream that are each added up from the top; for more it is undone whole."""
LONGEST_METADATA = 200_000
MOST_REMEMBERED = 256
"""Dictionaries that are not read twice; a file may have thousands of pages."""

_TAIL = re.compile(rb"startxref[\x00\t\n\x0c\r ]+([0-9]{1,12})[\x00\t\n\x0c\r ]+%%EOF[\x00\t\n\x0c\r ]*\Z")
_HEAD = re.compile(rb"[\x00\t\n\x0c\r ]*([0-9]{1,10})[\x00\t\n\x0c\r ]+([0-9]{1,5})[\x00\t\n\x0c\r ]+obj")
_SUBSECTION = re.compile(rb"[\t\n\r ]*([0-9]{1,10}) ([0-9]{1,10})[ ]*(?:\r\n|\r|\n)")
_TRAILER = re.compile(rb"[\t\n\r ]*trailer")
_ROW = re.compile(rb"([0-9]{10}) ([0-9]{5}) ([nf])(?: \r| \n|\r\n)")
_STREAM = re.compile(rb"[\x00\t\n\x0c\r ]*stream(?:\r\n|\n)")


class Effort:
    """What may be done for one revision of a file, in octets: `looking` at them, which takes some 50 ns each, and
    keeping what was `unpacked`. Sound files need a fraction; without an end, 1 MB kept a signer for half a minute.
    """

    __slots__ = ("looking", "unpacked")

    def __init__(self, size: int) -> None:
        self.looking = LOOKING + 4 * size
        self.unpacked = UNPACKED

    def look(self, octets: int) -> None:
        """Count octets that were looked at.

        Raises:
            Declined: too many for a file of this size.
        """
        self.looking -= octets
        if self.looking < 0:
            raise Declined("a file that takes more work than its size explains")

    def keep(self, octets: int) -> None:
        """Count octets that were unpacked and stay in memory.

        Raises:
            Declined: too many.
        """
        self.unpacked -= octets
        if self.unpacked < 0:
            raise Declined("streams that unpack to too much")


class Place:
    """Where an object stands: at an octet, or as the object with this index in a stream (`within`)."""

    __slots__ = ("generation", "offset", "within")

    def __init__(self, offset: int, generation: int, within: int | None = None) -> None:
        self.offset = offset
        self.generation = generation
        self.within = within


class Section:
    """One cross-reference section and its trailer; `hybrid` is what a hybrid file adds to its table.

    `runs` say the first number, count, and where the rows begin: an octet of the file, or a row of `rows`.
    """

    __slots__ = ("hybrid", "looks", "rows", "runs", "trailer", "up", "widths")

    def __init__(
        self,
        trailer: Dictionary,
        runs: list[tuple[int, int, int]],
        rows: bytes | None = None,
        widths: tuple[int, int, int] = (0, 0, 0),
        *,
        up: bool = False,
    ) -> None:
        self.trailer = trailer
        self.runs = runs
        self.rows = rows
        self.widths = widths
        self.up = up
        self.hybrid: Section | None = None
        self.looks = 0

    @property
    def is_stream(self) -> bool:
        """Whether it is a cross-reference stream."""
        return self.rows is not None

    @property
    def beyond(self) -> int:
        """The first object number beyond all that the section speaks of."""
        own = max((first + count for first, count, _ in self.runs), default=0)
        return max(own, self.hybrid.beyond if self.hybrid else 0)

    def find(self, data: Octets, wanted: int) -> tuple[bool, Place | None]:
        """Whether the section speaks of the object, and where it is; none when it is free."""
        for first, count, begins in self.runs:
            if first <= wanted < first + count:
                place = (
                    self._in_table(data, begins + 20 * (wanted - first))
                    if self.rows is None
                    else self._in_stream(begins + wanted - first)
                )
                if place is None and self.hybrid is not None:
                    # A hybrid file hides objects from old readers by calling them free (ISO 32000-1 clause 7.5.8.4).
                    return True, self.hybrid.find(data, wanted)[1]
                return True, place
        return self.hybrid.find(data, wanted) if self.hybrid is not None else (False, None)

    @staticmethod
    def _in_table(data: Octets, at: int) -> Place | None:
        row = _ROW.match(data, at)
        if row is None:
            raise Declined("a cross-reference table with rows of another form")
        if row[3] == b"f":
            return None
        return Place(int(row[1]), int(row[2]))

    def _in_stream(self, row: int) -> Place | None:
        assert self.rows is not None  # noqa: S101 - the caller looked
        width = sum(self.widths)
        self.looks += 1
        if self.up and self.looks > FEW:
            self.rows, self.up = _unfiltered(self.rows, width), False
        if self.up:
            # Each octet of a row is the sum of its column so far: PNG's Up (ISO 32000-2 clause 7.4.4.4).
            stride = width + 1
            octets = bytes(sum(self.rows[column : (row + 1) * stride : stride]) & 0xFF for column in range(1, stride))
        else:
            octets = self.rows[row * width : (row + 1) * width]
        if len(octets) != width:
            raise Declined("a cross-reference stream that is too short")
        one, two, _ = self.widths
        kind = int.from_bytes(octets[:one], "big") if one else 1
        second, third = int.from_bytes(octets[one : one + two], "big"), int.from_bytes(octets[one + two :], "big")
        match kind:
            case 0:
                return None
            case 1:
                return Place(second, third)
            case 2:
                return Place(third, 0, within=second)
            case _:
                raise Declined("a cross-reference of an unknown kind")


class File:
    """A PDF that can be asked for objects. What `written` holds goes before what stands in the file.

    `xref` is where the newest cross-reference section begins; `sections` are those read so far, the newest first.
    """

    __slots__ = ("_effort", "_next", "_packed", "_read", "_seen", "data", "sections", "size", "written", "xref")

    def __init__(self, data: Octets, size: int, xref: int) -> None:
        self.data = data
        self.size = size
        self.xref = xref
        self.sections: list[Section] = []
        self.written: dict[int, bytes] = {}
        self._read: dict[Ref, Dictionary] = {}
        self._next: int | None = xref
        self._seen: set[int] = set()
        self._packed: dict[int, tuple[dict[int, tuple[int, int]], bytes]] = {}
        self._effort = Effort(size)

    @classmethod
    def open(cls, data: Octets) -> File:
        """Read the newest cross-reference section; older ones and objects are read when they are asked for.

        Raises:
            Declined: not a plain PDF: encrypted, octets before its header or after its end, a broken section.
        """
        size = len(data)
        if data[:5] != b"%PDF-":
            raise Declined("no header at the first octet")
        tail = _TAIL.match(data, data.rfind(b"startxref", max(0, size - END_WITHIN)))
        if tail is None:
            raise Declined("no startxref at the end")
        file = cls(data, size, int(tail[1]))
        file._older()
        return file

    def _older(self) -> bool:
        """Read one more section of the chain; whether there was one."""
        here = self._next
        if here is None:
            return False
        if here in self._seen or len(self._seen) >= MOST_SECTIONS:
            raise Declined("a chain of cross-references that is a loop or too long")
        self._seen.add(here)
        section = _section(self.data, here, self.size, self._effort)
        if section.trailer.get(b"/Encrypt") is not None:
            raise Declined("encrypted")
        self.sections.append(section)
        previous = section.trailer.get(b"/Prev")
        self._next = integer(previous)
        if previous is not None and self._next is None:
            raise Declined("a previous section that is not told by an integer")
        return True

    def _all_sections(self) -> Iterator[Section]:
        place = 0
        while place < len(self.sections) or self._older():
            yield self.sections[place]
            place += 1

    @property
    def trailer(self) -> Dictionary:
        """The newest trailer."""
        return self.sections[0].trailer

    @property
    def root(self) -> Ref:
        """The catalog.

        Raises:
            Declined: the trailer does not name it.
        """
        found = reference(self.trailer.get(b"/Root"))
        if found is None:
            raise Declined("a trailer without a catalog")
        return found

    @property
    def beyond(self) -> int:
        """The first object number that nothing in the file uses, whatever its /Size says; reads the whole chain.

        Raises:
            Declined: a broken chain, or too many objects.
        """
        said = integer(self.trailer.get(b"/Size")) or 0
        found = max(said, *(section.beyond for section in self._all_sections()))
        if found > MOST_OBJECTS:
            raise Declined("too many objects")
        return found

    def where(self, wanted: Ref) -> Place:
        """Where an object stands in the file.

        Raises:
            Declined: nowhere.
        """
        _, place = self._newest(wanted.number)
        if place is None or place.generation != wanted.generation:
            raise Declined("a reference to an object that is not there")
        return place

    def _newest(self, number: int) -> tuple[bool, Place | None]:
        """Whether any section speaks of the object, and where the newest says it is; none when it is free."""
        at = 0
        while at < len(self.sections) or self._older():
            section = self.sections[at]
            self._effort.look(10 + len(section.runs))
            spoken, place = section.find(self.data, number)
            if spoken:
                return True, place
            at += 1
        return False, None

    def at(self, wanted: Ref) -> tuple[Octets, int]:
        """The octets among which an object's value begins, and where in them: the file's, or an object stream's.

        Raises:
            Declined: it is not where the cross-reference says.
        """
        fresh = self.written.get(wanted.number)
        if fresh is not None:
            return fresh, 0
        place = self.where(wanted)
        if place.within is not None:
            return self._in_stream(place, wanted.number)
        return self.data, self._behind_head(wanted.number, place)

    def _behind_head(self, number: int, place: Place) -> int:
        usual = b"%d %d obj" % (number, place.generation)
        end = place.offset + len(usual)
        if self.data[place.offset : end] == usual:
            return end
        head = _HEAD.match(self.data, place.offset, min(self.size, place.offset + 60))
        if head is None or int(head[1]) != number or int(head[2]) != place.generation:
            raise Declined("an object that is not where the cross-reference says")
        return head.end()

    def one_document(self) -> None:
        """Look at every definition in the file, not just at what a signature needs: each object's last is in use.

        It takes a look at every octet; the intake of contracts has taken it before a contract comes here.

        Raises:
            Declined: another is, so that a viewer that mends the file shows another document.
        """
        hybrids = {integer(one.trailer.get(b"/XRefStm")) or 0 for one in self._all_sections()}
        # Cross-reference streams need not list themselves.
        sections = {head.end() for at in hybrids | self._seen if (head := _HEAD.match(self.data, at))}
        for number, begins in dict(definitions(self.data)).items():
            self._effort.look(50)
            spoken, place = self._newest(number)
            if not spoken and begins not in sections:
                raise Declined("an object that no cross-reference speaks of")
            if place is not None and place.within is not None:
                _, holder = self._newest(place.within)
                if holder is None or holder.offset < begins:
                    raise Declined("an object that is defined again behind the stream that it lies in")
            elif place is not None and self._behind_head(number, place) != begins:
                raise Declined("an object that is defined again behind the place that its cross-reference gives")

    def value(self, wanted: Ref) -> bytes:
        """An object's text, as written since or as it stands in the file.

        Raises:
            Declined: it is not where the cross-reference says.
        """
        found = value_at(*self.at(wanted))[0]
        self._effort.look(len(found))
        return found

    def follow(self, text: bytes | None) -> bytes | None:
        """The text, or what it refers to; none for null.

        Raises:
            Declined: a reference that leads nowhere, or to another reference.
        """
        ref = reference(text)
        if ref is not None:
            text = self.value(ref)
            if reference(text) is not None:
                raise Declined("a reference to a reference")
        return None if text == b"null" else text

    def dictionary(self, text: bytes | None) -> Dictionary | None:
        """The dictionary that the text is or refers to; none for null.

        Raises:
            Declined: it is something else.
        """
        if text is None or text == b"null":
            return None
        ref = reference(text)
        return Dictionary.parse(text) if ref is None else self.read(ref)

    def read(self, wanted: Ref) -> Dictionary:
        """The dictionary that an object is, or that its stream has.

        Raises:
            Declined: it is something else.
        """
        found = self._read.get(wanted)
        if found is None:
            found = dictionary_at(*self.at(wanted))[0]
            self._effort.look(len(found.text) + 20 * len(found.spans))
            if len(self._read) < MOST_REMEMBERED:
                self._read[wanted] = found
        return found

    def write(self, ref: Ref, value: bytes | Dictionary) -> bytes:
        """Have an object read as `value` from now on; its text."""
        if isinstance(value, Dictionary):
            text, self._read[ref] = value.text, value
        else:
            text = value
            self._read.pop(ref, None)
        self.written[ref.number] = text
        return text

    def start(self) -> None:
        """Another revision begins: it may take as much work as the one before."""
        self._effort.looking = Effort(self.size).looking

    def go_back(self, xref: int, written: dict[int, bytes]) -> None:
        """Forget what was written since the file was like that."""
        self.xref, self.written = xref, written
        self._read.clear()

    def array(self, text: bytes | None) -> list[bytes]:
        """The items of the array that the text is or refers to; empty for null.

        Raises:
            Declined: it is something else.
        """
        found = self.follow(text)
        if found is None:
            return []
        self._effort.look(len(found))
        return items(found)

    def unfiltered(self, wanted: Ref) -> bytes:
        """The text of a stream without a filter, with its dictionary, wherever its length is told; empty if it is long.

        Raises:
            Declined: it is not where the cross-reference says.
        """
        data, begins = self.at(wanted)
        end = data.find(b"endstream", begins, begins + LONGEST_METADATA)
        found = data[begins:end] if end > 0 else b""
        self._effort.look(len(found))
        return found

    def stream(self, wanted: Ref) -> bytes:
        """A stream's decoded octets; only Flate is known.

        Raises:
            Declined: not a stream, another filter, or too long.
        """
        data, begins = self.at(wanted)
        said, end = dictionary_at(data, begins)
        return _stream(data, said, end, len(data), self._effort)

    def _in_stream(self, place: Place, wanted: int) -> tuple[bytes, int]:
        assert place.within is not None  # noqa: S101 - the caller looked
        if place.within not in self._packed:
            self._packed[place.within] = self._unpack(Ref(place.within))
        offsets, body = self._packed[place.within]
        index, at = offsets.get(wanted, (None, 0))
        if index != place.offset:
            raise Declined("an object stream without the object, or with another where it is said to be")
        return body, at

    def _unpack(self, wanted: Ref) -> tuple[dict[int, tuple[int, int]], bytes]:
        if self.where(wanted).within is not None:
            raise Declined("an object stream within another")
        data, begins = self.at(wanted)
        said, end = dictionary_at(data, begins)
        count, first = integer(said.get(b"/N")), integer(said.get(b"/First"))
        body = _stream(data, said, end, len(data), self._effort)
        self._effort.keep(len(body))
        if (
            count is None
            or first is None
            or not 0 <= first <= len(body)
            or not 0 <= count <= min(first, MOST_IN_STREAM)
        ):
            raise Declined("an object stream that does not say what it holds")
        pairs = body[:first].split(None, 2 * count)
        if len(pairs) < 2 * count or not all(len(one) <= 10 and one.isdigit() for one in pairs[: 2 * count]):
            raise Declined("an object stream that does not say what it holds")
        offsets = {int(pairs[2 * i]): (i, first + int(pairs[2 * i + 1])) for i in range(count)}
        if len(offsets) != count:
            raise Declined("an object stream that holds an object twice")
        return offsets, body


def _section(data: Octets, at: int, size: int, effort: Effort) -> Section:
    if not 0 < at < size:
        raise Declined("a cross-reference section outside the file")
    if data[at : at + 4] == b"xref":
        return _table(data, at, size, effort)
    head = _HEAD.match(data, at, min(size, at + 60))
    if head is None or not data[at : at + 1].isdigit():
        raise Declined("no cross-reference section where one is expected")
    trailer, end = dictionary_at(data, head.end())
    if trailer.get(b"/Type") != b"/XRef":
        raise Declined("no cross-reference section where one is expected")
    effort.look(len(trailer.text))
    return _xref_stream(data, trailer, end, size, effort)


def _table(data: Octets, at: int, size: int, effort: Effort) -> Section:
    place = at + 4
    runs: list[tuple[int, int, int]] = []
    while (head := _SUBSECTION.match(data, place)) is not None:
        first, count = int(head[1]), int(head[2])
        place = head.end() + 20 * count
        if place > size or len(runs) > MOST_SECTIONS or first + count > MOST_OBJECTS:
            raise Declined("a cross-reference table that is too long")
        if count:
            runs.append((first, count, head.end()))
    word = _TRAILER.match(data, place)
    if word is None:
        raise Declined("a cross-reference table without a trailer")
    trailer, _ = dictionary_at(data, word.end())
    effort.look(len(trailer.text) + 20 * len(runs))
    _once(runs)
    section = Section(trailer, runs)
    more = trailer.get(b"/XRefStm")
    if more is not None:
        where = integer(more)
        if where is None or not 0 < where < size or data[where : where + 4] == b"xref":
            raise Declined("a hybrid file whose stream is not there")
        section.hybrid = _section(data, where, size, effort)
    return section


def _xref_stream(data: Octets, trailer: Dictionary, end: int, size: int, effort: Effort) -> Section:
    told = [integer(one) for one in items(trailer.get(b"/W") or b"")]
    declared = integer(trailer.get(b"/Size"))
    if len(told) != 3 or declared is None:
        raise Declined("a cross-reference stream without widths or size")
    widths = tuple(one for one in told if one is not None and 0 <= one <= 8)
    if len(widths) != 3 or widths[1] == 0:
        raise Declined("a cross-reference stream with odd widths")
    index = trailer.get(b"/Index")
    numbers = [integer(one) for one in items(index)] if index is not None else [0, declared]
    runs: list[tuple[int, int, int]] = []
    rows = 0
    for first, count in zip(numbers[::2], numbers[1::2], strict=False):
        if first is None or count is None or first < 0 or count < 0 or first + count > MOST_OBJECTS:
            raise Declined("a cross-reference stream that claims too many objects")
        runs.append((first, count, rows))
        rows += count
    if len(numbers) % 2 or rows * (sum(widths) + 1) > UNPACKED:
        raise Declined("a cross-reference stream that claims too many objects")
    _once(runs)
    body = _stream(data, trailer, end, size, effort, raw_predictor=True)
    effort.keep(len(body))
    parameters = _parameters(trailer)
    width = sum(widths)
    up = False
    if parameters is not None and integer(parameters.get(b"/Predictor")) not in (None, 1):
        if integer(parameters.get(b"/Columns")) != width:
            raise Declined("a cross-reference stream with odd columns")
        if len(body) % (width + 1):
            raise Declined("a cross-reference stream that is too short")
        # Undoing the prediction, now or after a few looks, takes a microsecond a row.
        effort.look(FEW * len(body))
        up = body[:: width + 1].count(2) * (width + 1) == len(body)
        if not up or rows > 50_000:
            body, up = _unfiltered(body, width), False
    return Section(trailer, runs, body, (widths[0], widths[1], widths[2]), up=up)


def _once(runs: list[tuple[int, int, int]]) -> None:
    if len(runs) > 1 and overlap([(first, count) for first, count, _ in runs]):
        raise Declined("a cross-reference section that speaks of an object twice")


def _parameters(said: Dictionary) -> Dictionary | None:
    text = said.get(b"/DecodeParms")
    if text is not None and text.startswith(b"["):
        inside = items(text)
        if len(inside) != 1:
            raise Declined("a stream with several filters")
        text = inside[0] if inside[0] != b"null" else None
    return Dictionary.parse(text) if text is not None else None


def _stream(
    data: Octets, said: Dictionary, end: int, size: int, effort: Effort, *, raw_predictor: bool = False
) -> bytes:
    """The octets of the stream that follows its dictionary; `raw_predictor` leaves PNG prediction in place."""
    word = _STREAM.match(data, end, min(size, end + 40))
    length = integer(said.get(b"/Length"))
    if word is None or length is None or not 0 <= length <= size - word.end():
        raise Declined("a stream whose length is not told by an integer")
    if data[word.end() + length : word.end() + length + 20].lstrip()[:9] != b"endstream":
        raise Declined("a stream of another length than it says")
    filters = said.get(b"/Filter")
    if filters is not None and filters.startswith(b"["):
        inside = items(filters)
        if len(inside) > 1:
            raise Declined("a stream with several filters")
        filters = inside[0] if inside else None
    effort.look(length)
    body = data[word.end() : word.end() + length]
    if filters is None:
        return body
    if filters not in (b"/FlateDecode", b"/Fl"):
        raise Declined("a stream with a filter that is not Flate")
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(body, UNPACKED)
    except zlib.error as fault:
        raise Declined("a stream that does not unpack") from fault
    effort.look(len(body))
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise Declined("a stream that is cut or too long")
    parameters = _parameters(said)
    predictor = integer(parameters.get(b"/Predictor")) if parameters is not None else None
    if predictor in (None, 1) or raw_predictor:
        return body
    raise Declined("a stream with a predictor")


def _unfiltered(body: bytes, width: int) -> bytes:
    """Undo PNG prediction of single octets (W3C PNG clause 9.2), the kinds None, Sub and Up."""
    out = bytearray()
    above = bytes(width)
    for at in range(0, len(body), width + 1):
        row = body[at + 1 : at + 1 + width]
        match body[at]:
            case 0:
                above = row
            case 1:
                made = bytearray(row)
                for i in range(1, width):
                    made[i] = (made[i] + made[i - 1]) & 0xFF
                above = bytes(made)
            case 2:
                above = bytes((a + b) & 0xFF for a, b in zip(row, above, strict=True))
            case _:
                raise Declined("a cross-reference stream with rare prediction")
        out += above
    return bytes(out)
