"""An incremental revision: new objects, their cross-references and a trailer, of the kind the file ends with."""

from __future__ import annotations

from collections.abc import Iterable

from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.syntax import Declined, Dictionary, Ref

FURTHEST = 9_999_999_999
"""The largest offset that ten digits hold."""


class Revision:
    """Objects to append. `start` is the file's length before it, in octets; `file` sees what is put here at once."""

    __slots__ = ("beyond", "file", "objects", "start")

    def __init__(self, file: File, start: int, beyond: int) -> None:
        self.file = file
        self.start = start
        self.beyond = beyond
        self.objects: dict[int, tuple[int, bytes]] = {}

    def add(self, value: bytes | Dictionary) -> Ref:
        """A new object."""
        ref = self.reserve()
        self.put(ref, value)
        return ref

    def reserve(self) -> Ref:
        """A number for an object that will be put later."""
        self.beyond += 1
        return Ref(self.beyond - 1)

    def put(self, ref: Ref, value: bytes | Dictionary) -> None:
        """Write an object, or write it anew. `value` is its text, with its stream if it has one, or a dictionary."""
        self.objects[ref.number] = (ref.generation, self.file.write(ref, value))

    def write(self, trailer: bytes, *, on_a_new_line: bool) -> tuple[bytearray, dict[int, int]]:
        """The octets to append, and where in the whole file each object's value begins.

        `trailer` are entries that every trailer has; `on_a_new_line` says that a line end has to come first.

        Raises:
            Declined: the file is too large for its cross-references.
        """
        out = bytearray(b"\n" if on_a_new_line else b"")
        rows: dict[int, tuple[int, int]] = {}
        values: dict[int, int] = {}
        for number, (generation, text) in sorted(self.objects.items()):
            at = self.start + len(out)
            rows[number] = (at, generation)
            head = b"%d %d obj\n" % (number, generation)
            values[number] = at + len(head)
            out += head
            out += text
            out += b"\nendobj\n"
        xref = self.start + len(out)
        if xref > FURTHEST:
            raise Declined("a file too large for ten digits")
        if self.file.sections[0].is_stream:
            own = self.reserve().number
            rows[own] = (xref, 0)
            out += self._stream(own, rows, trailer)
        else:
            out += self._table(rows, trailer)
        out += b"startxref\n%d\n%%%%EOF\n" % xref
        self.file.xref = xref
        return out, values

    def _table(self, rows: dict[int, tuple[int, int]], trailer: bytes) -> bytes:
        runs = b"".join(
            b"%d %d\n%b" % (run[0], len(run), b"".join([b"%010d %05d n\r\n" % rows[n] for n in run]))
            for run in _runs(rows)
        )
        return b"xref\n%btrailer\n<< /Size %d /Prev %d%b >>\n" % (runs, self.beyond, self.file.xref, trailer)

    def _stream(self, own: int, rows: dict[int, tuple[int, int]], trailer: bytes) -> bytes:
        runs = _runs(rows)
        index = b" ".join(b"%d %d" % (run[0], len(run)) for run in runs)
        packed = b"".join(b"\x01%b%b" % (rows[n][0].to_bytes(5), rows[n][1].to_bytes(2)) for run in runs for n in run)
        return (
            b"%d 0 obj\n<< /Type /XRef /W [1 5 2] /Index [%b] /Length %d /Size %d /Prev %d%b >>\nstream\n%b"
            b"\nendstream\nendobj\n" % (own, index, len(packed), self.beyond, self.file.xref, trailer, packed)
        )


def repeated(file: File, mark: bytes) -> bytes:
    """What each new trailer says again: the catalog, the information, and an identifier (ISO 32000-2 clause 14.4)
    whose second half is `mark`, 16 octets.

    Raises:
        Declined: the identifier is not a pair.
    """
    kept = b"".join(
        b" %b %b" % (key, value) for key in (b"/Root", b"/Info") if (value := file.trailer.get(key)) is not None
    )
    identity = file.trailer.get(b"/ID")
    if identity is not None:
        pair = file.array(identity)
        if len(pair) != 2:
            raise Declined("a file identifier that is not a pair")
        kept += b" /ID [%b <%b>]" % (pair[0], mark.hex().upper().encode())
    return kept


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """The numbers, which ascend, in runs without a gap."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found
