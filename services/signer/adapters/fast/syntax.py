"""PDF objects as spans of text: enough of ISO 32000-2 clause 7.3 to read an entry and to splice another beside it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping

Octets = bytes | mmap.mmap

LONGEST = 4_000_000
"""Octets of one dictionary or array; a flat page tree of 20,000 pages has 200,000."""


class Declined(Exception):
    """The file has something this writer leaves to the other one; `why` is a few words without content of the file."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


_WHITE = rb"\x00\t\n\x0c\r "
_PLAIN = rb"[^\x00\t\n\x0c\r ()<>\[\]{}/%]"
_SKIP = rb"[" + _WHITE + rb"]*+(?:%[^\r\n]*+[" + _WHITE + rb"]*+)*+"
"""White space and comments, which end at a line end only (ISO 32000-2 clause 7.2.4): nothing is given back, so that
no octet of a comment is ever read as something else, and no number of them takes more than one look.
"""
_STRING = rb"\([^()\\]*(?:\\.[^()\\]*)*\)"
_SHORT = rb"<[0-9A-Fa-f]{0,64}>"
_FLAT = rb"\[(?:[^\[\]<>()%]++|" + _SHORT + rb")*+\]"
_PLAIN_DICTIONARY = rb"<<(?:[^\[\]<>()%]++|" + _SHORT + rb"|" + _FLAT + rb")*+>>"
_SIMPLE = (
    rb"[0-9]{1,10}[" + _WHITE + rb"]+[0-9]{1,5}[" + _WHITE + rb"]+R(?!" + _PLAIN + rb")"
    rb"|/" + _PLAIN + rb"*|" + _PLAIN + rb"+|" + _STRING + rb"|" + _SHORT + rb"|" + _FLAT
    + rb"|<<(?:[^\[\]<>()%]++|" + _SHORT + rb"|" + _FLAT + rb"|" + _PLAIN_DICTIONARY + rb")*+>>"
)  # fmt: skip
"""Values whose end one expression finds; not long hexadecimal strings, nor values nested more deeply."""
_ENTRY = re.compile(_SKIP + rb"(/" + _PLAIN + rb"*+)" + _SKIP + rb"(?:(" + _SIMPLE + rb")|(?=[<\[(]))", re.DOTALL)
_ITEM = re.compile(_SKIP + rb"(?:(" + _SIMPLE + rb")|(?=[<\[(\]]))", re.DOTALL)
_VALUE = re.compile(_SKIP + rb"(?:(" + _SIMPLE + rb")|(?=[<\[(]))", re.DOTALL)
_OPEN = re.compile(_SKIP + rb"<<")
_CLOSE = re.compile(_SKIP + rb">>")
_BRACKET = re.compile(_SKIP + rb"\[")
_INNER = re.compile(rb"<<|>>|\[|\]|" + _STRING + rb"|\(|<[0-9A-Fa-f" + _WHITE + rb"]*>|%[^\r\n]*", re.DOTALL)
_REFERENCE = re.compile(rb"([0-9]{1,10})[" + _WHITE + rb"]+([0-9]{1,5})[" + _WHITE + rb"]+R")
_INTEGER = re.compile(rb"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]{1,12})")


class Ref:
    """An indirect reference. A class of plain attributes: compiled, it is made in a quarter of a tuple's time."""

    __slots__ = ("generation", "number")

    def __init__(self, number: int, generation: int = 0) -> None:
        self.number = number
        self.generation = generation

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.number == self.number and other.generation == self.generation

    def __hash__(self) -> int:
        return self.number

    def __bytes__(self) -> bytes:
        return b"%d %d R" % (self.number, self.generation)


class Dictionary:
    """A dictionary's own text and where each value stands in it."""

    __slots__ = ("spans", "text")

    def __init__(self, text: bytes, spans: dict[bytes, tuple[int, int]]) -> None:
        self.text = text
        self.spans = spans

    @classmethod
    def parse(cls, text: bytes) -> Dictionary:
        """The dictionary that `text` begins with.

        Raises:
            Declined: it does not begin with one.
        """
        return dictionary_at(text, 0)[0]

    def get(self, key: bytes) -> bytes | None:
        """The value's text; none where the key is absent or null."""
        span = self.spans.get(key)
        if span is None:
            return None
        found = self.text[span[0] : span[1]]
        return None if found == b"null" else found

    def put(self, entries: Mapping[bytes, bytes]) -> Dictionary:
        """The dictionary with these entries changed or added, every other octet as it was."""
        text, spans = self.text, dict(self.spans)
        added: list[tuple[bytes, bytes]] = []
        for key, value in entries.items():
            if key not in spans:
                added.append((key, value))
                continue
            start, stop = spans[key]
            text = b"%b %b%b" % (text[:start], value, text[stop:])
            grown = 1 + len(value) - (stop - start)
            for other, (begins, ends) in spans.items():
                if begins > start:
                    spans[other] = (begins + grown, ends + grown)
            spans[key] = (start + 1, start + 1 + len(value))
        end = len(text) - 2
        for key, value in added:
            begins = end + len(key) + 2
            spans[key] = (begins, end := begins + len(value))
        return Dictionary(b"%b%b >>" % (text[:-2], b"".join(b" %b %b" % entry for entry in added)), spans)

    def without(self, key: bytes) -> Dictionary:
        """The dictionary with this key's value null, which means absent (ISO 32000-2 clause 7.3.7)."""
        return self if key not in self.spans else self.put({key: b"null"})


NOTHING = Dictionary(b"<<>>", {})


def dictionary_at(data: Octets, at: int) -> tuple[Dictionary, int]:
    """The dictionary that begins at `at`, and where it ends.

    Raises:
        Declined: none there, a key twice, an escaped key, or one that is too long.
    """
    opened = _OPEN.match(data, at)
    if opened is None:
        raise Declined("no dictionary where one is expected")
    place = opened.end()
    start = place - 2
    spans: dict[bytes, tuple[int, int]] = {}
    count = 0
    match = _ENTRY.match
    while (entry := match(data, place)) is not None:
        value, place = entry.span(2)
        if value < 0:
            value = entry.end()
            place = end_of(data, value)
        if place - start > LONGEST:
            raise Declined("a dictionary that is too long")
        spans[entry[1]] = (value - start, place - start)
        count += 1
    closed = _CLOSE.match(data, place)
    if closed is None:
        raise Declined("a dictionary that does not end")
    place = closed.end()
    text = data[start:place]
    # Not `in`: it tries octets as a number first, and raises and drops an exception within each time.
    if len(spans) != count or (text.find(b"#") >= 0 and any(key.find(b"#") >= 0 for key in spans)):
        raise Declined("a dictionary with a key twice, or an escaped key")
    return Dictionary(text, spans), place


def end_of(data: Octets, at: int) -> int:
    """Where the dictionary, array, hexadecimal string or string with nested parentheses that begins at `at` ends.

    Raises:
        Declined: it does not.
    """
    begins = data[at : at + 2]
    if begins[:1] == b"(":
        return _end_of_string(data, at)
    if begins[:1] == b"<" and begins != b"<<":
        place = data.find(b">", at, at + LONGEST)
        if place < 0:
            raise Declined("a string that does not end")
        return place + 1
    depth: list[bytes] = []
    place = at
    while place - at <= LONGEST:
        token = _INNER.search(data, place, at + LONGEST + 2)
        if token is None:
            break
        place = token.end()
        match found := token.group():
            case b"<<" | b"[":
                depth.append(b">>" if found == b"<<" else b"]")
                if len(depth) > 60:
                    break
            case b">>" | b"]":
                if not depth or depth.pop() != found:
                    break
                if not depth:
                    return place
            case b"(":
                place = _end_of_string(data, token.start())
            case _:
                pass
    raise Declined("a value that does not end, or is nested too deeply")


def _end_of_string(data: Octets, at: int) -> int:
    depth = 0
    for token in re.compile(rb"\\.|[()]", re.DOTALL).finditer(data, at, at + LONGEST):
        depth += {b"(": 1, b")": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    raise Declined("a string that does not end")


def value_at(data: Octets, at: int) -> tuple[bytes, int]:
    """The text of the value that begins at `at` after white space, and where it ends.

    Raises:
        Declined: no value.
    """
    found = _VALUE.match(data, at)
    if found is None:
        raise Declined("no value where one is expected")
    start = found.start(1)
    start, end = (found.end(), end_of(data, found.end())) if start < 0 else (start, found.end(1))
    return data[start:end], end


def items(text: bytes) -> list[bytes]:
    """The texts of an array's items.

    Raises:
        Declined: not an array.
    """
    opened = _BRACKET.match(text)
    if opened is None:
        raise Declined("no array where one is expected")
    place, found = opened.end(), []
    while True:
        item = _ITEM.match(text, place)
        if item is None:
            raise Declined("an array that does not end")
        start = item.start(1)
        if start >= 0:
            place = item.end(1)
            found.append(text[start:place])
            continue
        if text[item.end() : item.end() + 1] == b"]":
            return found
        place = end_of(text, item.end())
        found.append(text[item.end() : place])


def appended(text: bytes, item: bytes) -> bytes:
    """An array's text with one more item.

    Raises:
        Declined: not an array.
    """
    items(text)
    return b"%b %b]" % (text.rstrip()[:-1], item)


def reference(text: bytes | None) -> Ref | None:
    """The reference that the text is, if it is one."""
    found = _REFERENCE.fullmatch(text) if text is not None and text.endswith(b"R") else None
    return Ref(int(found[1]), int(found[2])) if found else None


def integer(text: bytes | None) -> int | None:
    """The integer that the text is, if it is one."""
    return int(text) if text is not None and _INTEGER.fullmatch(text) else None


def number(text: bytes | None) -> float | None:
    """The number that the text is, if it is one."""
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def name_of(text: bytes) -> str:
    """A text string that is plain: PDFDocEncoding within ASCII, or UTF-16BE (ISO 32000-2 clause 7.9.2.2).

    Raises:
        Declined: another kind of string.
    """
    if text[:1] == b"(" and text.endswith(b")"):
        octets = text[1:-1]
        if octets.find(b"\\") >= 0:
            octets = _unescaped(octets)
    elif text[:1] == b"<" and text[1:2] != b"<":
        digits = bytes(text[1:-1]).translate(None, b"\x00\t\n\x0c\r ")
        try:
            octets = bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))
        except ValueError as fault:
            raise Declined("a string that is not hexadecimal") from fault
    else:
        raise Declined("a name that is no string")
    try:
        if octets[:2] == b"\xfe\xff":
            return octets[2:].decode("utf-16-be")
        if octets[:3] == b"\xef\xbb\xbf":
            return octets[3:].decode("utf-8")
        return octets.decode("ascii")
    except UnicodeDecodeError:
        # PDFDocEncoding beyond ASCII: only equality with other such names matters here, and this keeps it.
        return octets.decode("latin-1")


_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"\n": b"", b"\r": b"", b"\r\n": b""}


def _unescaped(octets: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        said = found[1]
        if said.isdigit():
            return bytes([int(said, 8) & 0xFF])
        return _ESCAPES.get(said, said)

    return re.sub(rb"\\([0-7]{1,3}|\r\n|.)", one, octets, flags=re.DOTALL)


def text_string(said: str) -> bytes:
    """A text string as PDF writes it: literal where it is ASCII, else UTF-16BE in hexadecimal."""
    if said.isascii() and said.isprintable():
        octets = said.encode("ascii").replace(b"\\", rb"\\")
        return b"(%b)" % octets.replace(b"(", rb"\(").replace(b")", rb"\)")
    return b"<FEFF%b>" % said.encode("utf-16-be").hex().upper().encode()
