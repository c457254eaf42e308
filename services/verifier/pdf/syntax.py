"""The object syntax of PDF: bytes in, Python values out, bounded in depth and size (ISO 32000-2 clause 7.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

MOST_DEPTH = 96
"""Arrays and dictionaries nested deeper than this are refused; real files stay below 20."""
MOST_ITEMS = 2_000_000
"""More values than this in one object are refused."""
TWICE = "\0"
"""The key under which a dictionary keeps the values of keys that it holds twice with different values."""

SPACE = b"\0\t\n\x0c\r "
_REGULAR = rb"[^\0\t\n\x0c\r ()<>\[\]{}/%]"
_TOKEN = re.compile(
    rb"[\0\t\n\x0c\r ]*+(?:%[^\r\n]*+[\0\t\n\x0c\r ]*+)*+(?:"
    rb"/(" + _REGULAR + rb"*+)"  # 1 a name
    rb"|(\d{1,10}+)[\0\t\n\x0c\r ]++(\d{1,5}+)[\0\t\n\x0c\r ]++R(?!" + _REGULAR + rb")"  # 2, 3 a reference
    rb"|([+-]?\d{1,18}+)(?!" + _REGULAR + rb")"  # 4 an integer
    rb"|(<<)|(>>)|(\[)|(\])"  # 5 6 7 8
    rb"|\(([^()\\\r]*+)\)"  # 9 a literal string without anything special
    rb"|(\()"  # 10 any other literal string
    rb"|<([0-9A-Fa-f\0\t\n\x0c\r ]*+)>"  # 11 a hexadecimal string
    rb"|(" + _REGULAR + rb"++)"  # 12 a keyword or a number
    rb"|(.))",  # 13 what fits nothing
    re.DOTALL,
)
_HEAD = re.compile(rb"[\0\t\n\x0c\r ]*+(\d{1,10}+)[\0\t\n\x0c\r ]++(\d{1,10}+)[\0\t\n\x0c\r ]++obj")
_STREAM = re.compile(rb"[\0\t\n\x0c\r ]*+(?:%[^\r\n]*+[\0\t\n\x0c\r ]*+)*+stream(\r\n|\n|\r|)")
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|(\r\n|\r|\n)|(.)|\Z)|\r\n?", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_PARENTHESIS = re.compile(rb"\\.|[()]", re.DOTALL)
_HASH = re.compile(r"#([0-9A-Fa-f]{2})")
_KEYWORDS = {b"true": True, b"false": False, b"null": None}
_STOPS = frozenset({b"endobj", b"stream", b"endstream", b"obj", b"xref", b"trailer", b"startxref"})

Value = Any
"""None, bool, int, float, Name, bytes (a string), list, dict[str, Value], Ref or Stream."""


class Misformed(Exception):
    """The bytes are no PDF object, or one beyond the limits; the message says what was met."""


class Name(str):
    """A name without its slash; a `str`, so that it serves as a key, and yet no text string."""

    __slots__ = ()


class Ref(NamedTuple):
    """A reference to an indirect object."""

    number: int
    generation: int


class Stream:
    """A stream: its dictionary, and where its raw bytes lie."""

    __slots__ = ("cipher", "dictionary", "length", "source", "start")

    def __init__(self, dictionary: dict[str, Value], source: bytes, start: int, length: int) -> None:
        self.dictionary = dictionary
        self.source = source
        self.start = start
        self.length = length
        self.cipher: Any = None
        """Deciphers the raw bytes; none when they are not encrypted."""

    @property
    def raw(self) -> bytes:
        """The bytes as they stand in the file, deciphered, with all filters on."""
        data = self.source[self.start : self.start + self.length]
        return self.cipher(data) if self.cipher is not None else data


@lru_cache(maxsize=4096)
def _name(token: bytes) -> Name:
    text = token.decode("latin-1")
    if "#" in text:
        text = _HASH.sub(lambda found: chr(int(found.group(1), 16)) if found.group(1) != "00" else "#00", text)
    return Name(text)


def parse(data: bytes, at: int) -> tuple[Value, int]:
    """(the value that begins at `at`, where it ends). A stream's keyword is not looked for.

    Raises:
        Misformed: there is no value, or it is nested too deeply or too large.
    """
    match = _TOKEN.match
    stack: list[list[Value]] = []
    dictionaries: list[bool] = []
    count = 0
    value: Value
    while True:
        found = match(data, at)
        if found is None:
            raise Misformed("end of data")
        at = found.end()
        kind = found.lastindex
        if kind == 1:
            value = _name(found[1])
        elif kind == 3:
            value = Ref(int(found[2]), int(found[3]))
        elif kind == 4:
            value = int(found[4])
        elif kind == 5 or kind == 7:
            if len(stack) >= MOST_DEPTH:
                raise Misformed("nested too deeply")
            stack.append([])
            dictionaries.append(kind == 5)
            continue
        elif kind == 6 or kind == 8:
            if not stack or dictionaries.pop() is not (kind == 6):
                raise Misformed("brackets do not pair")
            value = stack.pop()
            if kind == 6:
                value = _dictionary(value)
        elif kind == 9:
            value = found[9]
        elif kind == 11:
            value = _hexadecimal(found[11])
        elif kind == 10:
            value, at = _literal(data, at)
        elif kind == 12:
            value = _word(found[12])
        else:
            raise Misformed("no object")
        if not stack:
            return value, at
        count += 1
        if count > MOST_ITEMS:
            raise Misformed("too large")
        stack[-1].append(value)


def _dictionary(items: list[Value]) -> dict[str, Value]:
    result: dict[str, Value] = {}
    twice: list[Value] = []
    index, end = 0, len(items)
    while index < end:
        key = items[index]
        index += 1
        if type(key) is not Name:
            continue
        value = items[index] if index < end else None
        index += 1
        if key in result and result[key] != value:
            twice.append([key, result[key], value])
        result[key] = value
    if twice:
        result[TWICE] = twice
    return result


def _word(token: bytes) -> Value:
    if token in _KEYWORDS:
        return _KEYWORDS[token]
    if token in _STOPS or token.startswith(b"endobj"):
        raise Misformed(f"keyword {token[:12].decode('latin-1')}")
    if len(token) <= 400:
        try:
            return float(token) if b"_" not in token and token[-1:] in b"0123456789." else None
        except ValueError:
            pass
    return None


def _hexadecimal(digits: bytes) -> bytes:
    digits = digits.translate(None, SPACE)
    if len(digits) % 2:
        digits += b"0"
    return bytes.fromhex(digits.decode("ascii"))


def _literal(data: bytes, at: int) -> tuple[bytes, int]:
    depth = 1
    for found in _PARENTHESIS.finditer(data, at):
        mark = found[0]
        if mark == b"(":
            depth += 1
        elif mark == b")":
            depth -= 1
            if depth == 0:
                return _ESCAPE.sub(_unescaped, data[at : found.start()]), found.end()
    raise Misformed("a string without an end")


def _unescaped(found: re.Match[bytes]) -> bytes:
    octal, line, other = found.groups()
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))
    if line is not None:
        return b""
    if other is not None:
        return _ESCAPES.get(other, other)
    return b"" if found[0] == b"\\" else b"\n"


def head(data: bytes, at: int) -> tuple[int, int, int] | None:
    """(number, generation, where the value begins) of the indirect object at `at`, or none."""
    found = _HEAD.match(data, at)
    return None if found is None else (int(found[1]), int(found[2]), found.end())


def stream_start(data: bytes, at: int) -> int | None:
    """Where the bytes of a stream begin whose dictionary ends at `at`; none when no stream follows."""
    found = _STREAM.match(data, at)
    return None if found is None else found.end()
