"""The interactive form, spliced: a signature field found or made, and what certifications and locks ask for."""

from __future__ import annotations

import re
from itertools import count

from services.signer.adapters.fast.pages import Leaf, permission
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.revision import Revision
from services.signer.adapters.fast.syntax import (
    NOTHING,
    Declined,
    Dictionary,
    Ref,
    appended,
    integer,
    name_of,
    reference,
    text_string,
)

MOST_FIELDS = 2_000
NOWHERE = (0.0, 0.0, 0.0, 0.0)


class Catalog:
    """The catalog while a revision is written: read once, spliced in memory, put once."""

    __slots__ = ("changed", "content", "file", "ref")

    def __init__(self, file: File, ref: Ref, content: Dictionary) -> None:
        self.file = file
        self.ref = ref
        self.content = content
        self.changed = False

    @classmethod
    def of(cls, file: File) -> Catalog:
        """The file's catalog.

        Raises:
            Declined: it cannot be read.
        """
        root = file.root
        return cls(file, root, file.read(root))

    def put(self, key: bytes, value: bytes) -> None:
        """Change or add an entry."""
        self.content = self.content.put({key: value})
        self.changed = True

    def write(self, revision: Revision) -> None:
        """Put the catalog into the revision if it was changed."""
        if self.changed:
            revision.put(self.ref, self.content)
            self.changed = False


class Form:
    """The interactive form: its dictionary, and the names of the fields at its top."""

    __slots__ = ("content", "fields", "names")

    def __init__(self, content: Dictionary) -> None:
        self.content = content
        self.fields: list[Ref] = []
        self.names: dict[str, Ref] = {}

    @classmethod
    def of(cls, catalog: Catalog) -> Form:
        """The catalog's form; an empty one where there is none.

        Raises:
            Declined: an XFA form, or fields that cannot be listed.
        """
        file = catalog.file
        content = file.dictionary(catalog.content.get(b"/AcroForm")) or NOTHING
        if b"/XFA" in content.spans:
            raise Declined("an XFA form")
        form = cls(content)
        listed = file.array(content.get(b"/Fields"))
        if len(listed) > MOST_FIELDS:
            raise Declined("too many form fields")
        for item in listed:
            ref = reference(item)
            if ref is None:
                raise Declined("a form field that is no object of its own")
            told = file.read(ref).get(b"/T")
            if told is None:
                raise Declined("a form field without a name")
            name = name_of(file.follow(told) or b"")
            if name in form.names:
                raise Declined("two form fields of one name")
            form.fields.append(ref)
            form.names[name] = ref
        return form

    def unused(self, stem: str) -> str:
        """The first of `stem-1`, `stem-2` ... that no field has."""
        return next(name for n in count(1) if (name := f"{stem}-{n}") not in self.names)

    def add(self, name: str, ref: Ref) -> None:
        """List a new field."""
        self.fields.append(ref)
        self.names[name] = ref


def may_be_signed(catalog: Catalog, *, certify: bool) -> None:
    """Look for what a signature must not pass over; the other writer has the words for it.

    Raises:
        Declined: usage rights, a certification that allows nothing, one that is to be made though there is one.
    """
    file = catalog.file
    permissions = file.dictionary(catalog.content.get(b"/Perms"))
    if permissions is None or not permissions.spans:
        return
    if certify or set(permissions.spans) != {b"/DocMDP"}:
        raise Declined("permissions of an unknown kind")
    certification = file.dictionary(permissions.get(b"/DocMDP"))
    for item in file.array(certification.get(b"/Reference")) if certification is not None else []:
        said = file.dictionary(item)
        parameters = file.dictionary(said.get(b"/TransformParams")) if said is not None else None
        if permission(parameters.get(b"/P") if parameters is not None else None) == 1:
            raise Declined("certified without changes")


_PDFA_1 = re.compile(rb"pdfaid:part(?:[\t\n\r ]*=[\t\n\r ]*[\"']|>)[\t\n\r ]*1[\t\n\r ]*[\"'<]")


def claims_pdfa_1(catalog: Catalog) -> bool:
    """Whether the metadata claim PDF/A-1 (ISO 19005-1 clause 6.7.11).

    It asks of each field an appearance and of each subset of a font a CIDSet (clauses 6.9, 6.3.5), which later parts
    and PDF 2.0 do not want. Its metadata have no filter (clause 6.7.2).
    """
    ref = reference(catalog.content.get(b"/Metadata"))
    try:
        return ref is not None and _PDFA_1.search(catalog.file.unfiltered(ref)) is not None
    except Declined:
        return False


def no_appearance(revision: Revision, catalog: Catalog) -> Ref | None:
    """What a field shows that nobody sees: an empty form XObject where there has to be one."""
    if not claims_pdfa_1(catalog):
        return None
    return revision.add(b"<< /Type /XObject /Subtype /Form /BBox [0 0 0 0] /Length 0 >>\nstream\n\nendstream")


def widget(name: str, value: Ref, page: Leaf, rect: tuple[float, ...], appearance: Ref | None) -> bytes:
    """A signature field that is its own widget.

    Flags are Print and Locked: PDF/A wants the one, nobody should move the other (ISO 19005-3 clause 6.3.2).
    """
    box = b" ".join(b"%.3f" % side for side in rect) if rect != NOWHERE else b"0 0 0 0"
    shown = b" /AP << /N %b >>" % bytes(appearance) if appearance is not None else b""
    return b"<< /FT /Sig /T %b /Type /Annot /Subtype /Widget /F 132 /Rect [%b] /P %b /V %b%b >>" % (
        text_string(name),
        box,
        bytes(page.ref),
        bytes(value),
        shown,
    )


def place_field(revision: Revision, catalog: Catalog, form: Form, page: Leaf, name: str, field: Ref) -> None:
    """List a new field in the form and on its page.

    Raises:
        Declined: lists of another form.
    """
    form.add(name, field)
    _extend(revision, page.ref, page.content, b"/Annots", field)
    listed = form.content.get(b"/Fields")
    ref = reference(listed)
    entries = _flags(form)
    if ref is not None:
        if ref != reference(page.content.get(b"/Annots")):  # one list may serve as both, and has the field by now
            revision.put(ref, appended(revision.file.value(ref), bytes(field)))
    else:
        entries[b"/Fields"] = appended(listed, bytes(field)) if listed is not None else b"[%b]" % bytes(field)
    _put_form(revision, catalog, form, entries)


def flag_signatures(revision: Revision, catalog: Catalog, form: Form) -> None:
    """Say in the form that there are signatures and that only additions are allowed (ISO 32000-2 table 225)."""
    _put_form(revision, catalog, form, _flags(form))


def _flags(form: Form) -> dict[bytes, bytes]:
    text = form.content.get(b"/SigFlags")
    flags = integer(text) if text is not None else 0
    if flags is None:
        raise Declined("signature flags that are no integer")
    return {b"/SigFlags": b"%d" % (flags | 3)} if flags | 3 != flags else {}


def _put_form(revision: Revision, catalog: Catalog, form: Form, entries: dict[bytes, bytes]) -> None:
    if not entries:
        return
    form.content = form.content.put(entries)
    held = catalog.content.get(b"/AcroForm")
    ref = reference(held)
    if ref is not None:
        revision.put(ref, form.content)
    elif held is not None:
        catalog.put(b"/AcroForm", form.content.text)
    else:
        catalog.put(b"/AcroForm", bytes(revision.add(form.content)))


def _extend(revision: Revision, holder: Ref, content: Dictionary, key: bytes, item: Ref) -> None:
    listed = content.get(key)
    ref = reference(listed)
    if ref is not None:
        revision.put(ref, appended(revision.file.value(ref), bytes(item)))
    else:
        grown = appended(listed, bytes(item)) if listed is not None else b"[%b]" % bytes(item)
        revision.put(holder, content.put({key: grown}))


def references(file: File, catalog: Ref, certify: int | None, lock: Dictionary | None) -> bytes:
    """The signature references of a certification and of a field's lock (ISO 32000-2 clauses 12.8.2.2, 12.8.2.4).

    Raises:
        Declined: a lock of an unknown kind.
    """
    found = b""
    if certify is not None:
        found += (
            b"<< /Type /SigRef /TransformMethod /DocMDP /TransformParams"
            b" << /Type /TransformParams /V /1.2 /P %d >> >>" % certify
        )
    if lock is not None:
        action = lock.get(b"/Action")
        names = lock.get(b"/Fields")
        if action not in (b"/All", b"/Include", b"/Exclude") or (action == b"/All") == (names is not None):
            raise Declined("a lock of an unknown kind")
        said = b"/Action %b" % action
        if names is not None:
            said += b" /Fields [%b]" % b" ".join(text_string(name_of(file.follow(n) or b"")) for n in file.array(names))
        if lock.get(b"/P") is not None:
            # Where a lock also restricts the document, its P goes along (ISO 32000-2 table 237), as Acrobat writes it.
            said += b" /P %d" % permission(lock.get(b"/P"))
        found += (
            b"<< /Type /SigRef /TransformMethod /FieldMDP /Data %b /TransformParams"
            b" << /Type /TransformParams /V /1.2 %b >> >>" % (bytes(catalog), said)
        )
    return b" /Reference [%b]" % found if found else b""
