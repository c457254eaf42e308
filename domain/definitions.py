"""Whether a PDF defines an object once more behind the definition that its cross-references give.

A viewer that finds a fault in a file looks for definitions itself and takes each object's last (ISO 32000-1 annex C.2
leaves it to them). The same octets are then two documents, and a revision that writes such an object anew, as a
signature does, shows everybody the one that the signer was not shown.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, Mapping

_NUMBER = re.compile(rb"[0-9]{1,10}\Z")
_LINE = 256
"""Octets of an object's head that are looked at; more are in no honest file."""
END_WITHIN = 1_024
"""Octets in which readers look for a file's end (ISO 32000-1 annex H.3, note 18); some mend a file without it there."""


def defined_again(data: bytes | mmap.mmap, values: Mapping[int, int]) -> int | None:
    """The number of an object that is defined behind the octet at which its value begins; none where there is none.

    `values` has the octet of each object's value or, where it lies in an object stream, of that stream's.
    """
    later = (number for number, begins in definitions(data) if begins > values.get(number, begins))
    return next(later, None)


def definitions(data: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """Every definition in the octets, wherever it stands: the object's number, the octet behind its head."""
    at = 0
    while (at := data.find(b"obj", at)) >= 0:
        if data[at - 3 : at] != b"end":
            head = data[max(0, at - _LINE) : at].replace(b"\0", b" ").rsplit(None, 2)
            number = _NUMBER.search(head[-2]) if len(head) > 1 and head[-1].isdigit() else None
            if number is not None:
                yield int(number[0]), at + 3
        at += 3


def overlap(runs: Iterable[tuple[int, int]]) -> bool:
    """Whether runs of object numbers (first, count) name one twice: readers differ in which of the two they take."""
    beyond = 0
    for first, count in sorted(runs):
        if count and first < beyond:
            return True
        beyond = max(beyond, first + count)
    return False
