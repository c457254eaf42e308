"""A bounded reader of DER and BER that keeps every byte span, so that things are hashed as they stand (ITU-T X.690).

Elements are read lazily: a node knows where it lies, and its children are found when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

MOST_OCTETS = 64 << 20
"""Longer values are not read."""
MOST_DEPTH = 40
MOST_CHILDREN = 200_000
"""More elements than this are not held at once; `each` walks any number."""

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OBJECT_IDENTIFIER = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x0A, 0x17, 0x18, 0x30, 0x31
_TIMES = (UTC_TIME, GENERALIZED_TIME)


class Malformed(Exception):
    """The bytes are not the structure that was expected; `reason` says what was found, for developers."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Node:
    """One element: `data[start:stop]` is all of it, `data[body:end]` its contents octets.

    `tag` is the identifier octet (class, constructed bit, number); numbers above 30 are shifted left by 8 bits and
    keep the identifier octet in the low ones. `stop` differs from `end` by the end-of-contents octets (X.690 8.1.5).
    """

    __slots__ = ("_kids", "body", "data", "end", "start", "stop", "tag")

    def __init__(self, data: bytes, tag: int, start: int, body: int, end: int, stop: int) -> None:
        self.data = data
        self.tag = tag
        self.start = start
        self.body = body
        self.end = end
        self.stop = stop
        self._kids: list[Node] | None = None

    @property
    def raw(self) -> bytes:
        """The whole element as it stands."""
        return self.data[self.start : self.stop]

    @property
    def contents(self) -> bytes:
        """The contents octets as they stand."""
        return self.data[self.body : self.end]

    @property
    def constructed(self) -> bool:
        """Whether it is made of elements."""
        return bool(self.tag & 0x20)

    def kids(self) -> list[Node]:
        """The elements inside, in order.

        Raises:
            Malformed: it is primitive, an element reaches beyond it, or there are too many.
        """
        found = self._kids
        if found is None:
            if not self.tag & 0x20:
                raise Malformed("primitive-where-constructed")
            found = []
            data, position, end = self.data, self.body, self.end
            add = found.append
            while position < end:
                # The common case in place: low tag number, short length.
                tag = data[position]
                body = position + 2
                length = data[position + 1] if body <= end else 0x80
                if length < 0x80 and (tag & 0x1F) != 0x1F and body + length <= end:
                    stop = body + length
                    add(Node(data, tag, position, body, stop, stop))
                else:
                    one = _read(data, position, end)
                    add(one)
                    stop = one.stop
                position = stop
                if len(found) > MOST_CHILDREN:
                    raise Malformed("too-many-elements")
            self._kids = found
        return found

    def each(self) -> Iterator[Node]:
        """The elements inside, one after the other, without keeping them. Raises Malformed."""
        if not self.tag & 0x20:
            raise Malformed("primitive-where-constructed")
        position, end = self.body, self.end
        while position < end:
            one = _read(self.data, position, end)
            yield one
            position = one.stop

    def sequence(self, least: int = 0) -> list[Node]:
        """The elements of a SEQUENCE with at least so many. Raises Malformed."""
        if self.tag != SEQUENCE:
            raise Malformed("no-sequence")
        found = self.kids()
        if len(found) < least:
            raise Malformed("sequence-too-short")
        return found

    def only(self) -> Node:
        """The one element inside an explicit tag. Raises Malformed."""
        found = self.kids()
        if len(found) != 1:
            raise Malformed("not-one-element")
        return found[0]

    def integer(self, tag: int = INTEGER) -> int:
        """The value of an INTEGER or ENUMERATED, negative ones as such. Raises Malformed."""
        if self.tag != tag or self.end == self.body:
            raise Malformed("no-integer")
        return int.from_bytes(self.data[self.body : self.end], "big", signed=True)

    def boolean(self) -> bool:
        """The value of a BOOLEAN. Raises Malformed."""
        if self.tag != BOOLEAN or self.end - self.body != 1:
            raise Malformed("no-boolean")
        return self.data[self.body] != 0

    def oid(self) -> bytes:
        """The contents octets of an OBJECT IDENTIFIER; `dotted` writes them out. Raises Malformed."""
        if self.tag != OBJECT_IDENTIFIER or not 0 < self.end - self.body <= 64:
            raise Malformed("no-object-identifier")
        return self.data[self.body : self.end]

    def octets(self) -> bytes:
        """The value of an OCTET STRING, also of one in segments (X.690 8.7.3). Raises Malformed."""
        if self.tag == OCTET_STRING:
            return self.data[self.body : self.end]
        if self.tag == OCTET_STRING | 0x20:
            return b"".join(_segments(self, 0))
        raise Malformed("no-octet-string")

    def implicit_octets(self) -> bytes:
        """The same for an implicitly tagged one, whatever the tag. Raises Malformed."""
        return b"".join(_segments(self, 0)) if self.tag & 0x20 else self.data[self.body : self.end]

    def bits(self) -> bytes:
        """The octets of a BIT STRING that holds whole octets: a key or a signature value. Raises Malformed."""
        if self.tag != BIT_STRING or self.end == self.body:
            raise Malformed("no-bit-string")
        return self.data[self.body + 1 : self.end]

    def time(self) -> datetime:
        """The value of a UTCTime or GeneralizedTime, also with an offset or without seconds. Raises Malformed."""
        if self.tag not in _TIMES:
            raise Malformed("no-time")
        return _time(self.tag, self.data[self.body : self.end])


def parse(data: bytes, tag: int | None = None) -> Node:
    """The element at the start of `data`; what follows it is left to the caller.

    Raises:
        Malformed: there is no whole element, it is another than `tag`, or it is too long.
    """
    if len(data) > MOST_OCTETS:
        raise Malformed("too-long")
    found = _read(data, 0, len(data))
    if tag is not None and found.tag != tag:
        raise Malformed("other-tag")
    return found


def whole(data: bytes, tag: int | None = None) -> Node:
    """As `parse`, but nothing may follow. Raises Malformed."""
    found = parse(data, tag)
    if found.stop != len(data):
        raise Malformed("trailing-octets")
    return found


def _read(data: bytes, start: int, limit: int) -> Node:
    tag, body, length = _header(data, start, limit)
    if length is None:
        if not tag & 0x20:
            raise Malformed("indefinite-primitive")
        end = _end_of_contents(data, body, limit)
        return Node(data, tag, start, body, end, end + 2)
    stop = body + length
    if stop > limit:
        raise Malformed("beyond-the-end")
    return Node(data, tag, start, body, stop, stop)


def _header(data: bytes, start: int, limit: int) -> tuple[int, int, int | None]:
    """(tag, where the contents begin, their length or none when indefinite)."""
    if start + 2 > limit:
        raise Malformed("header-cut-off")
    tag = data[start]
    position = start + 1
    if tag & 0x1F == 0x1F:
        number = 0
        for _ in range(5):
            if position >= limit:
                raise Malformed("header-cut-off")
            octet = data[position]
            position += 1
            number = number << 7 | octet & 0x7F
            if not octet & 0x80:
                break
        else:
            raise Malformed("tag-too-long")
        tag |= number << 8
        if position >= limit:
            raise Malformed("header-cut-off")
    length = data[position]
    position += 1
    if length < 0x80:
        return tag, position, length
    if length == 0x80:
        return tag, position, None
    count = length & 0x7F
    if count > 8 or position + count > limit:
        raise Malformed("length-too-long")
    return tag, position + count, int.from_bytes(data[position : position + count], "big")


def _end_of_contents(data: bytes, position: int, limit: int) -> int:
    """Where the end-of-contents octets of an indefinite length stand (X.690 8.1.5)."""
    depth = 1
    while True:
        if data[position : position + 2] == b"\0\0":
            depth -= 1
            if position + 2 > limit:
                raise Malformed("beyond-the-end")
            if depth == 0:
                return position
            position += 2
            continue
        tag, body, length = _header(data, position, limit)
        if length is None:
            if not tag & 0x20:
                raise Malformed("indefinite-primitive")
            depth += 1
            if depth > MOST_DEPTH:
                raise Malformed("too-deep")
            position = body
        else:
            position = body + length
            if position > limit:
                raise Malformed("beyond-the-end")


def _segments(node: Node, depth: int) -> Iterator[bytes]:
    if depth > MOST_DEPTH:
        raise Malformed("too-deep")
    for kid in node.each():
        if kid.tag == OCTET_STRING:
            yield kid.contents
        elif kid.tag == OCTET_STRING | 0x20:
            yield from _segments(kid, depth + 1)
        else:
            raise Malformed("no-octet-string")


def encoded(tag: int, contents: bytes) -> bytes:
    """An element with a low tag number and a definite length."""
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + contents


def canonical(node: Node, depth: int = 0) -> bytes:
    """The element in DER: definite lengths, strings in one piece, sets in order (X.690 10 and 11.6).

    Raises:
        Malformed: nested too deeply.
    """
    if depth > MOST_DEPTH:
        raise Malformed("too-deep")
    if node.tag > 0xFF:
        raise Malformed("other-tag")
    if not node.tag & 0x20:
        return encoded(node.tag, node.contents)
    if node.tag == OCTET_STRING | 0x20:
        return encoded(OCTET_STRING, node.octets())
    parts = [canonical(kid, depth + 1) for kid in node.kids()]
    if node.tag == SET:
        parts.sort()
    return encoded(node.tag, b"".join(parts))


@lru_cache(maxsize=2048)
def dotted(contents: bytes) -> str:
    """The dotted form of an object identifier's contents octets; `?` for what is none."""
    numbers: list[int] = []
    value = 0
    for octet in contents:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        return "?"
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - first * 40, *numbers[1:])))


def oid(text: str) -> bytes:
    """The contents octets of a dotted object identifier."""
    first, second, *rest = map(int, text.split("."))
    out = bytearray()
    for number in (first * 40 + second, *rest):
        part = [number & 0x7F]
        while number := number >> 7:
            part.append(0x80 | number & 0x7F)
        out += bytes(reversed(part))
    return bytes(out)


@lru_cache(maxsize=1024)
def _time(tag: int, contents: bytes) -> datetime:
    """Tolerant: real certificates omit seconds and write offsets, which RFC 5280 4.1.2.5 does not allow."""
    try:
        text = contents.decode("ascii")
        digits = 12 if tag == UTC_TIME else 14
        zone: timezone = UTC
        if text[-1:] in "Zz" and text:
            text = text[:-1]
        elif len(text) > 5 and text[-5] in "+-" and text[-4:].isdigit():
            offset = timedelta(hours=int(text[-4:-2]), minutes=int(text[-2:]))
            zone = timezone(offset if text[-5] == "+" else -offset)
            text = text[:-5]
        text, _, fraction = text.replace(",", ".").partition(".")
        if not text.isdigit() or (fraction and not fraction.isdigit()) or len(text) not in (digits, digits - 2):
            raise Malformed("no-time")
        text = text.ljust(digits, "0")
        if tag == UTC_TIME:
            # RFC 5280 4.1.2.5.1: 50 to 99 are of the twentieth century.
            text = ("19" if text[:2] >= "50" else "20") + text
        parts = [int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))]
        micro = int(fraction[:6].ljust(6, "0")) if fraction else 0
        return datetime(*parts[:6], micro, tzinfo=zone).astimezone(UTC)  # type: ignore[misc,arg-type]
    except (ValueError, OverflowError) as fault:
        raise Malformed("no-time") from fault
