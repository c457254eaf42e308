# mypy: allow-untyped-calls
"""Opening a PDF to extend it, and the reasons for which one cannot be signed."""

from __future__ import annotations

import hashlib
import re
import zlib
from io import BytesIO
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.font.api import FontSubsetCollection
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from events.errors import Refused
from services.signer.adapters.geometry import Page
from services.signer.adapters.pages import look

LIBRARY_FAULTS = (
    PdfError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    AssertionError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    EOFError,
    ZeroDivisionError,
    zlib.error,
)
"""What the PDF library raises on files that are not what they claim to be."""


_BOMB = re.compile(rb"/Size\s+\d{8,}|/Index\s*\[[\d\s]*\d{8,}|/W\s*\[\s*0+\s+0+\s+0+\s*\]")
"""Marks of cross-reference streams that keep a reader busy for ever: 300 octets are enough for that."""


class _Subsets(FontSubsetCollection):
    def add_subset(self) -> str:
        number = len(self.subsets)
        return "ANTIN" + chr(ord("A") + number) if number < 26 else super().add_subset()


class Revision(IncrementalPdfFileWriter):
    """pyHanko's incremental writer, taught to leave alone what it was not asked to change."""

    @classmethod
    def _handle_id(cls, prev: PdfFileReader) -> generic.ArrayObject:
        """A changing identifier (ISO 32000-2 clause 14.4) that the same revision always gets again: a signature made
        elsewhere, after minutes, must fit the bytes that are written anew when it comes.
        """
        permanent, _ = super()._handle_id(prev)
        prev.stream.seek(0)
        changing = generic.ByteStringObject(hashlib.sha256(prev.stream.read()).digest()[:16])
        return generic.ArrayObject([permanent if "/ID" in prev.trailer else changing, changing])

    def get_subset_collection(self, base_postscript_name: str) -> FontSubsetCollection:
        """As the library's, but with tags of subsets (ISO 32000-2 clause 9.9.2) that are not drawn by lot."""
        if base_postscript_name not in self._font_resources:
            self._font_resources[base_postscript_name] = _Subsets(base_postscript_name)
        found: FontSubsetCollection = self._font_resources[base_postscript_name]
        return found

    def _update_meta(self) -> None:
        """Document information and XMP stay as they are: a signature is no edit, and the clock is not ours to read."""

    def _write_header(self, stream: Any) -> None:
        super()._write_header(stream)
        self.input_stream.seek(-1, 2)
        if self.input_stream.read(1) not in (b"\n", b"\r"):
            stream.write(b"\n")


def open_reader(pdf: bytes) -> PdfFileReader:
    """The PDF, read strictly or else leniently.

    Raises:
        Refused: not a PDF, encrypted, or too damaged to be read.
    """
    if b"%PDF-" not in pdf[:1024]:
        raise Refused(
            "not-a-pdf",
            found="bytes that do not begin with a PDF header",
            expected="a PDF file",
            remedy="send a PDF",
            status=415,
        )
    if _BOMB.search(pdf):
        raise Refused(
            "pdf-too-complex",
            found="a cross-reference stream that claims millions of objects, or entries of no width",
            expected="at most 8,388,607 objects (ISO 32000-1 annex C)",
            remedy="make the PDF anew from its source",
        )
    for strict in (True, False):
        try:
            reader = PdfFileReader(BytesIO(pdf), strict=strict)
            encrypted = reader.encrypted
            if not encrypted and not isinstance(reader.root, generic.DictionaryObject):
                raise damaged("a PDF without a catalog")
            break
        except LIBRARY_FAULTS as fault:
            if not strict:
                raise damaged(f"a PDF that cannot be read ({type(fault).__name__})") from fault
    if encrypted:
        raise Refused(
            "pdf-encrypted",
            found="an encrypted PDF",
            expected="a PDF without encryption",
            remedy="remove the password protection and send it again",
        )
    return reader


def open_for_update(pdf: bytes) -> Revision:
    """A writer that appends to the PDF and numbers new objects beyond all that the file uses, whatever /Size says.

    Raises:
        Refused: not a PDF, encrypted, or too damaged to be read.
    """
    reader = open_reader(pdf)
    writer = Revision(reader.stream, prev=reader)
    xrefs = reader.xrefs
    used = (ref.idnum for revision in range(xrefs.total_revisions) for ref in xrefs.explicit_refs_in_revision(revision))
    writer._lastobj_id = max(writer._lastobj_id, max(used, default=0))
    return writer


def may_be_signed(writer: Revision) -> None:
    """Check what forbids a signature.

    Raises:
        Refused: a dynamic (XFA) form, or a certification that allows no change.
    """
    form = look(writer.root, "/AcroForm")
    if isinstance(form, generic.DictionaryObject) and "/XFA" in form:
        raise Refused(
            "pdf-xfa",
            found="a PDF with an XFA form",
            expected="a PDF whose pages are the document",
            remedy="print the form to a PDF and send that",
        )
    permissions = look(writer.root, "/Perms")
    certification = look(permissions, "/DocMDP") if isinstance(permissions, generic.DictionaryObject) else None
    if isinstance(certification, generic.DictionaryObject):
        for reference in look(certification, "/Reference", ()):
            parameters = look(reference.get_object(), "/TransformParams", {})
            if look(parameters, "/P", 2) == 1:
                raise Refused(
                    "pdf-no-changes-allowed",
                    found="a PDF certified with no changes allowed",
                    expected="a PDF that may still be signed (ISO 32000-2 clause 12.8.2.2)",
                    remedy="ask its author for one that permits signatures",
                )


def fields_of(writer: Revision) -> tuple[generic.DictionaryObject, generic.ArrayObject]:
    """The interactive form and its fields, made where absent."""
    root = writer.root
    form = look(root, "/AcroForm")
    if not isinstance(form, generic.DictionaryObject):
        form = generic.DictionaryObject()
        root[pdf_name("/AcroForm")] = writer.add_object(form)
        writer.update_root()
    fields = look(form, "/Fields")
    if not isinstance(fields, generic.ArrayObject):
        fields = generic.ArrayObject()
        form[pdf_name("/Fields")] = fields
        writer.update_container(form)
    return form, fields


def empty_field(writer: Revision, name: str) -> generic.IndirectObject | None:
    """The empty signature field of that name, if there is one.

    Raises:
        Refused: the field is signed already, or is not a signature field.
    """
    if "/AcroForm" not in writer.root:
        return None
    _, fields = fields_of(writer)
    for found, value, reference in enumerate_sig_fields(writer):
        if found == name:
            if value is not None:
                raise Refused(
                    "slot-already-signed",
                    found="a signature in this slot's field",
                    expected="an empty field",
                    remedy="do not sign a slot twice",
                    status=409,
                )
            ref: generic.IndirectObject = reference
            return ref
    if name in top_names(fields):
        raise Refused(
            "field-name-taken",
            found="a form field of the slot's name that is not for a signature",
            expected="none, or an empty signature field",
            remedy="give the slot another name",
        )
    return None


def top_names(fields: generic.ArrayObject) -> set[str]:
    """Names of the fields at the top of the form."""
    names = set()
    for reference in fields:
        field = reference.get_object()
        if isinstance(field, generic.DictionaryObject) and "/T" in field:
            names.add(str(field["/T"]))
    return names


def add_field(writer: Revision, name: str, page: Page, rect: tuple[float, ...]) -> generic.DictionaryObject:
    """Make a signature field that is its own widget on a page; an all-zero rectangle makes it invisible.

    Flags are Print and Locked: PDF/A wants the one, nobody should move the other (ISO 19005-3 clause 6.3.2).
    """
    _, fields = fields_of(writer)
    field = generic.DictionaryObject(
        {
            pdf_name("/FT"): pdf_name("/Sig"),
            pdf_name("/T"): generic.pdf_string(name),
            pdf_name("/Type"): pdf_name("/Annot"),
            pdf_name("/Subtype"): pdf_name("/Widget"),
            pdf_name("/F"): generic.NumberObject(132),
            pdf_name("/Rect"): generic.ArrayObject([generic.FloatObject(f"{v:.3f}") for v in rect]),
            pdf_name("/P"): generic.IndirectObject(page.number, page.generation, writer),
        }
    )
    reference = writer.add_object(field)
    fields.append(reference)
    writer.update_container(fields)
    content = content_of(writer, page)
    annotations = look(content, "/Annots")
    if isinstance(annotations, generic.ArrayObject):
        if annotations is not fields:  # one list may serve as both, and has the field by now
            annotations.append(reference)
            writer.update_container(annotations)
    else:
        content[pdf_name("/Annots")] = generic.ArrayObject([reference])
        writer.update_container(content)
    return field


def content_of(writer: Revision, page: Page) -> Any:
    """The page's dictionary."""
    return generic.IndirectObject(page.number, page.generation, writer).get_object()


def flag_signatures(writer: Revision) -> None:
    """Say in the form that there are signatures and that only additions are allowed (ISO 32000-2 table 225)."""
    form, _ = fields_of(writer)
    flags = look(form, "/SigFlags", 0)
    wanted = (int(flags) if isinstance(flags, int) else 0) | 3
    if flags != wanted:
        form[pdf_name("/SigFlags")] = generic.NumberObject(wanted)
        writer.update_container(form)


def certify(writer: Revision, signature: generic.IndirectObject) -> None:
    """Say in the catalog that this signature certifies the document (ISO 32000-2 clause 12.8.4).

    Raises:
        Refused: it is signed already: only the first signature certifies (clause 12.8.2.2).
    """
    signed = [name for name, value, _ in enumerate_sig_fields(writer) if value is not None]
    if len(signed) > 1 or "/Perms" in writer.root:
        raise Refused(
            "certification-not-first",
            found="a document that is signed or certified already",
            expected="one without signatures: only the first may certify",
            remedy="sign without certifying",
            status=409,
        )
    writer.root[pdf_name("/Perms")] = generic.DictionaryObject({pdf_name("/DocMDP"): signature})
    writer.update_root()


def damaged(found: str) -> Refused:
    """The refusal of a file that cannot be extended."""
    return Refused(
        "pdf-damaged",
        found=found,
        expected="a PDF with a sound structure",
        remedy="repair the file or make it anew from its source",
    )
