"""An incremental revision: new objects, their cross-references and a trailer, of the kind the file ends with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.syntax import Declined, Dictionary, Ref

FURTHEST = 9_999_999_999
"""The largest offset that ten digits hold."""


@dataclass(slots=True)
class Revision:
    """Objects to append. `start` is the file's length before it, in octets; `file` sees what is put here at once."""

    file: File
    start: int
    beyond: int
    objects: dict[int, tuple[int, bytes]] = field(default_factory=dict)

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

    def write(self, mark: bytes, *, on_a_new_line: bool) -> tuple[bytearray, dict[int, int]]:
        """The octets to append, and where in the whole file each object's value begins.

        `mark` are 16 octets for the second half of /ID; `on_a_new_line` says that a line end has to come first.

        Raises:
            Declined: the file is too large for its cross-references.
        """
        out = bytearray(b"\n" if on_a_new_line else b"")
        rows: dict[int, tuple[int, int]] = {}
        values: dict[int, int] = {}
        for number, (generation, text) in sorted(self.objects.items()):
            rows[number] = (self.start + len(out), generation)
            out += b"%d %d obj\n" % (number, generation)
            values[number] = self.start + len(out)
            out += text
            out += b"\nendobj\n"
        previous = self.file.xref
        xref = self.start + len(out)
        if xref > FURTHEST:
            raise Declined("a file too large for ten digits")
        if self.file.sections[0].is_stream:
            own = self.reserve().number
            rows[own] = (xref, 0)
            index: list[bytes] = []
            body: list[bytes] = []
            for run in _runs(rows):
                index.append(b"%d %d" % (run[0], len(run)))
                body.extend(b"\x01%b%b" % (rows[n][0].to_bytes(5), rows[n][1].to_bytes(2)) for n in run)
            packed = b"".join(body)
            out += (
                b"%d 0 obj\n<< /Type /XRef /W [1 5 2] /Index [%b] /Length %d%b >>\nstream\n%b\nendstream\nendobj\n"
                % (
                    own,
                    b" ".join(index),
                    len(packed),
                    self._trailer(previous, mark),
                    packed,
                )
            )
        else:
            out += b"xref\n"
            for run in _runs(rows):
                out += b"%d %d\n" % (run[0], len(run))
                out += b"".join(b"%010d %05d n\r\n" % rows[n] for n in run)
            out += b"trailer\n<<%b >>\n" % self._trailer(previous, mark)
        out += b"startxref\n%d\n%%%%EOF\n" % xref
        self.file.xref = xref
        return out, values

    def _trailer(self, previous: int, mark: bytes) -> bytes:
        trailer = self.file.trailer
        kept = b"".join(
            b" %b %b" % (key, value) for key in (b"/Root", b"/Info") if (value := trailer.get(key)) is not None
        )
        identity = trailer.get(b"/ID")
        if identity is not None:
            pair = self.file.array(identity)
            if len(pair) != 2:
                raise Declined("a file identifier that is not a pair")
            kept += b" /ID [%b <%b>]" % (pair[0], mark.hex().upper().encode())
        return b" /Size %d /Prev %d%b" % (self.beyond, previous, kept)


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found
