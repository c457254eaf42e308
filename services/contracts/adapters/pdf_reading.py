"""Decides whether a PDF may become a contract: sound, unencrypted, without XFA, with pages of a sensible size.

Nothing is repaired: a file that two readers may understand differently cannot carry a signature that means one thing.
Runs inside the sandbox (`sandbox.py`) only: hostile input may exhaust the processor or the memory of this code.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from typing import Any, cast

import pypdfium2
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfDecodeLimitError, PdfError
from pyhanko.pdf_utils.reader import PdfFileReader

from domain.definitions import END_WITHIN, defined_again, definitions, overlap
from events.errors import Refused
from services.contracts.ports import Admitted, Limits, Sheet

SMALLEST, LARGEST = 72.0, 14400.0
"""Sides of a page in points: an inch holds a stamp; more is beyond ISO 32000-1 Annex C.2."""

_PDFIUM: Any = pypdfium2
_NOTHING: Any = cast(Any, generic.DictionaryObject)({})
_BLANK = b"\x00\t\n\x0c\r "
_DEPTH = 60
_FIELDS = 20_000


def read(pdf: bytes, limits: Limits) -> Admitted:
    """What is in the PDF.

    Raises:
        Refused: it may not become a contract; the code says why.
    """
    _outside(pdf, limits)
    try:
        reader = PdfFileReader(io.BytesIO(pdf), strict=True)
        if reader.encrypted or "/Encrypt" in reader.trailer:
            raise _refused(
                "pdf-encrypted",
                "an encrypted PDF",
                "one that opens without a password and without restrictions",
                "remove the encryption where the file was made and send it again",
            )
        _objects(reader, pdf, limits)
        root = reader.root
        form = _under(root, "/AcroForm")
        if "/XFA" in form:
            raise _refused(
                "pdf-xfa",
                "an XFA form, whose appearance is not fixed by the file",
                "static pages; plain form fields are welcome",
                "print the form to PDF, or save it as a static form",
            )
        pages = tuple(_sheets(root, limits))
        signatures = _signatures(root, form, limits)
        revisions = int(reader.total_revisions)
    except Refused:
        raise
    except (PdfDecodeLimitError, RecursionError, MemoryError, OverflowError) as fault:
        raise too_complex(type(fault).__name__) from fault
    except PdfError as fault:
        raise _damaged(str(fault)[:120] if str(fault).isascii() else type(fault).__name__) from fault
    except Exception as fault:
        # The library raises from more than fifty places what it did not foresee; each means the same here.
        raise _damaged(type(fault).__name__) from fault
    if not pages:
        raise _refused("pdf-no-pages", "a PDF without pages", "at least one page", "send the contract itself")
    _second_opinion(pdf, len(pages))
    return Admitted(pages=pages, revisions=revisions, form=bool(_value(form, "/Fields")), signatures=signatures)


def _outside(pdf: bytes, limits: Limits) -> None:
    """What can be told without reading the structure."""
    too_large(len(pdf), limits)
    begin = pdf[:1024].find(b"%PDF-")
    if begin < 0:
        raise not_a_pdf()
    if begin > 0:
        raise _damaged(f"{begin} bytes before the header %PDF-")
    end = pdf.rfind(b"%%EOF", max(0, len(pdf) - END_WITHIN))
    if end < 0:
        if re.fullmatch(rb"[\x00\t\n\x0c\r ]*", pdf[-END_WITHIN:]) and pdf.rfind(b"%%EOF") >= 0:
            raise _damaged(f"more than {END_WITHIN} blank bytes after the end")
        raise _refused(
            "pdf-truncated",
            "a PDF without its end marker %%EOF",
            "a complete file",
            "send the file again; the transfer or the program that wrote it was cut short",
        )
    if pdf[end + 5 :].strip(_BLANK):
        raise _damaged("bytes after the end marker %%EOF")
    if pdf.rfind(b"startxref", max(0, len(pdf) - END_WITHIN)) < 0:
        raise _damaged(f"no startxref within the last {END_WITHIN} bytes")


def _objects(reader: Any, pdf: bytes, limits: Limits) -> None:
    """Every entry of every cross-reference section points at the object it names (ISO 32000-1 clause 7.5.4), and the
    newest of an object at its last definition: a viewer that mends a file takes that one.
    """
    seen = 0
    newest: dict[int, int] = {}
    within: dict[int, int] = {}
    containers: set[int] = set()
    for revision in range(reader.total_revisions):
        for reference in reader.xrefs.explicit_refs_in_revision(revision):
            seen += 1
            if seen > limits.objects:
                raise too_complex(f"more than {limits.objects} objects")
            place = reader.xrefs.get_historical_ref(reference, revision)
            if isinstance(place, int):
                head = rb"\s*%d\s+%d\s+obj\b" % (reference.idnum, reference.generation)
                found = re.match(head, pdf[place : place + 64])
                if not found:
                    raise _damaged(f"the cross-reference of object {reference.idnum} points elsewhere")
                newest[reference.idnum] = place + found.end()
                within.pop(reference.idnum, None)
            elif place is not None:
                containers.add(int(place.obj_stream_id))
                within[reference.idnum] = int(place.obj_stream_id)
                if place.obj_stream_id == reference.idnum:
                    raise _damaged(f"object {reference.idnum} is said to lie within itself")
    for number in sorted(containers):
        stream = reader.get_object(generic.Reference(number, 0, pdf=reader))
        if not isinstance(stream, generic.StreamObject) or _value(stream, "/Type") != "/ObjStm":
            raise _damaged(f"object {number} is not the object stream it should be")
        _ = stream.data
    for number, container in within.items():
        newest[number] = newest.get(container, 0)
    again = defined_again(pdf, newest)
    if again is not None:
        raise _damaged(f"object {again} is defined again behind the place that its cross-reference gives")
    own = {section.meta_info.stream_ref for section in reader.xrefs._xref_sections}
    named = newest.keys() | {int(reference.idnum) for reference in own if reference is not None}
    for number, _ in definitions(pdf):
        if number not in named:
            raise _damaged(f"object {number} that no cross-reference names")
    for section in reader.xrefs._xref_sections:
        if overlap(_runs(pdf, section.meta_info.start_location)):
            raise _damaged("a cross-reference section that speaks of an object twice")


def _runs(pdf: bytes, place: int) -> Iterator[tuple[int, int]]:
    """First number and count of each part of the cross-reference table or stream that begins here."""
    if re.match(rb"\s*[0-9]+\s+[0-9]+\s+obj", pdf[place : place + 64]):
        index = re.search(rb"/Index\s*\[([0-9\s]*)\]", pdf[place : pdf.find(b"stream", place)])
        numbers = [int(one) for one in index[1].split()] if index is not None else []
        yield from zip(numbers[::2], numbers[1::2], strict=False)
        return
    part = re.compile(rb"\s*([0-9]{1,10}) +([0-9]{1,10})\s*")
    while (head := part.match(pdf, place)) is not None:
        yield int(head[1]), int(head[2])
        place = head.end() + 20 * int(head[2])


def _sheets(root: generic.DictionaryObject, limits: Limits) -> Iterator[Sheet]:
    """The pages in their order, each with what it inherits (ISO 32000-1 clause 7.7.3.4)."""
    inheritable = ("/MediaBox", "/CropBox", "/Rotate")
    top = root.raw_get("/Pages")
    stack: list[tuple[Any, dict[str, Any], int]] = [(top, {}, 0)]
    seen: set[tuple[int, int]] = set()
    count = 0
    while stack:
        node, above, depth = stack.pop()
        if isinstance(node, generic.IndirectObject):
            name = (node.idnum, node.generation)
            if name in seen:
                raise _damaged("a page tree that meets itself")
            seen.add(name)
            node = _followed(node)
        if not isinstance(node, generic.DictionaryObject):
            raise _damaged("a page tree with something in it that is no page")
        if depth > _DEPTH:
            raise too_complex(f"a page tree of more than {_DEPTH} levels")
        own = {**above, **{key: node[key] for key in inheritable if key in node}}
        if "/Kids" in node:
            kids = node["/Kids"]
            if not isinstance(kids, generic.ArrayObject):
                raise _damaged("a page tree without a list of pages")
            if len(kids) > limits.pages + 1:
                raise _too_many(len(kids), limits)
            stack.extend((kids.raw_get(index), own, depth + 1) for index in reversed(range(len(kids))))
            continue
        if _value(node, "/Type") not in ("/Page", None):
            raise _damaged("a page tree with something in it that is no page")
        count += 1
        if count > limits.pages:
            raise _too_many(count, limits)
        yield _sheet(own, node, count)


def _sheet(own: dict[str, Any], page: generic.DictionaryObject, number: int) -> Sheet:
    if "/MediaBox" not in own:
        raise _damaged(f"page {number} has no size")
    left, bottom, right, top = _box(own["/MediaBox"], number)
    if "/CropBox" in own:
        cut = _box(own["/CropBox"], number)
        left, bottom, right, top = max(left, cut[0]), max(bottom, cut[1]), min(right, cut[2]), min(top, cut[3])
    width, height = right - left, top - bottom
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise _refused(
            "pdf-page-size",
            f"page {number} of {width:g} by {height:g} points",
            f"sides of {SMALLEST:g} to {LARGEST:g} points",
            "send pages on which a signature can be seen",
        )
    turn = own.get("/Rotate") or 0
    if not isinstance(turn, int) or turn % 90:
        raise _damaged(f"page {number} is turned by something else than quarters")
    rotation = int(turn) % 360
    return Sheet(
        width=height if rotation in (90, 270) else width,
        height=width if rotation in (90, 270) else height,
        rotation=rotation,
    )


def _box(found: Any, number: int) -> tuple[float, float, float, float]:
    if not isinstance(found, generic.ArrayObject) or len(found) != 4:
        raise _damaged(f"page {number} has a box that is not four numbers")
    sides = [float(side) for side in found]
    if not all(math.isfinite(side) for side in sides):
        raise _damaged(f"page {number} has a box that is not four numbers")
    return min(sides[0], sides[2]), min(sides[1], sides[3]), max(sides[0], sides[2]), max(sides[1], sides[3])


def _signatures(root: generic.DictionaryObject, form: generic.DictionaryObject, limits: Limits) -> int:
    """How many fields are signed. Refuses what was signed elsewhere, unless that is allowed and changes are too."""
    found = list(_signed_fields(form))
    certified = _under(_under(root, "/Perms"), "/DocMDP")
    for value in (*found, certified):
        for reference in _value(value, "/Reference") or ():
            method = _dictionary(reference)
            permissions = _value(_under(method, "/TransformParams"), "/P")
            if _value(method, "/TransformMethod") == "/DocMDP" and permissions == 1:
                raise _refused(
                    "pdf-no-changes-allowed",
                    "a PDF certified so that any change breaks it (DocMDP, P 1)",
                    "one that may still be signed",
                    "send the original as it was before it was certified",
                )
    if found and not limits.signed_before:
        raise _refused(
            "pdf-signed",
            f"a PDF that carries {len(found)} signature(s) made elsewhere",
            "the unsigned original",
            "send the original; every party signs here, with its own certificate",
        )
    return len(found)


def _signed_fields(form: generic.DictionaryObject) -> Iterator[generic.DictionaryObject]:
    """Values of signature fields, in the form's tree, each once, with a bound on the walk."""
    stack: list[tuple[Any, Any, int]] = [(_value(form, "/Fields"), None, 0)]
    seen: set[tuple[int, int]] = set()
    visits = 0
    while stack:
        kids, kind, depth = stack.pop()
        if not isinstance(kids, generic.ArrayObject):
            continue
        if depth > _DEPTH:
            raise too_complex(f"a form of more than {_DEPTH} levels")
        for index in range(len(kids)):
            visits += 1
            if visits > _FIELDS:
                raise too_complex(f"a form of more than {_FIELDS} fields")
            raw = kids.raw_get(index)
            if isinstance(raw, generic.IndirectObject):
                if (raw.idnum, raw.generation) in seen:
                    continue
                seen.add((raw.idnum, raw.generation))
            field = _dictionary(raw)
            own = _value(field, "/FT") or kind
            if own == "/Sig" and "/V" in field:
                value = field["/V"]
                if isinstance(value, generic.DictionaryObject):
                    yield value
            if "/Kids" in field:
                stack.append((field["/Kids"], own, depth + 1))


def _followed(found: Any) -> Any:
    target: Any = found
    return target.get_object() if isinstance(found, generic.IndirectObject) else target


def _value(holder: generic.DictionaryObject, key: str) -> Any:
    """What stands under a key, followed to its end; the library's own `get` stops at a reference."""
    if key in holder:
        return holder[key]
    return None


def _dictionary(found: Any) -> generic.DictionaryObject:
    found = _followed(found)
    return found if isinstance(found, generic.DictionaryObject) else _NOTHING


def _under(holder: generic.DictionaryObject, key: str) -> generic.DictionaryObject:
    return _dictionary(_value(holder, key))


def _second_opinion(pdf: bytes, pages: int) -> None:
    """A viewer's engine sees the same pages: what people are shown is what was counted."""
    try:
        document = _PDFIUM.PdfDocument(pdf)
        try:
            seen = len(document)
        finally:
            document.close()
    except pypdfium2.PdfiumError as fault:
        raise _damaged("a viewer cannot open it") from fault
    if seen != pages:
        raise _damaged(f"a page tree of {pages} pages of which a viewer shows {seen}")


def too_large(size: int, limits: Limits) -> None:
    """Check the size.

    Raises:
        Refused: the file is larger than the limit.
    """
    if size > limits.octets:
        raise _refused(
            "pdf-too-large",
            f"a file of {size} bytes",
            f"at most {limits.octets} bytes",
            "reduce its pictures, or send the annexes as contracts of their own",
            status=413,
        )


def not_a_pdf() -> Refused:
    """The refusal of something that is no PDF at all."""
    return _refused(
        "not-a-pdf",
        "bytes that do not begin as a PDF does",
        "a PDF file (%PDF- at its very beginning)",
        "save or print the document as PDF and send that",
        status=415,
    )


def too_complex(what: str) -> Refused:
    """The refusal of a file that asks for more than reading a contract should."""
    return _refused(
        "pdf-too-complex",
        f"a PDF that cannot be read within the limits ({what})",
        "a document of ordinary structure",
        "print the document to PDF anew and send that",
    )


def _too_many(count: int, limits: Limits) -> Refused:
    return _refused(
        "pdf-too-many-pages",
        f"a PDF of {count} pages or more",
        f"at most {limits.pages} pages",
        "send the annexes as contracts of their own",
    )


def _damaged(what: str) -> Refused:
    return _refused(
        "pdf-damaged",
        f"a damaged PDF: {what}",
        "a file whose structure is sound; nothing is repaired, for a repair would change what was sent",
        "open it where it was made and save it anew, then send that",
    )


def _refused(code: str, found: str, expected: str, remedy: str, status: int = 422) -> Refused:
    return Refused(code, found=found, expected=expected, remedy=remedy, status=status)
