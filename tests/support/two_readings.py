"""PDFs that are two documents: one by their cross-references, another for a viewer that mends or reads otherwise."""

from __future__ import annotations

MEANT, SHOWN = "900 EUR", "9000 EUR"


def _document(first: int, text: str) -> dict[int, bytes]:
    content = f"BT /F1 24 Tf 20 50 Td ({text}) Tj ET".encode()
    return {
        1: b"<</Type/Catalog/Pages %d 0 R>>" % first,
        first: b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % (first + 1),
        first + 1: b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 300 100]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
        % (first, first + 2),
        first + 2: b"<</Length %d>>\nstream\n%b\nendstream" % (len(content), content),
    }


def made(kind: str) -> bytes:
    """One of `KINDS` or `UNSEEN`."""
    out = bytearray(b"%PDF-1.5\n")
    meant, shown = _document(10, MEANT), _document(20, SHOWN)
    rows: dict[int, int] = {}

    def put(number: int, text: bytes) -> int:
        at = len(out)
        out.extend(b"%d 0 obj\n%b\nendobj\n" % (number, text))
        return at

    put(3, b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    rows[3] = 9
    for number, text in meant.items():
        rows[number] = put(number, text)
    if kind in UNSEEN:
        if kind == "a content stream":
            put(12, shown[22])
        else:
            del rows[12]
        shown = {}
    second = {number: put(number, text) for number, text in shown.items()}
    rows |= {number: at for number, at in second.items() if number != 1}
    if kind == "by another's index":
        return _packed(out, rows, meant[1])
    lines = [b"%d 1\n%010d 00000 n\r\n" % pair for pair in sorted(rows.items())]
    more = b""
    if kind == "named twice":
        lines.append(b"1 1\n%010d 00000 n\r\n" % second[1])
    if kind == "in a hybrid's stream":
        row = b"\1" + rows[1].to_bytes(4) + b"\0"
        more = b"/XRefStm %d" % len(out)
        put(60, b"<</Type/XRef/Size 61/W[1 4 1]/Index[1 1]/Root 1 0 R/Length 6>>\nstream\n%b\nendstream" % row)
        lines[0] = b"1 1\n0000000000 00000 f\r\n"
    at = len(out)
    out += b"xref\n0 1\n0000000000 65535 f\r\n" + b"".join(lines)
    out += b"trailer\n<</Size 61/Root 1 0 R%b>>\nstartxref\n" % more
    return bytes(out) + b" " * (1_200 if kind == "far from the end" else 0) + b"%d\n%%%%EOF\n" % at


def _packed(out: bytearray, rows: dict[int, int], catalog: bytes) -> bytes:
    """The catalog lies second in an object stream, where the cross-reference names the first."""
    body = b"5 0 1 9 <</X 1>> " + catalog
    holder = len(out)
    out += b"50 0 obj\n<</Type/ObjStm/N 2/First 8/Length %d>>\nstream\n%b\nendstream\nendobj\n" % (len(body), body)
    at = len(out)
    places = {number: (1, place, 0) for number, place in rows.items()} | {50: (1, holder, 0), 60: (1, at, 0)}
    places[1] = (2, 50, 0)
    table = b"".join(
        bytes([kind]) + place.to_bytes(4) + bytes([index])
        for kind, place, index in (places.get(number, (0, 0, 0)) for number in range(61))
    )
    out += b"60 0 obj\n<</Type/XRef/Size 61/W[1 4 1]/Root 1 0 R/Length %d>>\nstream\n%b\nendstream\nendobj\n" % (
        len(table),
        table,
    )
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % at


def in_another_stream() -> bytes:
    """The page tree stands in the file as it is in use, and otherwise in an object stream that no entry leads into."""
    whole = made("a content stream")
    end = whole.rindex(b"xref\n0 1")
    out = bytearray(whole[:end])
    rows = {22: out.rindex(b"12 0 obj")}
    out[rows[22] : rows[22] + 2] = b"22"
    body = b"10 0 <</Type/Pages/Kids[21 0 R]/Count 1>>"
    for number, text in {
        21: _document(20, SHOWN)[21],
        50: b"<</Type/ObjStm/N 1/First 5/Length %d>>\nstream\n%b\nendstream" % (len(body), body),
    }.items():
        rows[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    at = len(out)
    out += whole[end:].split(b"trailer")[0]
    out += b"".join(b"%d 1\n%010d 00000 n\r\n" % pair for pair in sorted(rows.items()))
    return bytes(out) + b"trailer\n<</Size 61/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % at


UNSEEN = ("a content stream", "a content stream without an entry")
"""What a viewer shows only when it mends the file: a second definition, or one that no cross-reference names."""
KINDS = ("in a hybrid's stream", "behind it", "named twice", "far from the end", "by another's index")
