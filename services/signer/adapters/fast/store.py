"""The document security store: evidence in a revision after the signature it serves (EN 319 142-1 clause 5.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from services.signer.adapters.fast.form import Catalog
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.revision import Revision
from services.signer.adapters.fast.syntax import Declined, Dictionary, Ref, reference
from services.signer.model import Evidence

KINDS = (b"/Certs", b"/OCSPs", b"/CRLs")
EMPTY = Dictionary.parse(b"<< /Type /DSS >>")
MOST_HELD = 2_000


class Store:
    """The store as the file has it, and the references of each kind.

    There is no VRI dictionary: one that a file has stays, but none should be used (clause 5.4.2.3), and it would name
    signatures by SHA-1.
    """

    __slots__ = ("content", "held", "ref")

    def __init__(self, ref: Ref | None) -> None:
        self.ref = ref
        self.content = EMPTY
        self.held: dict[bytes, list[Ref]] = {kind: [] for kind in KINDS}

    @classmethod
    def of(cls, catalog: Catalog) -> Store:
        """The catalog's store, an empty one where there is none; its streams are not read yet.

        Raises:
            Declined: a store of another form.
        """
        file = catalog.file
        told = catalog.content.get(b"/DSS")
        content = file.dictionary(told)
        found = cls(reference(told))
        if content is not None:
            found.content = content
            for kind in KINDS:
                refs = [reference(one) for one in file.array(content.get(kind))]
                if any(one is None for one in refs) or len(refs) > MOST_HELD:
                    raise Declined("a security store of another form")
                found.held[kind] = [one for one in refs if one is not None]
        return found

    def add(self, revision: Revision, catalog: Catalog, needed: Evidence, given: Sequence[Evidence]) -> None:
        """Add what is `needed` of the evidence `given` for the last signature, but what is held already.

        A validator takes a signature for LT only when a store written after it holds something that the one before did
        not. A signature under known statuses may bring nothing: then the shortest of what the store lacks is written,
        or else the shortest statement of a status once more.

        The key has moved by now. A stream that cannot be read here, of a length told elsewhere or another filter, stays
        where it is and its octets are not known to be held: at worst they are written twice.
        """
        known = self._known(revision.file)
        fresh = _lacking(known, needed)
        if not fresh:
            spare = [one for evidence in given for one in _lacking(known, evidence)]
            spare = spare or [one for one in _lacking(set(), needed) if one[0] != KINDS[0]]
            fresh.append(min(spare, key=lambda one: len(one[1])))
        for kind, octets in fresh:
            stream = b"<< /Length %d >>\nstream\n%b\nendstream" % (len(octets), octets)
            self.held[kind].append(revision.add(stream))
        self.content = self.content.put(
            {kind: b"[%b]" % b" ".join(map(bytes, refs)) for kind, refs in self.held.items() if refs}
        )
        if self.ref is None:
            self.ref = revision.add(self.content)
            catalog.put(b"/DSS", bytes(self.ref))
        else:
            revision.put(self.ref, self.content)

    def _known(self, file: File) -> set[bytes]:
        """What the file holds, by kind and digest."""
        known: set[bytes] = set()
        for kind, refs in self.held.items():
            for ref in refs:
                try:
                    known.add(kind + hashlib.sha256(file.stream(ref)).digest())
                except Declined:
                    continue
        return known


def _lacking(known: set[bytes], evidence: Evidence) -> list[tuple[bytes, bytes]]:
    """Of the evidence, each with its kind, what is not known."""
    given = zip(KINDS, (evidence.certificates, evidence.ocsps, evidence.crls), strict=True)
    return [
        (kind, octets)
        for kind, items in given
        for octets in items
        if not known or kind + hashlib.sha256(octets).digest() not in known
    ]
