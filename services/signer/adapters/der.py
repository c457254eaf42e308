"""DER by hand (ITU-T X.690 clause 10): enough to write small structures and to read tokens without building objects."""

from __future__ import annotations

SEQUENCE, SET, OCTETS, INTEGER, OID, NULL, BITS, UTF8 = 0x30, 0x31, 0x04, 0x02, 0x06, 0x05, 0x03, 0x0C

Span = tuple[int, int, int, int]
"""One value within a buffer: its tag, where it begins with its header, where its content begins, where it ends."""


def tlv(tag: int, *parts: bytes) -> bytes:
    """A value: tag, length in its shortest form, content."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def span(data: bytes, at: int, end: int) -> Span:
    """The value that begins at `at` and lies before `end`.

    Raises:
        ValueError: cut short, a tag of several octets, or a length that is not DER (indefinite, or not the shortest).
    """
    if at + 2 > end:
        raise ValueError("DER that ends too early")
    tag, size, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag of several octets")
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4 or start + count > end:
            raise ValueError("a length that is not DER")
        size = data[start] << 8 | data[start + 1] if count == 2 else int.from_bytes(data[start : start + count])
        start += count
        if size < 0x80 or size >> 8 * (count - 1) == 0:
            raise ValueError("a length that is not the shortest")
    if start + size > end:
        raise ValueError("DER that ends too early")
    return tag, at, start, start + size


def within(data: bytes, start: int, end: int) -> list[Span]:
    """The values that fill the content from `start` to `end`, one after the other.

    Raises:
        ValueError: as `span`.
    """
    found: list[Span] = []
    while start < end:
        # Tokens consist of short values; `span` says the same of them at twice the cost.
        if start + 2 <= end and data[start] & 0x1F != 0x1F and (size := data[start + 1]) < 0x80:
            one = (data[start], start, start + 2, start + 2 + size)
        else:
            one = span(data, start, end)
        found.append(one)
        start = one[3]
    if start != end:
        raise ValueError("DER that ends too early")
    return found


def whole(data: bytes, tag: int) -> Span:
    """The one value that fills all of `data`.

    Raises:
        ValueError: another tag, something after it, or not DER.
    """
    one = span(data, 0, len(data))
    if one[0] != tag or one[3] != len(data):
        raise ValueError("not one value of the kind expected")
    return one
