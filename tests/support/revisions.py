"""PDFs written by hand, revision by revision, for the tests of the verifier's own reader."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

Objects = Mapping[int, str | bytes]


def stream(data: bytes | str, extra: str = "") -> bytes:
    """A stream object's body."""
    data = data.encode("latin-1") if isinstance(data, str) else data
    return f"<< {extra} /Length {len(data)} >>\nstream\n".encode("latin-1") + data + b"\nendstream"


def packed(objects: Objects) -> bytes:
    """The body of an object stream that holds these objects."""
    header, body = [], b""
    for number, each in objects.items():
        header.append(f"{number} {len(body)}")
        body += (each.encode("latin-1") if isinstance(each, str) else each) + b"\n"
    head = (" ".join(header) + " ").encode()
    data = zlib.compress(head + body)
    extra = f"/Type /ObjStm /N {len(objects)} /First {len(head)} /Filter /FlateDecode"
    return stream(data, extra)


def classic(objects: Objects, trailer: str = "/Root 1 0 R", header: bytes = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n") -> bytes:
    """A file of one revision with a cross-reference table."""
    return _section(header, objects, (), trailer, None, first=True)


def update(
    pdf: bytes, objects: Objects, trailer: str = "/Root 1 0 R", *, free: tuple[int, ...] = (), offset: int | None = None
) -> bytes:
    """The file with one more revision. `offset` is what `startxref` says; as it is where none is given."""
    return _section(pdf, objects, free, trailer, last_xref(pdf), claimed=offset)


def streamed(pdf: bytes, objects: Objects, inside: Objects, trailer: str = "/Root 1 0 R") -> bytes:
    """The file with one more revision, or its first, whose section is a stream; `inside` go into an object stream."""
    previous = last_xref(pdf) if b"startxref" in pdf else None
    out = bytearray(pdf)
    numbers = [*objects, *inside, 1]
    pack, section = max(numbers) + 100 + len(pdf) % 7, max(numbers) + 200 + len(pdf) % 7
    entries: dict[int, tuple[int, int, int]] = {}
    for number, body in {**objects, **({pack: packed(inside)} if inside else {})}.items():
        entries[number] = (1, len(out), 0)
        out += _object(number, body)
    for index, number in enumerate(inside):
        entries[number] = (2, pack, index)
    entries[section] = (1, len(out), 0)
    start = len(out)
    rows = b"".join(
        kind.to_bytes(1, "big") + second.to_bytes(4, "big") + third.to_bytes(2, "big")
        for _, (kind, second, third) in sorted(entries.items())
    )
    index = " ".join(f"{number} 1" for number in sorted(entries))
    extra = f"/Type /XRef /W [1 4 2] /Index [{index}] /Size {section + 1} {trailer}"
    if previous is not None:
        extra += f" /Prev {previous}"
    out += _object(section, stream(zlib.compress(rows), extra + " /Filter /FlateDecode"))
    return bytes(out) + f"startxref\n{start}\n%%EOF\n".encode()


def last_xref(pdf: bytes) -> int:
    """What the last `startxref` says."""
    return int(pdf[pdf.rindex(b"startxref") + 9 :].split()[0])


def _object(number: int, body: str | bytes) -> bytes:
    body = body.encode("latin-1") if isinstance(body, str) else body
    return f"{number} 0 obj\n".encode() + body + b"\nendobj\n"


def _section(
    head: bytes,
    objects: Objects,
    free: tuple[int, ...],
    trailer: str,
    previous: int | None,
    first: bool = False,
    claimed: int | None = None,
) -> bytes:
    out = bytearray(head)
    rows: dict[int, str] = dict.fromkeys(free, "0000000000 65535 f\r\n")
    if first:
        rows[0] = "0000000000 65535 f\r\n"
    for number, body in objects.items():
        rows[number] = f"{len(out):010} 00000 n\r\n"
        out += _object(number, body)
    start = len(out)
    out += b"xref\n"
    for number in sorted(rows):
        out += f"{number} 1\n{rows[number]}".encode()
    link = "" if previous is None else f"/Prev {previous}"
    out += f"trailer\n<< /Size {max([*rows, 0]) + 1} {trailer} {link} >>\n".encode()
    return bytes(out) + f"startxref\n{start if claimed is None else claimed}\n%%EOF\n".encode()


RECT = "/Rect [10 10 110 40]"
SIGNATURE = (
    "<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /Contents <00> /ByteRange [0 1 2 3] >>"
)
DOCUMENT_STAMP = "<< /Type /DocTimeStamp /SubFilter /ETSI.RFC3161 /Contents <00> /ByteRange [0 1 2 3] >>"


def contract(permission: int | None = None, lock: str = "") -> dict[int, str | bytes]:
    """The objects of a signed contract of two pages with a form, by number."""
    restricted = ""
    if permission is not None:
        restricted = f"/Reference [<< /TransformMethod /DocMDP /TransformParams << /P {permission} /V /1.2 >> >>]"
    if lock:
        restricted = f"/Reference [<< /TransformMethod /FieldMDP /TransformParams << {lock} >> >>]"
    widget = f"/Type /Annot /Subtype /Widget /P 3 0 R {RECT}"
    look = "/Type /XObject /Subtype /Form /BBox [0 0 100 30]"
    return {
        1: "<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R /StructTreeRoot 30 0 R /Outlines 40 0 R >>",
        2: "<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 /MediaBox [0 0 595 842] >>",
        3: "<< /Type /Page /Parent 2 0 R /Contents 6 0 R "
        "/Resources << /Font << /F1 7 0 R >> /XObject << /X 17 0 R >> >> "
        "/Annots [10 0 R 12 0 R 13 0 R 15 0 R 16 0 R] >>",
        4: "<< /Type /Page /Parent 2 0 R /Contents [8 0 R 90 0 R] /Resources << /Font << /F1 7 0 R >> >> >>",
        5: "<< /Fields [10 0 R 12 0 R 13 0 R 16 0 R 21 0 R] /SigFlags 3 /DA (/F1 0 Tf) "
        "/DR << /Font << /F1 7 0 R >> >> >>",
        6: stream("BT /F1 12 Tf (Rent: 900) Tj ET /X Do"),
        7: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        8: stream("BT /F1 12 Tf (Second page) Tj ET"),
        9: "<< /Title (Contract) >>",
        10: f"<< /FT /Sig /T (first) /V 11 0 R /AP << /N 18 0 R >> {widget} >>",
        11: SIGNATURE.replace(">>", f" {restricted} >>", 1) if restricted else SIGNATURE,
        12: f"<< /FT /Tx /T (amount) /V (900) /DA (/F1 9 Tf) /AP << /N 14 0 R >> {widget} >>",
        13: f"<< /FT /Tx /T (place) /DA (/F1 9 Tf) {widget} >>",
        14: stream("(900) Tj", look),
        15: "<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI (https://example.org) >> >>",
        16: f"<< /FT /Sig /T (second) {widget} >>",
        17: stream("0 0 9 9 re f", look),
        18: stream("(Signed) Tj", look),
        # A hidden field that stands on no page.
        21: f"<< /FT /Tx /T (hidden) /V (x) /AP << /N 14 0 R >> /Type /Annot /Subtype /Widget {RECT} >>",
        30: "<< /Type /StructTreeRoot /K [31 0 R] /ParentTree 32 0 R /ParentTreeNextKey 1 >>",
        31: "<< /Type /StructElem /S /Document /P 30 0 R /Pg 3 0 R /K [0] >>",
        32: "<< /Nums [0 [31 0 R]] >>",
        40: "<< /First 41 0 R /Last 41 0 R /Count 1 >>",
        41: "<< /Title (Page one) /Parent 40 0 R /Dest [3 0 R /Fit] >>",
    }


TRAILER = "/Root 1 0 R /Info 9 0 R"


def signed(permission: int | None = None, lock: str = "") -> bytes:
    """The contract as a file of one revision."""
    return classic(contract(permission, lock), TRAILER)
