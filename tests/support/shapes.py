"""Documents of every lawful shape, drawn at random: how objects are written, found and updated, and what pages hold."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

from hypothesis import strategies as st


class Xref(StrEnum):
    """How objects are found (ISO 32000-2 clause 7.5.4 and 7.5.8)."""

    TABLE = "table"
    STREAM = "stream"
    OBJECT_STREAMS = "object-streams"
    HYBRID = "hybrid"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One document. Every field has a plain value first, towards which an example is made simpler."""

    xref: Xref
    pages: int
    depth: int
    """Nodes of the page tree between the root and the leaves."""
    inherited: bool
    """MediaBox, Resources and Rotate stand at the root of the tree."""
    rotate: int
    crop: str
    media: str
    unit: str
    annots: str
    """`none`, `direct`, `indirect` or `empty`, of the last page."""
    form: str
    """`none`, `direct`, `indirect`; its /Fields are a list of its own where that is `apart`."""
    text_field: bool
    signature_field: str
    """`none`, `empty`, `locked`, or `hidden` of no size."""
    updates: int
    outline: bool
    info: bool
    metadata: bool
    identified: bool
    separator: str
    line_end: str
    packed: bool
    """Streams are compressed."""
    split_table: bool
    row_end: str
    tail: str
    before_startxref: str
    version: str
    more_size: int
    padding: int

    def __str__(self) -> str:
        return " ".join(f"{one.name}={getattr(self, one.name)!r}" for one in fields(self))


def _one_of(*values: object) -> st.SearchStrategy:
    return st.sampled_from(values)


def shapes() -> st.SearchStrategy[Shape]:
    """Every combination."""
    return st.builds(
        Shape,
        xref=_one_of(*Xref),
        pages=st.integers(1, 5),
        depth=st.integers(0, 4),
        inherited=st.booleans(),
        rotate=_one_of(0, 90, 180, 270, -90, 450),
        crop=_one_of("", "[20 30 500 700]", "[-50 -50 900 900]", "[500 700 20 30]"),
        media=_one_of("[0 0 595 842]", "[-100 -50 495.5 791.25]", "[595 842 0 0]", "[0. 0. 612.00 +792]"),
        unit=_one_of("", "1", "2.5"),
        annots=_one_of("none", "direct", "indirect", "empty"),
        form=_one_of("none", "direct", "indirect", "apart"),
        text_field=st.booleans(),
        signature_field=_one_of("none", "empty", "locked", "hidden"),
        updates=st.integers(0, 3),
        outline=st.booleans(),
        info=st.booleans(),
        metadata=st.booleans(),
        identified=_one_of(True, False),
        separator=_one_of(" ", "\n", "\r\n", "  \t", "\r", "% (a >> comment ]\n", "\x0c\x00"),
        line_end=_one_of("\n", "\r\n", "\r"),
        packed=st.booleans(),
        split_table=st.booleans(),
        row_end=_one_of("\r\n", " \n", " \r"),
        tail=_one_of("\n", "", "\r\n", "\r", "\n\n \n"),
        before_startxref=_one_of("", "\n", "% remark\n"),
        version=_one_of("1.7", "1.4", "2.0"),
        more_size=_one_of(0, 9),
        padding=_one_of(0, 3_000),
    )


@dataclass
class Objects:
    """Objects by number: the text of each, and which of them are streams."""

    shape: Shape
    text: dict[int, bytes]
    streams: set[int]
    next: int = 1

    def number(self) -> int:
        """A number for an object to come."""
        self.next += 1
        return self.next - 1

    def put(self, entries: dict[str, str], *, at: int | None = None) -> int:
        """A dictionary, written with the shape's separator between all that may be apart."""
        at = self.number() if at is None else at
        between = self.shape.separator
        inside = "".join(f"{between}{key}{between}{value}" for key, value in entries.items())
        self.text[at] = f"<<{inside}{between}>>".encode("latin-1")
        return at

    def stream(self, data: bytes, entries: str = "", *, at: int | None = None) -> int:
        """A stream."""
        at = self.number() if at is None else at
        if self.shape.packed and "/Subtype /XML" not in entries:
            data, entries = zlib.compress(data), entries + " /Filter /FlateDecode"
        self.text[at] = b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), entries.encode(), data)
        self.streams.add(at)
        return at


def render(shape: Shape) -> bytes:
    """The document."""
    objects, trailer = _objects(shape)
    out = bytearray(f"%PDF-{shape.version}{shape.line_end}%\xe2\xe3\xcf\xd3{shape.line_end}".encode("latin-1"))
    out += b"%" + b"-" * shape.padding + b"\n"
    at = _write(out, shape, objects.text, objects, trailer, previous=None)
    contents = next(iter(sorted(objects.streams)))
    for update in range(shape.updates):
        fresh = Objects(shape, {}, set(), objects.next)
        fresh.stream(b"BT /F1 12 Tf 20 20 Td (Revision %d) Tj ET" % (update + 2), at=contents)
        if shape.info and shape.xref is not Xref.HYBRID:
            number = int(trailer["/Info"].split()[0])
            fresh.put({"/Title": f"(Revision {update + 2})"}, at=number)
        at = _write(out, shape, fresh.text, fresh, trailer, previous=at)
        objects.next = fresh.next
    return bytes(out)


def _objects(shape: Shape) -> tuple[Objects, dict[str, str]]:
    objects = Objects(shape, {}, set())
    catalog, root, font = objects.number(), objects.number(), objects.number()
    contents = objects.stream(b"BT /F1 12 Tf 20 20 Td (A contract) Tj ET")
    objects.put({"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}, at=font)
    shared = {"/MediaBox": shape.media, "/Resources": f"<</Font<</F1 {font} 0 R>>>>", "/Rotate": str(shape.rotate)}
    parents = [root, *(objects.number() for _ in range(shape.depth))]
    leaves = [objects.number() for _ in range(shape.pages)]
    # The first leaves hang from the root, the last one from the deepest node.
    for above, node in enumerate(parents):
        last = above == len(parents) - 1
        kids = [*(leaves[:-1] if above == 0 else []), leaves[-1] if last else parents[above + 1]]
        entries = {"/Type": "/Pages", "/Kids": "[" + " ".join(f"{kid} 0 R" for kid in kids) + "]"}
        entries["/Count"] = str(shape.pages if above == 0 else 1)
        if above:
            entries["/Parent"] = f"{parents[above - 1]} 0 R"
        elif shape.inherited:
            entries |= shared
        objects.put(entries, at=node)
    annotations, form = _fields(shape, objects, leaves[-1])
    for leaf in leaves:
        parent = parents[-1] if leaf == leaves[-1] else root
        entries = {"/Type": "/Page", "/Parent": f"{parent} 0 R", "/Contents": f"{contents} 0 R"}
        entries |= {} if shape.inherited else shared
        entries |= {key: value for key, value in (("/CropBox", shape.crop), ("/UserUnit", shape.unit)) if value}
        if leaf == leaves[-1] and annotations is not None:
            entries["/Annots"] = annotations
        objects.put(entries, at=leaf)
    entries = {"/Type": "/Catalog", "/Pages": f"{root} 0 R"}
    if form is not None:
        entries["/AcroForm"] = form
    if shape.outline:
        entries["/Outlines"] = f"{objects.put({'/Type': '/Outlines', '/Count': '0'})} 0 R"
    if shape.metadata:
        entries["/Metadata"] = f"{objects.stream(b'<?xpacket?>', '/Type /Metadata /Subtype /XML')} 0 R"
    objects.put(entries, at=catalog)
    trailer = {"/Root": f"{catalog} 0 R"}
    if shape.info:
        trailer["/Info"] = f"{objects.put({'/Title': '(A contract)', '/Producer': '<FEFF0041>'})} 0 R"
    if shape.identified:
        trailer["/ID"] = f"[<{'0' * 32}> <{'1' * 32}>]"
    return objects, trailer


def _fields(shape: Shape, objects: Objects, page: int) -> tuple[str | None, str | None]:
    """What the last page has under /Annots and the catalog under /AcroForm."""
    listed = []
    widget = {"/Type": "/Annot", "/Subtype": "/Widget", "/P": f"{page} 0 R"}
    if shape.form != "none" and shape.text_field:
        text = {"/FT": "/Tx", "/T": "(meter)", "/V": "(000123)", "/Rect": "[50 150 200 170]", "/F": "4"}
        listed.append(objects.put(widget | text))
    if shape.form != "none" and shape.signature_field != "none":
        field = {"/FT": "/Sig", "/T": "(buyer)", "/F": "132"}
        field["/Rect"] = "[0 0 0 0]" if shape.signature_field == "hidden" else "[60 200 260 280]"
        if shape.signature_field == "locked":
            field["/Lock"] = "<</Type/SigFieldLock/Action/Include/Fields[(meter)]>>"
        listed.append(objects.put(widget | field))
    references = "[" + " ".join(f"{one} 0 R" for one in listed) + "]"
    annotations: str | None = None
    if shape.annots != "none" or listed:
        note = {"/Type": "/Annot", "/Subtype": "/Link", "/Rect": "[10 300 40 320]", "/Border": "[0 0 0]"}
        on_page = listed + ([] if shape.annots in ("none", "empty") else [objects.put(note)])
        annotations = "[" + " ".join(f"{one} 0 R" for one in on_page) + "]"
        if shape.annots == "indirect":
            apart = objects.number()
            objects.text[apart] = annotations.encode()
            annotations = f"{apart} 0 R"
    match shape.form:
        case "none":
            return annotations, None
        case "direct":
            return annotations, f"<</Fields{references}>>"
        case "apart":
            apart = objects.number()
            objects.text[apart] = references.encode()
            references = f"{apart} 0 R"
    return annotations, f"{objects.put({'/Fields': references})} 0 R"


def _write(
    out: bytearray,
    shape: Shape,
    text: dict[int, bytes],
    objects: Objects,
    trailer: dict[str, str],
    previous: int | None,
) -> int:
    """Append a revision; where its cross-reference section begins."""
    end = shape.line_end.encode()
    places: dict[int, tuple[int, int, int]] = {}
    hidden: dict[int, bytes] = {}
    if previous is None:
        places[0] = (0, 0, 65535)
        match shape.xref:
            case Xref.OBJECT_STREAMS:
                hidden = {number: one for number, one in text.items() if number not in objects.streams}
            case Xref.HYBRID:
                # Only what a reader of PDF 1.4 can do without may be hidden from it.
                optional = [trailer[key] for key in ("/Info",) if key in trailer]
                hidden = {number: text[number] for number in (int(one.split()[0]) for one in optional)}
    for number, one in sorted(text.items()):
        if number not in hidden:
            places[number] = (1, len(out), 0)
            out += b"%d 0 obj%b%b%bendobj%b" % (number, end, one, end, end)
    if hidden:
        holder = objects.number()
        head, body = b"", b""
        for at, (number, one) in enumerate(sorted(hidden.items())):
            head += b"%d %d " % (number, len(body))
            body += one + b"\n"
            places[number] = (2, holder, at)
        entries = f"/Type /ObjStm /N {len(hidden)} /First {len(head)}"
        objects.stream(head + body, entries, at=holder)
        places[holder] = (1, len(out), 0)
        out += b"%d 0 obj%b%b%bendobj%b" % (holder, end, objects.text[holder], end, end)
    said = dict(trailer) | ({"/Prev": str(previous)} if previous is not None else {})
    if shape.xref in (Xref.STREAM, Xref.OBJECT_STREAMS):
        at = _xref_stream(out, shape, objects, places, said)
    else:
        if hidden:
            concealed = {number: place for number, place in places.items() if place[0] == 2}
            said["/XRefStm"] = str(_xref_stream(out, shape, objects, concealed, {}, own=False))
        at = _xref_table(out, shape, objects, places, said)
    out += shape.before_startxref.encode() + b"startxref%b%d%b%%%%EOF%b" % (end, at, end, shape.tail.encode())
    if not shape.tail:
        # A revision that follows begins on a line of its own.
        return at
    return at


def _xref_stream(
    out: bytearray,
    shape: Shape,
    objects: Objects,
    places: dict[int, tuple[int, int, int]],
    said: dict[str, str],
    *,
    own: bool = True,
) -> int:
    number, at = objects.number(), len(out)
    places = places | ({number: (1, at, 0)} if own else {})
    rows = b"".join(
        kind.to_bytes(1) + second.to_bytes(4) + third.to_bytes(2) for _, (kind, second, third) in sorted(places.items())
    )
    index = " ".join(f"{first} {count}" for first, count in _runs(sorted(places)))
    entries = f"/Type /XRef /Size {objects.next + shape.more_size} /W [1 4 2] /Index [{index}] "
    entries += " ".join(f"{key} {value}" for key, value in said.items())
    objects.stream(rows, entries, at=number)
    out += b"%d 0 obj\n%b\nendobj\n" % (number, objects.text[number])
    return at


def _xref_table(
    out: bytearray, shape: Shape, objects: Objects, places: dict[int, tuple[int, int, int]], said: dict[str, str]
) -> int:
    at, numbers = len(out), dict(places)
    for number in range(objects.next):
        if 0 in places and not shape.split_table and (number not in places or places[number][0] == 2):
            numbers[number] = (0, 0, 0)
    in_table = sorted(number for number in numbers if number == 0 or numbers[number][0] != 2)
    out += b"xref\n"
    for first, count in _runs(in_table):
        out += f"{first} {count}\n".encode()
        for number in range(first, first + count):
            kind, where, generation = numbers[number]
            out += f"{where:010} {generation:05} {'n' if kind == 1 else 'f'}{shape.row_end}".encode()
    inside = shape.separator.join(f"{key} {value}" for key, value in said.items())
    out += f"trailer\n<</Size {objects.next + shape.more_size} {inside}>>\n".encode("latin-1")
    return at


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = before = numbers[0]
    for number in numbers[1:]:
        if number != before + 1:
            yield first, before - first + 1
            first = number
        before = number
    yield first, before - first + 1
