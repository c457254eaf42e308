"""The document security store: evidence in a revision after the signature it serves (EN 319 142-1 clause 5.4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from services.signer.adapters.fast.form import Catalog
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.revision import Revision
from services.signer.adapters.fast.syntax import NOTHING, Declined, Dictionary, Ref, reference
from services.signer.model import Evidence

KINDS = (b"/Certs", b"/OCSPs", b"/CRLs")
IN_VRI = {b"/Certs": b"/Cert", b"/OCSPs": b"/OCSP", b"/CRLs": b"/CRL"}
EMPTY = Dictionary.parse(b"<< /Type /DSS >>")
MOST_HELD = 2_000


@dataclass(slots=True)
class Store:
    """The store as the file has it: each kind's references, what is known of their octets, the entries by signature."""

    ref: Ref | None
    content: Dictionary
    held: dict[bytes, list[Ref]] = field(default_factory=dict)
    vri: Dictionary = field(default=NOTHING)

    @classmethod
    def of(cls, catalog: Catalog) -> Store:
        """The catalog's store, an empty one where there is none; its streams are not read yet.

        Raises:
            Declined: a store of another form.
        """
        file = catalog.file
        told = catalog.content.get(b"/DSS")
        content = file.dictionary(told)
        if content is None:
            return cls(None, EMPTY, {kind: [] for kind in KINDS})
        found = cls(reference(told), content)
        for kind in KINDS:
            refs = [reference(one) for one in file.array(content.get(kind))]
            if any(one is None for one in refs) or len(refs) > MOST_HELD:
                raise Declined("a security store of another form")
            found.held[kind] = [one for one in refs if one is not None]
        found.vri = file.dictionary(content.get(b"/VRI")) or found.vri
        return found

    def add(self, revision: Revision, catalog: Catalog, contents: bytes, evidence: Evidence) -> None:
        """Add the evidence of the signature with these `/Contents`, padding included; octets held already stay alone.

        A validator takes a signature for LT only when a store written after it differs from the one before. A second
        signature by the same certificate brings no new octets: its own VRI entry makes the difference.

        The key has moved by now. A stream that cannot be read here, of a length told elsewhere or another filter, stays
        where it is and its octets are not known to be held: at worst they are written twice.
        """
        known = self._known(revision.file)
        entry = b""
        for kind, items in zip(KINDS, (evidence.certificates, evidence.ocsps, evidence.crls), strict=True):
            used = []
            for octets in items:
                ref = known.get(kind + hashlib.sha256(octets).digest()) if known else None
                if ref is None:
                    ref = revision.add(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(octets), octets))
                    self.held[kind].append(ref)
                used.append(ref)
            if used:
                entry += b" %b [%b]" % (IN_VRI[kind], b" ".join(map(bytes, used)))
        entries = {b"/" + vri_key(contents): bytes(revision.add(b"<<%b >>" % entry))}
        self.vri = self.vri.put(entries)
        self.content = self.content.put(
            {kind: b"[%b]" % b" ".join(map(bytes, refs)) for kind, refs in self.held.items() if refs}
            | {b"/VRI": self.vri.text}
        )
        if self.ref is None:
            self.ref = revision.add(self.content)
            catalog.put(b"/DSS", bytes(self.ref))
        else:
            revision.put(self.ref, self.content)

    def _known(self, file: File) -> dict[bytes, Ref]:
        """What the file holds, by kind and digest."""
        known: dict[bytes, Ref] = {}
        for kind, refs in self.held.items():
            for ref in refs:
                try:
                    octets = file.stream(ref)
                except Declined:
                    continue
                known.setdefault(kind + hashlib.sha256(octets).digest(), ref)
        return known


def vri_key(contents: bytes) -> bytes:
    """The name of a signature's entry: SHA-1 of its `/Contents` (EN 319 142-1 clause 5.4.2.3), a name, no signature."""
    return hashlib.sha1(contents, usedforsecurity=False).hexdigest().upper().encode()
