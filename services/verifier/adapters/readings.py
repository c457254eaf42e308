"""One file read strictly and, only where that fails, tolerantly."""

from __future__ import annotations

from collections.abc import Iterator

from services.verifier.adapters.document import (
    Document,
    DocumentFault,
    SignatureField,
    open_pdf,
    signature_fields,
)


class Readings:
    """The file read strictly and, only where that fails, tolerantly."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._read: dict[bool, Document | None] = {}
        self._fields: dict[bool, tuple[list[SignatureField], list[str]]] = {}
        self.fault: DocumentFault | None = None

    def document(self, strict: bool) -> Document | None:
        """One reading; none when the file cannot be read so. Raises DocumentFault beyond the limits."""
        if strict not in self._read:
            self._read[strict] = None
            try:
                self._read[strict] = open_pdf(self._data, strict)
            except DocumentFault as why:
                if why.reason in ("encrypted", "too-many-revisions"):
                    raise
                self.fault = why
        return self._read[strict]

    def all(self) -> Iterator[Document]:
        """The readings that succeed, strict first."""
        for strict in (True, False):
            document = self.document(strict)
            if document is not None:
                yield document

    def fields(self, document: Document) -> tuple[list[SignatureField], list[str]]:
        """The signature fields of one reading, and complaints. Raises DocumentFault beyond the limits."""
        if document.strict not in self._fields:
            self._fields[document.strict] = signature_fields(document)
        return self._fields[document.strict]

    def same_field(self, document: Document, name: str) -> SignatureField | None:
        """The field of this name in a reading."""
        return next((each for each in self.fields(document)[0] if each.name == name), None)
