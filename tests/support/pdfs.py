"""PDFs of many producers for every test: those that must work, and those that must be refused, each with its code."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

VIETNAMESE = "Hợp đồng mua bán điện: bên mua chuyển giao, bên nhận chuyển giao, bên bán điện"
HUGE = 32 * 1024 * 1024 + 1
"""One octet more than the default limit of an upload."""


@cache
def good() -> dict[str, bytes]:
    """PDFs that must be accepted, signed and verified, by a name that says what is special about each."""
    return {name: make() for name, make in _GOOD.items()}


@cache
def bad() -> dict[str, tuple[bytes, str]]:
    """PDFs, and things that are none, that must be refused: the bytes and the code of the refusal."""
    return {name: (make(), code) for name, (make, code) in _BAD.items()}


@cache
def minimal(text: str = "A contract") -> bytes:
    """The smallest classic PDF: one page, one font, a cross-reference table."""
    return assemble(pages=[{}], text=text)


def assemble(
    pages: list[dict[str, str]],
    *,
    text: str = "A contract",
    pages_extra: str = "",
    catalog_extra: str = "",
    more: dict[int, str] | None = None,
    version: str = "1.4",
) -> bytes:
    """A classic PDF from dictionaries written by hand; `more` are further objects by number."""
    count = len(pages)
    first = 10
    stream = f"BT /F1 12 Tf 20 20 Td ({text}) Tj ET"
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog_extra} >>",
        2: f"<< /Type /Pages /Count {count} /Kids [{' '.join(f'{first + i} 0 R' for i in range(count))}] "
        f"{pages_extra} >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        4: f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        **(more or {}),
    }
    for index, page in enumerate(pages):
        entries = {"/MediaBox": "[0 0 595 842]", "/Contents": "4 0 R", "/Resources": "<< /Font << /F1 3 0 R >> >>"}
        if "/MediaBox" in pages_extra:
            del entries["/MediaBox"]
        entries.update(page)
        inside = " ".join(f"{key} {value}" for key, value in entries.items() if value)
        objects[first + index] = f"<< /Type /Page /Parent 2 0 R {inside} >>"
    return _classic(objects, version)


def _classic(objects: dict[int, str], version: str = "1.4") -> bytes:
    out = bytearray(f"%PDF-{version}\n%\xe2\xe3\xcf\xd3\n".encode("latin-1"))
    offsets: dict[int, int] = {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(out)
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += _table(offsets)
    out += f"trailer\n<< /Size {max(objects) + 1} /Root 1 0 R /ID [<{'0' * 32}> <{'0' * 32}>] >>\n".encode()
    out += f"startxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _table(offsets: dict[int, int], *, hidden: tuple[int, ...] = ()) -> bytes:
    free = sorted(set(range(1, max(offsets) + 1)) - set(offsets) | set(hidden))
    chain = dict(zip([0, *free], [*free, 0], strict=True))
    lines = [f"xref\n0 {max(offsets) + 1}\n"]
    for number in range(max(offsets) + 1):
        if number in chain:
            lines.append(f"{chain[number]:010} {65535 if number == 0 else 0:05} f\r\n")
        else:
            lines.append(f"{offsets[number]:010} 00000 n\r\n")
    return "".join(lines).encode()


# --- good ----------------------------------------------------------------------------------------------------------


@cache
def typst_pdfa() -> bytes:
    """PDF/A-3b of Typst: object streams, tagged, embedded fonts."""
    import typst

    source = f"#set document(title: [Contract], date: datetime(year: 2026, month: 11, day: 24))\n= {VIETNAMESE}\n"
    return typst.compile((source + "#lorem(900)").encode(), pdf_standards=["a-3b"], ignore_system_fonts=True)


def _reportlab() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595.27, 841.89), invariant=1)
    for page in range(2):
        canvas.drawString(72, 720, f"Contract, page {page + 1}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _acroform() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)
    canvas.drawString(72, 720, "A form to fill in")
    canvas.acroForm.textfield(name="meter", x=72, y=600, width=200, height=20, value="000123", relative=False)
    canvas.acroForm.checkbox(name="debts-cleared", x=72, y=560, checked=True)
    canvas.acroForm.choice(name="voltage", x=72, y=500, options=["220", "380"], value="220", width=80, height=20)
    canvas.save()
    return out.getvalue()


def _empty_signature_field() -> bytes:
    more = {
        5: "<< /FT /Sig /T (Seller) /Type /Annot /Subtype /Widget /Rect [50 50 200 100] /P 10 0 R /F 132 >>",
        6: "<< /Fields [5 0 R] /SigFlags 1 >>",
    }
    return assemble([{"/Annots": "[5 0 R]"}], catalog_extra="/AcroForm 6 0 R", more=more)


def _fpdf2() -> bytes:
    from fpdf import FPDF

    pdf = FPDF()
    pdf.set_creation_date(datetime(2026, 11, 24, tzinfo=UTC))
    pdf.add_page()
    pdf.set_font("Helvetica", size=14)
    pdf.cell(text="A contract of fpdf2")
    pdf.add_page(orientation="landscape")
    return bytes(pdf.output())


def _saved_by_qpdf(source: bytes, **how: Any) -> bytes:
    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(source)) as pdf:
        pdf.save(out, deterministic_id="encryption" not in how, **how)
    return out.getvalue()


def _object_streams() -> bytes:
    import pikepdf

    return _saved_by_qpdf(_reportlab(), object_stream_mode=pikepdf.ObjectStreamMode.generate)


def _linearised() -> bytes:
    return _saved_by_qpdf(_reportlab(), linearize=True)


def _linearised_object_streams() -> bytes:
    import pikepdf

    return _saved_by_qpdf(typst_pdfa(), linearize=True, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def _pdfium() -> bytes:
    import pypdfium2

    document = pypdfium2.PdfDocument.new()
    document.new_page(595, 842)
    document.new_page(842, 595)
    out = io.BytesIO()
    document.save(out)
    document.close()
    return out.getvalue()


def _pypdf() -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_reportlab())))
    writer.pages[0].rotate(90)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _rotated() -> bytes:
    return assemble([{"/Rotate": "0"}, {"/Rotate": "90"}, {"/Rotate": "180"}, {"/Rotate": "270"}, {"/Rotate": "-90"}])


def _rotation_inherited() -> bytes:
    return assemble([{}, {"/Rotate": "0"}], pages_extra="/Rotate 270 /MediaBox [0 0 612 792]")


def _odd_sizes() -> bytes:
    return assemble(
        [
            {"/MediaBox": "[0 0 241 153]"},
            {"/MediaBox": "[0 0 2383.94 3370.39]"},
            {"/MediaBox": "[-100 -50 495.5 791.25]"},
            {"/MediaBox": "[595 842 0 0]"},
            {"/MediaBox": "[0 0 800 1000]", "/CropBox": "[100 120 700 900]"},
            {"/MediaBox": "[0 0 800 1000]", "/CropBox": "[100 120 700 900]", "/Rotate": "90"},
            {"/MediaBox": "[0 0 300 400]", "/UserUnit": "2"},
        ],
        version="1.6",
    )


def _two_hundred_pages() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, invariant=1, pageCompression=1)
    for page in range(200):
        for line in range(40):
            canvas.drawString(72, 780 - 18 * line, f"Clause {page + 1}.{line + 1}: what was agreed stays agreed.")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _nested_page_tree() -> bytes:
    more = {
        5: "<< /Type /Pages /Parent 2 0 R /Count 2 /Kids [30 0 R 31 0 R] /Rotate 90 >>",
        30: "<< /Type /Page /Parent 5 0 R /Resources << >> >>",
        31: "<< /Type /Page /Parent 5 0 R /Resources << >> /Rotate 0 >>",
        2: "<< /Type /Pages /Count 3 /Kids [10 0 R 5 0 R] /MediaBox [0 0 595 842] >>",
    }
    return assemble([{}], more=more)


def _updated_twice() -> bytes:
    """Three revisions, the later two added at the end as editors do."""
    out = bytearray(minimal())
    for revision in range(2):
        previous = int(out.split(b"startxref\n")[-1].split(b"\n")[0])
        text = f"BT /F1 12 Tf 20 20 Td (Revision {revision + 2}) Tj ET"
        start = len(out)
        out += f"4 0 obj\n<< /Length {len(text)} >>\nstream\n{text}\nendstream\nendobj\n".encode()
        table = len(out)
        out += f"xref\n4 1\n{start:010} 00000 n\r\n".encode()
        out += (
            f"trailer\n<< /Size 11 /Root 1 0 R /Prev {previous} /ID [<{'0' * 32}> <{'1' * 32}>] >>\n"
            f"startxref\n{table}\n%%EOF\n"
        ).encode()
    return bytes(out)


def _xref_stream(*, predictor: bool = False) -> bytes:
    """A cross-reference stream without object streams, with or without a PNG predictor."""
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> >>",
    }
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    rows = [b"\x00\x00\x00\x00\xff\xff"]
    for number, body in objects.items():
        rows.append(b"\x01" + len(out).to_bytes(3, "big") + b"\x00\x00")
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(out)
    rows.append(b"\x01" + start.to_bytes(3, "big") + b"\x00\x00")
    above = bytes(6)
    plain = bytearray()
    for row in rows:
        plain += b"\x02" + bytes((a - b) % 256 for a, b in zip(row, above, strict=True)) if predictor else row
        above = row
    data = zlib.compress(bytes(plain))
    decode = "/DecodeParms << /Predictor 12 /Columns 6 >> " if predictor else ""
    out += (
        f"4 0 obj\n<< /Type /XRef /Size 5 /W [1 3 2] /Root 1 0 R /Filter /FlateDecode {decode}"
        f"/Length {len(data)} /ID [<{'0' * 32}> <{'0' * 32}>] >>\nstream\n"
    ).encode()
    out += data + f"\nendstream\nendobj\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _hybrid() -> bytes:
    """ISO 32000-1 clause 7.5.8.4: a table for old readers, and a stream that shows what it hides from them."""
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R /PageLabels 5 0 R >>",
        2: "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> >>",
    }
    offsets: dict[int, int] = {}
    for number, body in objects.items():
        offsets[number] = len(out)
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    inside = b"<< /Nums [0 << /S /D >>] >>"
    packed = b"5 0 " + inside
    offsets[4] = len(out)
    out += f"4 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Length {len(packed)} >>\nstream\n".encode()
    out += packed + b"\nendstream\nendobj\n"
    offsets[6] = len(out)
    row = b"\x02" + (4).to_bytes(3, "big") + b"\x00"
    out += f"6 0 obj\n<< /Type /XRef /Size 7 /W [1 3 1] /Index [5 1] /Length {len(row)} >>\nstream\n".encode()
    out += row + b"\nendstream\nendobj\n"
    start = len(out)
    out += _table(offsets)
    out += (
        f"trailer\n<< /Size 7 /Root 1 0 R /XRefStm {offsets[6]} /ID [<{'0' * 32}> <{'0' * 32}>] >>\n"
        f"startxref\n{start}\n%%EOF\n"
    ).encode()
    return bytes(out)


def _with_picture() -> bytes:
    from PIL import Image
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    picture = Image.effect_noise((900, 900), 60).convert("RGB")
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)
    canvas.drawImage(ImageReader(picture), 50, 200, 400, 400)
    canvas.save()
    return out.getvalue()


def _trailing_whitespace() -> bytes:
    return minimal() + b"\r\n\r\n  \x00\x00"


_GOOD: dict[str, Callable[[], bytes]] = {
    "typst-pdfa": typst_pdfa,
    "reportlab": _reportlab,
    "reportlab-acroform": _acroform,
    "empty-signature-field": _empty_signature_field,
    "fpdf2": _fpdf2,
    "qpdf-object-streams": _object_streams,
    "qpdf-linearised": _linearised,
    "qpdf-linearised-object-streams": _linearised_object_streams,
    "pdfium": _pdfium,
    "pypdf-rotated": _pypdf,
    "by-hand": minimal,
    "rotated": _rotated,
    "rotation-inherited": _rotation_inherited,
    "odd-sizes": _odd_sizes,
    "two-hundred-pages": _two_hundred_pages,
    "nested-page-tree": _nested_page_tree,
    "updated-twice": _updated_twice,
    "xref-stream": _xref_stream,
    "xref-stream-predictor": lambda: _xref_stream(predictor=True),
    "hybrid": _hybrid,
    "with-picture": _with_picture,
    "trailing-whitespace": _trailing_whitespace,
}


# --- bad -----------------------------------------------------------------------------------------------------------


def _encrypted(user: str) -> bytes:
    import pikepdf

    return _saved_by_qpdf(minimal(), encryption=pikepdf.Encryption(owner="owner", user=user, R=6))


def _encrypted_rc4() -> bytes:
    import pikepdf

    return _saved_by_qpdf(
        minimal(),
        encryption=pikepdf.Encryption(owner="owner", user="", R=3, aes=False, metadata=False),
    )


def _xfa() -> bytes:
    xml = "<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'/>"
    more = {
        5: f"<< /Length {len(xml)} >>\nstream\n{xml}\nendstream",
        6: "<< /Fields [] /XFA 5 0 R >>",
    }
    return assemble([{}], catalog_extra="/AcroForm 6 0 R", more=more)


def _wrong_startxref() -> bytes:
    data = minimal()
    start = data.rindex(b"startxref\n")
    return data[:start] + b"startxref\n17\n%%EOF\n"


def _wrong_offsets() -> bytes:
    """A byte too many at the front of the body, as a careless text editor leaves it."""
    data = minimal()
    body = data.index(b"1 0 obj")
    return data[:body] + b"% edited by hand\n" + data[body:]


def _one_wrong_offset() -> bytes:
    data = minimal()
    at = data.index(b"3 0 obj")
    return data.replace(f"{at:010} 00000 n".encode(), f"{at + 7:010} 00000 n".encode())


def _cut_stream() -> bytes:
    """The compressed objects of an otherwise sound file are garbage."""
    data = bytearray(_object_streams())
    at = data.index(b"/ObjStm")
    begin = data.index(b"stream\n", at) + 7
    data[begin : begin + 24] = b"\x00" * 24
    return bytes(data)


def _xref_bomb() -> bytes:
    """A cross-reference stream of 2^31 entries of no octets: a few hundred bytes that never end."""
    out = bytearray(b"%PDF-1.5\n")
    out += (
        b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Count 0 /Kids [] >>\nendobj\n"
    )
    start = len(out)
    out += (
        b"3 0 obj\n<< /Type /XRef /W [0 0 0] /Size 2147483648 /Root 1 0 R /Length 0 >>\nstream\n\nendstream\nendobj\n"
    )
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def _object_stream_bomb() -> bytes:
    """A gigabyte of blanks in a megabyte, where the catalog should be."""
    packer = zlib.compressobj(9)
    packed = packer.compress(b"1 0 ")
    blank = b" " * (1 << 20)
    for _ in range(1024):
        packed += packer.compress(blank)
    packed += packer.compress(b"<< /Type /Catalog /Pages 2 0 R >>") + packer.flush()
    out = bytearray(b"%PDF-1.5\n")
    where = len(out)
    out += f"3 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode()
    out += packed + b"\nendstream\nendobj\n"
    start = len(out)
    rows = b"".join(
        kind.to_bytes(1, "big") + place.to_bytes(4, "big") + index.to_bytes(2, "big")
        for kind, place, index in ((0, 0, 65535), (2, 3, 0), (0, 0, 0), (1, where, 0), (1, start, 0))
    )
    out += f"4 0 obj\n<< /Type /XRef /Size 5 /W [1 4 2] /Root 1 0 R /Length {len(rows)} >>\nstream\n".encode()
    out += rows + f"\nendstream\nendobj\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _page_tree_loop() -> bytes:
    return assemble([{}], more={2: "<< /Type /Pages /Count 1 /Kids [2 0 R] /MediaBox [0 0 595 842] >>"})


def _nested_arrays() -> bytes:
    return assemble([{}], catalog_extra="/Deep " + "[" * 20000 + "]" * 20000)


def _too_many_pages() -> bytes:
    return assemble([{}] * 2001)


def _signed(certify_without_changes: bool = False) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Nobody in particular")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3650))
        .add_extension(
            x509.KeyUsage(True, True, False, False, False, False, False, False, False),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    box = certificate.public_bytes(serialization.Encoding.DER)
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    from asn1crypto import keys as asn1_keys
    from asn1crypto import x509 as asn1_x509
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    signer = signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(box),
        signing_key=asn1_keys.PrivateKeyInfo.load(plain),
        cert_registry=SimpleCertificateStore(),
    )
    meta = signers.PdfSignatureMetadata(
        field_name="Outside",
        certify=certify_without_changes,
        docmdp_permissions=fields.MDPPerm.NO_CHANGES if certify_without_changes else fields.MDPPerm.FILL_FORMS,
    )
    out = io.BytesIO()
    signers.sign_pdf(IncrementalPdfFileWriter(io.BytesIO(minimal())), meta, signer=signer, output=out)
    return out.getvalue()


@cache
def signed_elsewhere() -> bytes:
    """A sound PDF that somebody signed before it came here."""
    return _signed()


_BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not-a-pdf"),
    "text": (lambda: VIETNAMESE.encode(), "not-a-pdf"),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(2000), "not-a-pdf"),
    "word": (lambda: b"PK\x03\x04" + bytes(2000), "not-a-pdf"),
    "only-a-header": (lambda: b"%PDF-1.7\n", "pdf-truncated"),
    "half": (lambda: _reportlab()[: len(_reportlab()) // 2], "pdf-truncated"),
    "tail-cut-off": (lambda: _reportlab()[:-10], "pdf-truncated"),
    "bytes-before": (lambda: b"Content-Type: application/pdf\r\n\r\n" + minimal(), "pdf-damaged"),
    "bytes-after": (lambda: minimal() + b"<script>alert(1)</script>", "pdf-damaged"),
    "wrong-startxref": (_wrong_startxref, "pdf-damaged"),
    "wrong-offsets": (_wrong_offsets, "pdf-damaged"),
    "one-wrong-offset": (_one_wrong_offset, "pdf-damaged"),
    "garbled-object-stream": (_cut_stream, "pdf-damaged"),
    "page-tree-loop": (_page_tree_loop, "pdf-damaged"),
    "no-pages": (lambda: assemble([]), "pdf-no-pages"),
    "too-many-pages": (_too_many_pages, "pdf-too-many-pages"),
    "page-without-size": (lambda: assemble([{"/MediaBox": "[0 0 0 0]"}]), "pdf-page-size"),
    "page-too-large": (lambda: assemble([{"/MediaBox": "[0 0 99999 842]"}]), "pdf-page-size"),
    "encrypted": (lambda: _encrypted("user"), "pdf-encrypted"),
    "encrypted-for-its-owner": (lambda: _encrypted(""), "pdf-encrypted"),
    "encrypted-rc4": (_encrypted_rc4, "pdf-encrypted"),
    "xfa": (_xfa, "pdf-xfa"),
    "signed-elsewhere": (signed_elsewhere, "pdf-signed"),
    "certified-without-changes": (lambda: _signed(certify_without_changes=True), "pdf-no-changes-allowed"),
    "xref-bomb": (_xref_bomb, "pdf-too-complex"),
    "object-stream-bomb": (_object_stream_bomb, "pdf-too-complex"),
    "nested-arrays": (_nested_arrays, "pdf-too-complex"),
    "huge": (lambda: minimal().ljust(HUGE), "pdf-too-large"),
}
