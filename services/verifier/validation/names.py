"""Distinguished and general names from their bytes: read for people, compared as RFC 5280 clause 7 compares."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from services.verifier.validation.der import SEQUENCE, SET, Malformed, Node, oid, parse

COMMON_NAME, SERIAL_NUMBER, COUNTRY = oid("2.5.4.3"), oid("2.5.4.5"), oid("2.5.4.6")
ORGANISATION, UNIT, TITLE = oid("2.5.4.10"), oid("2.5.4.11"), oid("2.5.4.12")
ORGANISATION_IDENTIFIER = oid("2.5.4.97")
USER_ID = oid("0.9.2342.19200300.100.1.1")
EMAIL = oid("1.2.840.113549.1.9.1")

OTHER, RFC822, DNS, X400, DIRECTORY, EDI, URI, IP, REGISTERED = range(9)
"""GeneralName choices (RFC 5280 clause 4.2.1.6) by their tag numbers."""

_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_EMPTY = b"0\0"

Key = tuple[frozenset[tuple[bytes, str | bytes]], ...]
"""A name in the form in which equal names are equal."""


class GeneralName(NamedTuple):
    """One alternative of a GeneralName: its choice, and its contents octets (the whole Name for a directory name)."""

    choice: int
    value: bytes


@lru_cache(maxsize=2048)
def pairs(raw: bytes) -> tuple[tuple[bytes, str], ...]:
    """(attribute type, text) of a Name, in order; empty when it cannot be read."""
    try:
        return tuple((kind, text(value)) for rdn in _rdns(raw) for kind, value in rdn)
    except Malformed:
        return ()


@lru_cache(maxsize=2048)
def key(raw: bytes) -> Key:
    """The form to compare: case, width and spaces do not matter, string types neither (RFC 4518, RFC 5280 7.1).

    Raises:
        Malformed: it is no Name.
    """
    return tuple(frozenset((kind, _folded(value)) for kind, value in rdn) for rdn in _rdns(raw))


def equal(one: bytes, other: bytes) -> bool:
    """Whether two Names are the same; one that cannot be read equals only its own bytes."""
    if one == other:
        return True
    try:
        return key(one) == key(other)
    except Malformed:
        return False


def is_empty(raw: bytes) -> bool:
    """Whether the Name has no part."""
    return raw == _EMPTY


def text(value: Node) -> str:
    """A string of any type, unreadable octets replaced; printable as it is."""
    encoding = _ENCODINGS.get(value.tag)
    octets = value.contents
    if encoding == "ascii":
        # Authorities write accented letters into PrintableString; they meant UTF-8 or Latin-1.
        try:
            found = octets.decode("utf-8")
        except UnicodeDecodeError:
            found = octets.decode("latin-1")
    elif encoding is None:
        found = octets.hex()
    else:
        found = octets.decode(encoding, "replace")
    return "".join(letter if letter.isprintable() else " " for letter in found) if not found.isprintable() else found


def general_names(sequence: Node) -> list[GeneralName]:
    """The alternatives of a GeneralNames. Raises Malformed."""
    return [general_name(kid) for kid in sequence.kids()]


def general_name(node: Node) -> GeneralName:
    """One GeneralName. Raises Malformed."""
    if node.tag & 0xC0 != 0x80 or node.tag > 0xFF:
        raise Malformed("no-general-name")
    choice = node.tag & 0x1F
    return GeneralName(choice, node.only().raw if choice == DIRECTORY else node.contents)


def _rdns(raw: bytes) -> Iterator[list[tuple[bytes, Node]]]:
    for rdn in parse(raw, SEQUENCE).kids():
        if rdn.tag != SET:
            raise Malformed("no-set")
        found = []
        for pair in rdn.kids():
            kind, value = pair.sequence(2)[:2]
            found.append((kind.oid(), value))
        yield found


def _folded(value: Node) -> str | bytes:
    if value.tag not in _ENCODINGS:
        return value.raw
    plain = text(value)
    if not plain.isascii():
        plain = unicodedata.normalize("NFKC", plain)
    return " ".join(plain.casefold().split())
