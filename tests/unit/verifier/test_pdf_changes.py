"""What may follow a signature and what may not, each with the attack or the clause that it stands for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from revisions import (
    DOCUMENT_STAMP,
    RECT,
    SIGNATURE,
    TRAILER,
    classic,
    contract,
    packed,
    signed,
    stream,
    streamed,
    update,
)

from services.verifier.catalogue import CHANGES
from services.verifier.pdf import changes
from services.verifier.pdf.document import Document

BASE = contract()
LOOK = "/Type /XObject /Subtype /Form /BBox [0 0 100 30]"
WIDGET = f"/Type /Annot /Subtype /Widget /P 3 0 R {RECT}"


def with_(number: int, old: str, new: str) -> dict[int, str]:
    """One object of the contract with a piece of its text replaced."""
    body = BASE[number]
    assert isinstance(body, str)
    assert old in body
    return {number: body.replace(old, new)}


def after(pdf: bytes) -> changes.Comparison:
    """What came after the signature of the first revision, which is read from that revision alone."""
    alone = Document.open(pdf[: pdf.index(b"%%EOF") + 6])
    first = next(one for one in alone.signatures if one.name == "first")
    document = Document.open(pdf)
    assert not document.tolerant, document.complaints
    return changes.after(document, first)


def told(found: changes.Comparison) -> set[tuple[str, int | None, bool]]:
    return {(one.what, one.page, one.allowed) for one in found.changes}


SIGNED_SECOND = {**with_(16, "/T (second)", "/T (second) /V 50 0 R"), 50: SIGNATURE}
NEW_FIELD = {
    **with_(5, "21 0 R]", "21 0 R 51 0 R]"),
    **with_(3, "16 0 R]", "16 0 R 51 0 R]"),
    51: f"<< /FT /Sig /T (third) /V 50 0 R /AP << /N 52 0 R >> {WIDGET} >>",
    50: SIGNATURE,
    52: stream("(Seen) Tj", LOOK),
}
STAMPED = {
    **with_(5, "21 0 R]", "21 0 R 51 0 R]"),
    51: "<< /FT /Sig /T (stamp) /V 50 0 R /Type /Annot /Subtype /Widget /Rect [0 0 0 0] >>",
    50: DOCUMENT_STAMP,
}
STORED = {
    **with_(
        1, "/Outlines", "/DSS << /Certs [60 0 R] /VRI << /AB << /Cert [60 0 R] >> >> >> /Extensions << >> /Outlines"
    ),
    60: stream("certificate"),
}
FILLED = {
    13: f"<< /FT /Tx /T (place) /V (Hue) /DA (/F1 9 Tf) /AP << /N 53 0 R >> {WIDGET} >>",
    53: stream("(Hue) Tj", LOOK),
}
NOTE = {
    **with_(3, "16 0 R]", "16 0 R 54 0 R]"),
    54: "<< /Type /Annot /Subtype /FreeText /Rect [0 0 500 500] /Contents (900) >>",
}

ALWAYS, FORM, ANNOTATION, CERTIFIED, NEVER = {None, 1, 2, 3}, {None, 2, 3}, {3}, {2, 3}, set()


@pytest.mark.parametrize(
    ("objects", "what", "page", "allowed"),
    [
        pytest.param(SIGNED_SECOND, "signature-added", 1, FORM, id="an empty signature field is signed"),
        pytest.param(NEW_FIELD, "signature-added", 1, FORM, id="a new signature field with its appearance"),
        pytest.param(STAMPED, "document-timestamp-added", None, ALWAYS, id="a document timestamp"),
        pytest.param(STORED, "validation-data-added", None, ALWAYS, id="validation data"),
        pytest.param({9: "<< /Title (Other) /ModDate (D:2026) >>"}, "metadata", None, ALWAYS, id="Info"),
        pytest.param(FILLED, "form-field-filled", 1, FORM, id="an empty text field is filled"),
        pytest.param(
            {
                **with_(5, "21 0 R]", "21 0 R 51 0 R]"),
                51: "<< /FT /Sig /T (third) /Type /Annot /Subtype /Widget /Rect [0 0 0 0] >>",
            },
            "signature-field-added",
            None,
            FORM,
            id="an empty signature field is added",
        ),
        pytest.param(NOTE, "annotation-added", 1, ANNOTATION, id="EAA: an annotation covers the page"),
        pytest.param(
            with_(15, "example.org", "example.com"), "annotation-changed", 1, ANNOTATION, id="a link leads elsewhere"
        ),
        pytest.param(with_(3, "15 0 R ", ""), "annotation-removed", 1, ANNOTATION, id="an annotation is taken away"),
        pytest.param(
            {k: v for k, v in NEW_FIELD.items() if k != 50} | {51: NEW_FIELD[51].replace("/V 50 0 R", "")},  # type: ignore[union-attr]
            "signature-field-added",
            1,
            ANNOTATION,
            id="EAA: a signature field that nobody signs covers the page",
        ),
        pytest.param(
            {
                12: f"<< /FT /Tx /T (amount) /V (9) /DA (/F1 9 Tf) /AP << /N 53 0 R >> {WIDGET} >>",
                53: stream("(9) Tj", LOOK),
            },
            "form-value-replaced",
            1,
            FORM,
            id="another value, which nothing locks",
        ),
        pytest.param(
            {**with_(12, "14 0 R", "53 0 R"), 53: stream("(9000) Tj", LOOK)},
            "form-field-replaced",
            1,
            CERTIFIED,
            id="shadow replace: another appearance of the same value",
        ),
    ],
)
@pytest.mark.parametrize("permission", [None, 1, 2, 3])
def test_what_a_certifier_decides(objects, what, page, allowed, permission):
    """ISO 32000-2 table 257: P 1 nothing but validation data, 2 forms and signatures, 3 annotations too."""
    found = after(update(signed(permission), objects, TRAILER))
    assert (what, page, permission in allowed) in told(found)
    assert found.allowed is (permission in allowed)
    assert (found.why is None) is found.allowed


EVIL = stream("BT (Rent: 9000) Tj ET")
SHOWN = [
    pytest.param({6: EVIL}, "page-content", 1, id="shadow replace: a content stream written over"),
    pytest.param({**with_(3, "6 0 R", "55 0 R"), 55: EVIL}, "page-content", 1, id="ISA: other contents"),
    pytest.param(
        {7: "<< /Type /Font /Subtype /Type1 /BaseFont /Evil >>"}, "page-content", 1, id="shadow replace: a font"
    ),
    pytest.param({17: stream("1 1 8 8 re f", LOOK)}, "page-content", 1, id="SSA: a form that the page draws"),
    pytest.param({90: EVIL}, "page-content", 2, id="shadow hide: what the page names is defined at last"),
    pytest.param(with_(3, "/Contents 6 0 R", "/Contents 6 0 R /Rotate 90"), "page-properties", 1, id="a turned page"),
    pytest.param(
        with_(3, "/Contents 6 0 R", "/Contents 6 0 R /CropBox [0 0 9 9]"), "page-properties", 1, id="a cropped page"
    ),
    pytest.param(with_(2, "[0 0 595 842]", "[0 0 59 84]"), "page-properties", None, id="a smaller page by inheritance"),
    pytest.param(
        {**with_(3, "/Parent 2 0 R", "/Parent 56 0 R"), 56: "<< /Type /Pages /MediaBox [0 0 9 9] >>"},
        "page-properties",
        1,
        id="another parent to inherit from",
    ),
    pytest.param(with_(2, "/Count 2", "/Count 1"), "page-properties", None, id="fewer pages by count"),
    pytest.param(with_(2, "[3 0 R 4 0 R]", "[4 0 R 3 0 R]"), "page-content", 1, id="pages in another order"),
    pytest.param(with_(2, "[3 0 R 4 0 R]", "[3 0 R]"), "pages-removed", None, id="a page taken away"),
    pytest.param(
        {**with_(2, "4 0 R]", "4 0 R 57 0 R]"), 57: "<< /Type /Page /Parent 2 0 R >>"}, "pages-added", None, id="a page"
    ),
    *(
        pytest.param(with_(1, "/Outlines 40 0 R", f"/Outlines 40 0 R /{key} {value}"), "catalog", None, id=key)
        for key, value in {
            "OpenAction": "<< /S /JavaScript /JS (x) >>",
            "AA": "<< >>",
            "OCProperties": "<< /OCGs [] /D << >> >>",
            "Names": "<< /EmbeddedFiles << /Names [] >> >>",
            "Perms": "<< /DocMDP 11 0 R >>",
            "Collection": "<< >>",
        }.items()
    ),
    pytest.param(with_(41, "Page one", "Page two"), "catalog", None, id="an outline entry"),
    pytest.param({31: "<< /Type /StructElem /S /P /P 30 0 R /Pg 3 0 R /K [0] >>"}, "structure", None, id="tagged text"),
    pytest.param(
        {
            **with_(31, "/K [0]", "/K [0 58 0 R]"),
            58: "<< /Type /StructElem /S /P /P 31 0 R /K 0 /Pg 3 0 R /ActualText (9000) >>",
        },
        "structure",
        None,
        id="another reading of the page for assistive technology",
    ),
    pytest.param(with_(12, "[10 10 110 40]", "[10 10 510 540]"), "form-field", 1, id="a field of another size"),
    pytest.param(with_(12, "/FT /Tx", "/FT /Ch"), "form-field", 1, id="a field of another type"),
    pytest.param(with_(12, "/T (amount)", "/T (amount) /AA << >>"), "form-field", 1, id="a field with actions"),
    pytest.param(with_(12, "/T (amount)", "/T (amount) /F 2"), "form-field", 1, id="a field hidden by a flag"),
    pytest.param(with_(12, "/T (amount)", "/T (sum)"), "form-field-removed", 1, id="a field of another name"),
    pytest.param(with_(5, "12 0 R 13 0 R", "13 0 R"), "form-field-removed", 1, id="a field taken away"),
    pytest.param(
        {**with_(5, "21 0 R]", "21 0 R 51 0 R]"), 51: f"<< /FT /Tx /T (new) /V (9000) {WIDGET} >>"},
        "form-field-added",
        None,
        id="a field that the signer did not see",
    ),
    pytest.param(
        with_(3, "16 0 R]", "16 0 R 21 0 R]"), "annotation-added", 1, id="shadow hide: a field put on the page"
    ),
    pytest.param(
        with_(10, "/V 11 0 R", "/V 50 0 R") | {50: SIGNATURE.replace("<00>", "<02>")},
        "signature-value-replaced",
        1,
        id="another value",
    ),
    pytest.param({11: SIGNATURE.replace("<00>", "<01>")}, "signature-value-replaced", 1, id="a value written over"),
    pytest.param(with_(10, "18 0 R", "14 0 R"), "form-field-replaced", 1, id="another look of a signature"),
    pytest.param({18: stream("(Bob) Tj", LOOK)}, "form-field-replaced", 1, id="a look of a signature written over"),
    pytest.param(with_(16, "/T (second)", "/T (second) /V 11 0 R"), "signature-value-replaced", 1, id="a value taken"),
    pytest.param(
        {
            5: BASE[5].replace("/F1 7 0 R", "/F1 59 0 R"),  # type: ignore[union-attr]
            59: "<< /Type /Font /Subtype /Type1 /BaseFont /Evil >>",
        },
        "catalog",
        None,
        id="another font of the form",
    ),
]


@pytest.mark.parametrize(("objects", "what", "page"), SHOWN)
@pytest.mark.parametrize("permission", [None, 3])
@pytest.mark.parametrize("way", ["table", "stream"])
def test_what_nobody_permits(objects, what, page, permission, way):
    """Mainka et al., CCS 2019; Shadow Attacks, NDSS 2021: whatever is shown must be what was signed."""
    base = signed(permission)
    if way == "table":
        pdf = update(base, objects, TRAILER)
    else:
        loose = {k: v for k, v in objects.items() if isinstance(v, bytes) or k == 11}
        pdf = streamed(base, loose, {k: v for k, v in objects.items() if k not in loose}, TRAILER)
    found = after(pdf)
    assert not found.allowed
    assert (what, page, False) in told(found), told(found)
    assert found.why == "not-proven-harmless"


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param({99: EVIL}, id="an object that nothing refers to"),
        pytest.param({3: BASE[3], 6: BASE[6], 12: BASE[12]}, id="the same objects once more"),
        pytest.param({**with_(3, "/Contents 6 0 R", "/Contents 70 0 R"), 70: BASE[6]}, id="moved to another number"),
        pytest.param(
            {**with_(3, "<< /F1 7 0 R >>", "71 0 R"), 71: "<< /F1 7 0 R >>"}, id="a direct value made indirect"
        ),
        pytest.param(with_(3, "/Contents 6 0 R", "/Contents 6 0 R /Thumb null /StructParents null"), id="null entries"),
        pytest.param(with_(2, "[0 0 595 842]", "[0.0 +0 595.00 842.]"), id="numbers written otherwise"),
        pytest.param({7: "<</Type/Font/Subtype/Type#31/BaseFont/Helv#65tica>>"}, id="names written otherwise"),
        pytest.param(
            with_(1, "/Outlines", "/Version /2.0 /MarkInfo << /Marked true >> /Outlines"), id="a newer version"
        ),
    ],
)
@pytest.mark.parametrize("permission", [None, 1])
def test_what_is_no_change(objects, permission):
    found = after(update(signed(permission), objects, TRAILER))
    assert (found.allowed, found.changes) == (True, ())


def test_a_default_value_is_a_field_still_to_be_filled():
    """ISO 32000-2 table 226, DV: what the field shows before anybody fills it."""
    default = {12: f"<< /FT /Tx /T (amount) /V (900) /DV (900) /DA (/F1 9 Tf) /AP << /N 14 0 R >> {WIDGET} >>"}
    filled = {12: default[12].replace("/V (900)", "/V (9)").replace("14 0 R", "53 0 R"), 53: stream("(9) Tj", LOOK)}
    found = after(update(classic(contract() | default, TRAILER), filled, TRAILER))
    assert told(found) == {("form-field-filled", 1, True)}


def test_streams_compressed_anew_are_no_change():
    import zlib

    data = b"BT /F1 12 Tf (Rent: 900) Tj ET /X Do"
    found = after(update(signed(), {6: stream(zlib.compress(data), "/Filter /FlateDecode")}, TRAILER))
    assert (found.allowed, found.changes) == (True, ())


def test_a_freed_object_that_is_shown_is_a_change():
    found = after(update(signed(), {}, TRAILER, free=(6,)))
    assert ("page-content", 1, False) in told(found)


def test_a_new_root_and_a_new_encryption_are_changes():
    assert not after(update(signed(), {80: "<< /Type /Catalog /Pages 2 0 R >>"}, "/Root 80 0 R")).allowed


def test_an_object_stream_written_over_takes_its_objects_along():
    """An update may replace an object stream by number; the entries of what is in it stay as they were."""
    base = contract()
    font = str(base.pop(7))
    pdf = streamed(b"%PDF-1.7\n", base, {7: font}, TRAILER)
    holder = next(number for number in range(100, 400) if f"\n{number} 0 obj\n<< /Type /ObjStm".encode() in pdf)
    evil = packed({7: font.replace("Helvetica", "Evil-Text")})
    assert after(pdf).allowed
    found = after(update(pdf, {holder: evil}, TRAILER))
    assert ("page-content", 1, False) in told(found)


def test_an_object_is_not_defined_by_bytes_after_its_revision():
    """The signed cross-reference names an offset past the signed end, where a later revision puts the object."""
    objects = contract()
    pdf = update(signed(), {}, TRAILER)  # the revision that is signed says nothing yet
    base = update(pdf, {10: objects[10], 11: objects[11]}, TRAILER)
    target = len(base) + 400
    signed_later = base.replace(b"xref\n10 1\n", b"xref\n90 1\n%010d 00000 n\r\n10 1\n" % target)
    tail = update(signed_later, {9: "<< /Title (pad) >>"}, TRAILER)
    filler = tail[len(signed_later) :]
    evil = b"\n" * (target - len(signed_later)) + b"90 0 obj\n" + EVIL + b"\nendobj\n"
    moved = filler.replace(b"%010d" % len(signed_later), b"%010d" % (len(signed_later) + len(evil))).replace(
        b"startxref\n%d" % int(filler[filler.rindex(b"startxref") + 9 :].split()[0]),
        b"startxref\n%d" % (int(filler[filler.rindex(b"startxref") + 9 :].split()[0]) + len(evil)),
    )
    document = Document.open(signed_later + evil + moved)
    from services.verifier.pdf.syntax import Ref

    assert document.file.get(Ref(90, 0), document.latest) is None


@pytest.mark.parametrize("number", [6, 90])
def test_an_entry_that_points_to_anothers_place_changes_nothing_of_that_other(number):
    """Xref hijack: the later section names the offset of a signed object for another number."""
    base = signed(3)
    evil = update(base, {9: "<< /Title (x) >>"}, TRAILER)
    at = base.index(b"\n1 0 obj") + 1
    entry = b"9 1\n%010d 00000 n\r\n" % (evil.index(b"9 0 obj", len(base)))
    assert entry in evil
    evil = evil.replace(entry, b"%d 1\n%010d 00000 n\r\n" % (number, at))
    document = Document.open(evil)
    from services.verifier.pdf.syntax import Ref

    assert document.file.get(Ref(number, 0), 1) is None
    assert document.file.get(Ref(1, 0), 1) is document.file.get(Ref(1, 0), 0)
    assert document.file.get(Ref(1, 0), 0)["Type"] == "Catalog"
    found = changes.since(document, 0)
    assert found.allowed is (number != 6)


def test_an_appearance_that_is_used_elsewhere_is_not_one_fields_to_replace():
    """SSA: the appearance that gives way also stands in the page, where another meaning could be given to it."""
    objects = contract()
    objects[12] = f"<< /FT /Tx /T (amount) /AP 61 0 R {WIDGET} >>"
    objects[61] = "<< /N 14 0 R >>"
    objects[1] = str(objects[1]).replace("/Outlines", "/PieceInfo 61 0 R /Outlines")
    pdf = update(
        classic(objects, TRAILER),
        {12: f"<< /FT /Tx /T (amount) /V (1) /AP << /N 62 0 R >> {WIDGET} >>", 62: stream("(1)", LOOK)},
        TRAILER,
    )
    assert ("appearance-shared", 1, False) in told(after(pdf))


PACKET = stream("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", "/Type /Metadata /Subtype /XML")


@pytest.mark.parametrize(
    ("value", "objects", "allowed"),
    [
        ("60 0 R", {60: PACKET}, True),
        ("null", {}, True),
        ("60 0 R", {60: stream("q 1 0 0 1 0 0 cm Q")}, False),
        ("60 0 R", {60: stream("<!DOCTYPE x [<!ENTITY a 'b'>]><x:xmpmeta/>")}, False),
        ("60 0 R", {60: "<< /A (xmpmeta) >>"}, False),
        ("(xmpmeta)", {}, False),
        ("60 0 R", {60: stream("xmpmeta", "/Filter /Unknown")}, False),
    ],
)
def test_metadata_must_be_metadata(value, objects, allowed):
    """ISO 32000-2 clause 14.3.2: an XMP packet; anything else in its place serves something else."""
    base = contract(1)
    base[1] = str(base[1]).replace("/Outlines", "/Metadata 81 0 R /Outlines")
    base[81] = PACKET.replace(b"x:xmpmeta", b"y:xmpmeta")
    changed = {1: str(base[1]).replace("81 0 R", value), **objects}
    found = after(update(classic(base, TRAILER), changed, TRAILER))
    assert told(found) == {("metadata", None, allowed)}
    # A change of Info, which reads the same and is allowed, does not cover it.
    found = after(update(classic(base, TRAILER), changed | {9: "<< /Title (Other) >>"}, TRAILER))
    assert told(found) == {("metadata", None, allowed)}


def test_validation_data_may_be_torn_out_and_that_is_told():
    """It lowers the level and changes nothing that is shown (ETSI EN 319 142-1 clause 6.3)."""
    pdf = update(update(signed(1), STORED, TRAILER), {1: BASE[1]}, TRAILER)
    found = after(pdf)
    assert found.allowed
    assert [one.what for one in found.changes] == ["validation-data-added", "validation-data-removed"]


@pytest.mark.parametrize("kids", ["/Test", "[]", "[null]", "[(x)]"])
def test_kids_that_are_none_are_a_change(kids):
    found = after(update(signed(3), with_(12, "/T (amount)", f"/T (amount) /Kids {kids}"), TRAILER))
    assert ("form-field", 1, False) in told(found)


@pytest.mark.parametrize("resources", ["15 0 R", "<< /Font 15 0 R >>", "<< /XObject << /X 15 0 R >> >>"])
def test_what_a_page_draws_with_is_content_whatever_else_it_is(resources):
    """P 3 lets annotations change; one that also serves as the page's resources would change the page."""
    objects = contract(3)
    objects[3] = str(objects[3]).replace(
        "/Resources << /Font << /F1 7 0 R >> /XObject << /X 17 0 R >> >>", f"/Resources {resources}"
    )
    changed = {15: str(objects[15]).replace("/Rect", "/F1 7 0 R /Rect")}
    found = after(update(classic(objects, TRAILER), changed, TRAILER))
    assert ("page-content", 1, False) in told(found)


def test_a_stream_among_the_annotations_is_compared_wholly():
    """No annotation is a stream, but a reader may draw one; P 3 does not let the page change through it."""
    objects = contract(3)
    objects[3] = str(objects[3]).replace("15 0 R", "15 0 R 17 0 R")
    found = after(update(classic(objects, TRAILER), {17: stream("9 9 9 9 re f", LOOK)}, TRAILER))
    assert ("page-content", 1, False) in told(found)
    objects[3] = str(objects[3]).replace("/XObject << /X 17 0 R >>", "")
    found = after(update(classic(objects, TRAILER), {17: stream("9 9 9 9 re f", LOOK)}, TRAILER))
    assert {what for what, _, _ in told(found)} == {"annotation-added", "annotation-removed"}


def test_a_form_that_is_a_stream_of_the_page_is_content():
    objects = contract(3)
    objects[1] = str(objects[1]).replace("/AcroForm 5 0 R", "/AcroForm 17 0 R")
    base = classic(objects, TRAILER)
    document = Document.open(update(base, {17: stream("9 9 9 9 re f", LOOK)}, TRAILER))
    assert ("page-content", 1, False) in told(changes.since(document, 0))


def test_a_page_shown_once_more_is_a_change():
    found = after(update(signed(3), with_(2, "4 0 R]", "4 0 R 3 0 R]"), TRAILER))
    assert ("page-properties", None, False) in told(found)


@pytest.mark.parametrize(
    ("lock", "objects", "allowed"),
    [
        ("/Action /All", FILLED, False),
        ("/Action /Include /Fields [(place)]", FILLED, False),
        ("/Action /Include /Fields [(amount)]", FILLED, True),
        ("/Action /Exclude /Fields [(place)]", FILLED, True),
        ("/Action /Exclude /Fields [(amount)]", FILLED, False),
        ("/Action /All", STAMPED, True),
        ("/Action /All", STORED, True),
        ("/Action /All", SIGNED_SECOND, False),
        ("/Action /Exclude /Fields [(second)]", SIGNED_SECOND, True),
        ("/Action /Whatever", FILLED, False),
        ("/Action /Include /Fields [(pl)]", FILLED, True),
    ],
)
def test_locked_fields(lock, objects, allowed):
    """ISO 32000-2 clause 12.8.2.4: All, Include and Exclude; what cannot be understood locks everything."""
    found = after(update(signed(lock=lock), objects, TRAILER))
    assert (found.allowed, found.why) == (allowed, None if allowed else "field-locked")


def test_a_lock_names_the_descendants_of_a_field_too():
    from services.verifier.pdf.document import FieldLock

    lock = FieldLock("Include", ("seller",))
    assert [lock.locks(name) for name in ("seller", "seller.name", "sellers")] == [True, True, False]


def test_a_new_signature_field_may_come_with_its_structure_element():
    """ISO 32000-2 clause 14.7.5: a widget of a tagged document has an element, which says nothing of what was there."""
    grown = {
        **NEW_FIELD,
        **with_(30, "/ParentTreeNextKey 1", "/ParentTreeNextKey 2"),
        **with_(31, "/K [0]", "/K [0 63 0 R]"),
        **with_(32, "[0 [31 0 R]]", "[0 [31 0 R] 1 63 0 R]"),
        63: "<< /Type /StructElem /S /Form /P 31 0 R /Pg 3 0 R /K << /Type /OBJR /Obj 51 0 R >> >>",
    }
    assert after(update(signed(), grown, TRAILER)).allowed


def test_what_is_taken_back_counts_all_the_same():
    """Whoever read the file in between saw another page."""
    pdf = update(update(signed(), {6: EVIL}, TRAILER), {6: BASE[6]}, TRAILER)
    found = after(pdf)
    assert [(one.revision, one.what, one.allowed) for one in found.changes] == [
        (1, "page-content", False),
        (2, "page-content", False),
    ]


def test_each_change_names_its_revision():
    pdf = update(update(update(signed(), STORED, TRAILER), FILLED, TRAILER), SIGNED_SECOND, TRAILER)
    found = after(pdf)
    assert found.allowed
    assert [(one.revision, one.what) for one in found.changes] == [
        (1, "validation-data-added"),
        (2, "form-field-filled"),
        (3, "signature-added"),
    ]


def test_a_list_that_is_cut_keeps_what_is_not_allowed():
    pdf = signed()
    for turn in range(changes.MOST_CHANGES + 5):
        pdf = update(pdf, {9: f"<< /Title ({turn}) >>"}, TRAILER)
    found = after(update(pdf, {6: EVIL}, TRAILER))
    assert len(found.changes) == changes.MOST_CHANGES
    assert ("page-content", 1, False) in told(found)


def test_every_name_of_a_change_has_words():
    import inspect
    import re

    from services.verifier.pdf import forms

    source = inspect.getsource(forms) + inspect.getsource(changes)
    named = set(re.findall(r'(?:Change|_item|_annotation|_told)\(\s*"([a-z-]+)"', source)) | set(
        re.findall(r'what = "([a-z-]+)"', source)
    )
    assert len(named) > 12
    assert named <= CHANGES.keys()


def test_since_compares_with_any_revision():
    document = Document.open(update(update(signed(), FILLED, TRAILER), {6: EVIL}, TRAILER))
    assert not changes.since(document, 0).allowed
    assert [one.what for one in changes.since(document, 1).changes] == ["page-content"]
    assert changes.since(document, 2) == changes.Comparison((), True, None)
