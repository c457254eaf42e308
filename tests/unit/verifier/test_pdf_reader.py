"""Files as producers, tools and attackers write them: each is read within bounds, or refused with a reason."""

from __future__ import annotations

import sys
import zlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

import pdfs
from revisions import SIGNATURE, TRAILER, classic, contract, last_xref, signed, stream, streamed, update

from services.verifier.pdf import changes
from services.verifier.pdf.document import Document, Unreadable
from services.verifier.pdf.syntax import Ref


def look(document: Document) -> list[str]:
    """Everything that can be asked of a document; the names of its signatures."""
    document.pages()
    assert document.xref_offsets() is not None
    assert document.usage_rights is not None
    assert document.security_stores is not None
    for revision in range(len(document.revisions)):
        changes.since(document, revision)
    for one in document.signatures:
        changes.after(document, one)
    return [one.name for one in document.signatures]


@pytest.mark.parametrize("name", sorted(pdfs.good()))
def test_files_of_many_producers_are_read_by_the_book(name):
    document = Document.open(pdfs.good()[name])
    assert look(document) == []
    assert not document.tolerant, document.complaints
    assert document.pages()


def test_a_signature_is_told_with_all_that_it_says():
    value = SIGNATURE.replace(
        "/Filter",
        "/M (D:20261125101500+07'00') /Reason (\xfe\xff\x1e\xc7) /Location (Hue) /Name (An) /Cert [<30> <31>] /Filter",
    )
    pdf = classic(contract() | {11: value}, TRAILER)
    (one,) = Document.open(pdf).signatures
    assert (one.name, one.also, one.byte_range, one.contents) == ("first", (), [0, 1, 2, 3], b"\0")
    assert (one.type, one.filter, one.sub_filter) == ("Sig", "Adobe.PPKLite", "ETSI.CAdES.detached")
    assert (one.reason, one.location, one.signer_name) == ("ệ", "Hue", "An")
    assert one.claimed_time is not None
    assert one.claimed_time.astimezone(UTC) == datetime(2026, 11, 25, 3, 15, tzinfo=UTC)
    assert one.certificates == (b"0", b"1")
    assert (one.offset, one.revision) == (pdf.index(b"11 0 obj"), 0)
    assert (one.doc_mdp, one.field_mdp, one.certification) == (None, None, False)


def test_the_certification_is_told_and_its_permission():
    objects = contract(2)
    objects[1] = str(objects[1]).replace("/Outlines", "/Perms << /DocMDP 11 0 R >> /Outlines")
    (one,) = Document.open(classic(objects, TRAILER)).signatures
    assert (one.certification, one.doc_mdp) == (True, 2)


@pytest.mark.parametrize(("text", "level"), [("/P 9", 1), ("/P /x", 1), ("", 2), ("/P 3", 3)])
def test_a_permission_that_cannot_be_understood_forbids_everything(text, level):
    """ISO 32000-2 table 257: the default is 2."""
    objects = contract(2)
    objects[11] = str(objects[11]).replace("/P 2", text)
    assert Document.open(classic(objects, TRAILER)).signatures[0].doc_mdp == level


def test_the_lock_of_a_field_counts_where_the_signature_says_nothing():
    objects = contract()
    objects[10] = str(objects[10]).replace("/V ", "/Lock << /Action /Include /Fields [(place)] /P 2 >> /V ")
    (one,) = Document.open(classic(objects, TRAILER)).signatures
    assert one.doc_mdp == 2
    assert one.field_mdp is not None
    assert one.field_mdp.fields == ("place",)


def test_two_fields_with_one_value_are_one_signature():
    objects = contract()
    objects[16] = str(objects[16]).replace("/T", "/V 11 0 R /T")
    (one,) = Document.open(classic(objects, TRAILER)).signatures
    assert (one.name, one.also) == ("first", ("second",))


def test_any_kind_of_value_is_listed_and_a_bad_field_hides_nothing():
    objects = contract()
    objects[16] = str(objects[16]).replace("/T", "/V << /SubFilter /vnd.unknown >> /T")
    objects[13] = "<< /FT /Sig /T (bad) /V 3.5 >>"
    document = Document.open(classic(objects, TRAILER))
    assert [(one.name, one.sub_filter) for one in document.signatures] == [
        ("first", "ETSI.CAdES.detached"),
        ("second", "vnd.unknown"),
    ]
    assert document.complaints == ("bad: no signature dictionary",)


def test_names_are_built_from_parents_and_types_are_inherited():
    objects = contract()
    objects[5] = "<< /Fields [70 0 R 71 0 R] >>"
    objects[70] = "<< /T (parties) /FT /Sig /Kids [10 0 R 16 0 R] >>"
    objects[10] = "<< /T (first) /Parent 70 0 R /V 11 0 R >>"
    objects[71] = "<< /FT /Sig /V 11 0 R >>"
    assert Document.open(classic(objects, TRAILER)).signatures[0].name == "parties.first"


# --- cross-reference sections: ISO 32000-2 clause 7.5 ----------------------------------------------------------------


def test_sections_may_be_streams_and_objects_may_be_packed():
    objects = contract()
    outside = {number: objects.pop(number) for number in (6, 8, 11, 14, 17, 18)}
    pdf = streamed(b"%PDF-1.7\n", outside, objects, TRAILER)
    document = Document.open(streamed(pdf, {}, {9: "<< /Title (Other) >>"}, TRAILER))
    assert look(document) == ["first"]
    assert len(document.revisions) == 2
    assert not document.tolerant


def test_a_signature_in_an_object_stream_is_not_in_plain_sight():
    objects = contract()
    outside = {number: objects.pop(number) for number in (6, 8, 14, 17, 18)}
    (one,) = Document.open(streamed(b"%PDF-1.7\n", outside, objects, TRAILER)).signatures
    assert one.offset is None
    assert one.contents == b"\0"


def test_a_hybrid_file_is_one_revision():
    """ISO 32000-2 clause 7.5.8.4: the stream serves what the table calls free or does not hold."""
    base = signed()
    hidden = streamed(base, {}, {95: "(hidden)"}, TRAILER)
    at = last_xref(hidden)
    body = hidden[: hidden.rindex(b"startxref")]
    pdf = update(body + base[base.rindex(b"startxref") :], {}, f"{TRAILER} /XRefStm {at}")
    document = Document.open(pdf)
    assert len(document.revisions) == 2
    assert document.file.get(Ref(95, 0), 1) == b"hidden"
    assert document.file.get(Ref(95, 0), 0) is None


def linearized() -> bytes:
    """A file whose first page's section stands first and goes on at the main section (Annex F)."""
    first = b"%PDF-1.7\n1 0 obj\n<< /Linearized 1 /L 0 >>\nendobj\n"
    gap = len(first)
    rest = bytearray()
    room = 400
    offsets = {}
    for number, body in {3: "<< /Type /Catalog /Pages 4 0 R >>", 4: "<< /Type /Pages /Kids [] /Count 0 >>"}.items():
        offsets[number] = gap + room + len(rest)
        rest += f"{number} 0 obj\n{body}\nendobj\n".encode()
    main = gap + room + len(rest)
    rest += b"xref\n0 1\n0000000000 65535 f\r\ntrailer\n<< /Size 3 >>\n"
    head = f"xref\n1 1\n{9:010} 00000 n\r\n3 2\n{offsets[3]:010} 00000 n\r\n{offsets[4]:010} 00000 n\r\n"
    head += f"trailer\n<< /Size 5 /Root 3 0 R /Prev {main} >>\nstartxref\n0\n%%EOF\n"
    return first + head.encode().ljust(room) + bytes(rest) + f"startxref\n{gap}\n%%EOF\n".encode()


def test_a_linearized_file_is_one_revision():
    pdf = linearized()
    document = Document.open(pdf)
    assert (len(document.revisions), document.tolerant) == (1, False)
    assert document.revisions_covered(len(pdf)) == 0
    assert document.revisions_covered(500) == -1
    more = Document.open(update(pdf, {9: "<< >>"}, "/Root 3 0 R"))
    assert [one.index for one in more.revisions] == [0, 1]


def test_what_stands_before_the_header_shifts_every_offset():
    document = Document.open(b"HTTP/1.1 200 OK\r\n\r\n" + signed())
    assert look(document) == ["first"]
    assert document.tolerant


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda pdf: pdf.replace(b"startxref\n", b"startxref\n9"), id="startxref beyond the file"),
        pytest.param(lambda pdf: pdf[: pdf.rindex(b"startxref")], id="no startxref"),
        pytest.param(lambda pdf: pdf.replace(b"xref\n0 1", b"xxxx\n0 1"), id="no table"),
        pytest.param(lambda pdf: pdf.replace(b"trailer", b"trailxx"), id="no trailer"),
        pytest.param(lambda pdf: pdf.replace(b" 00000 n\r\n", b" 00000 n\n"), id="short lines"),
        pytest.param(lambda pdf: b"%PDF-1.7\n\n\n" + pdf[9:], id="every offset wrong"),
        pytest.param(lambda pdf: pdf[:-200], id="cut off"),
        pytest.param(
            lambda pdf: update(pdf, {}, f"/Root 1 0 R /Info 9 0 R /Prev {len(pdf)} /X").replace(
                b"/Prev %d" % last_xref(pdf), b"/P"
            ),
            id="a circle",
        ),
        pytest.param(lambda pdf: pdf.replace(b"10 1\n", b"10 1\n0000000009 00000 n\r\n10 1\n"), id="an object twice"),
    ],
)
def test_damaged_files_are_read_as_viewers_read_them(damage):
    """What a repairing viewer shows is what is judged, and the report says that it was repaired."""
    document = Document.open(damage(signed()))
    assert look(document) == ["first"]
    assert document.tolerant or b" 00000 n\r\n" not in document.data


def test_a_stream_with_a_wrong_length_ends_where_it_ends():
    pdf = signed()
    document = Document.open(pdf.replace(b"/Length 36", b"/Length 99"))
    assert document.file.decoded(document.file.get(Ref(6, 0), 0), 0).endswith(b"/X Do")
    assert document.tolerant


def test_a_rebuilt_file_lists_no_section_so_that_no_tail_is_accounted_for():
    pdf = update(signed(), {6: stream("evil")}, TRAILER, offset=10**9)
    document = Document.open(pdf)
    assert document.xref_offsets() == []
    assert not changes.since(document, 0).allowed


def test_an_entry_that_points_elsewhere_is_looked_for():
    pdf = signed().replace(b"6 0 obj\n<<", b"6 0 xxx\n<<")
    document = Document.open(update(pdf, {6: stream("again")}, TRAILER))
    assert document.file.get(Ref(6, 0), 0) is None
    assert document.tolerant


def test_a_trailer_without_root_goes_on_with_the_one_before():
    document = Document.open(update(signed(), {9: "<< /Title (x) >>"}, "/Info 9 0 R"))
    assert look(document) == ["first"]
    assert document.complaints == ("trailer without Root",)
    assert len(document.xref_offsets()) == 2


def test_a_wrong_entry_of_a_later_revision_is_not_the_older_object():
    """Readers do not agree on an object that is not where its entry says, so it is not what was signed."""
    pdf = update(signed(), {7: "<< /Type /Font >>"}, TRAILER)
    pdf = pdf.replace(b"7 0 obj\n<< /Type /Font >>", b"8 0 obj\n<< /Type /Font >>")
    document = Document.open(pdf)
    assert document.file.get(Ref(7, 0), 1) is None
    assert document.file.get(Ref(7, 0), 0) is not None
    assert not changes.since(document, 0).allowed


# --- limits ----------------------------------------------------------------------------------------------------------


def refused(pdf: bytes) -> str:
    with pytest.raises(Unreadable) as fault:
        look(Document.open(pdf))
    assert fault.value.reason.replace("-", "").isalpha()
    return fault.value.reason


def test_what_is_no_pdf():
    assert refused(b"") == "pdf-unreadable"
    assert refused(b"%PDF-1.7\n" + bytes(5000)) == "pdf-unreadable"
    assert refused(classic({1: "<< /Type /Pages >>"}, "/Root 7 0 R")) == "pdf-unreadable"


def test_a_section_without_widths_and_with_two_milliard_entries_ends():
    """A 307-byte stream with /W [0 0 0] and /Size 2^31 lets readers count for ever."""
    body = stream(b"", "/Type /XRef /W [0 0 0] /Size 2147483648 /Index [0 2147483647] /Root 1 0 R")
    pdf = b"%PDF-1.7\n1 0 obj\n" + body + b"\nendobj\nstartxref\n9\n%%EOF\n"
    assert refused(pdf) == "pdf-unreadable"


def test_a_table_that_claims_more_than_there_is_ends():
    pdf = signed().replace(b"xref\n0 1\n", b"xref\n0 999999999\n")
    assert look(Document.open(pdf)) == ["first"]


def test_a_form_tree_whose_kids_repeat_is_walked_once():
    objects = contract()
    for level in range(100, 128):
        objects[level] = f"<< /T (k) /Kids [{level + 1} 0 R {level + 1} 0 R] >>"
    objects[128] = "<< /FT /Sig /T (deep) /V 11 0 R >>"
    objects[5] = "<< /Fields [100 0 R 100 0 R 10 0 R] >>"
    assert look(Document.open(classic(objects, TRAILER))) == ["k." * 28 + "deep"]


def test_two_thousand_fields_that_share_a_signature_are_one():
    objects = contract()
    objects[5] = f"<< /Fields [{' '.join(f'{number} 0 R' for number in range(1000, 3000))}] >>"
    for number in range(1000, 3000):
        objects[number] = f"<< /FT /Sig /T (s{number}) /V 11 0 R >>"
    (one,) = Document.open(classic(objects, TRAILER)).signatures
    assert len(one.also) == 1999


def test_too_many_fields_signatures_and_revisions_are_refused_with_a_reason():
    objects = contract()
    objects[5] = "<< /Fields [" + "<< /T (x) >>" * 5001 + "] >>"
    assert refused(classic(objects, TRAILER)) == "too-many-fields"
    objects[5] = "<< /Fields [" + "<< /FT /Sig /T (x) /V << >> >>" * 101 + "] >>"
    assert refused(classic(objects, TRAILER)) == "too-many-signatures"
    pdf = signed()
    for _ in range(301):
        pdf += f"xref\ntrailer\n<< /Root 1 0 R /Prev {last_xref(pdf)} >>\nstartxref\n{len(pdf)}\n%%EOF\n".encode()
    assert refused(pdf) == "too-many-revisions"


def test_an_object_nested_too_deeply_is_null():
    objects = contract()
    objects[9] = "[" * 900 + "]" * 900
    document = Document.open(classic(objects, TRAILER))
    assert look(document) == ["first"]
    assert document.file.get(Ref(9, 0), 0) is None


def test_a_page_tree_that_is_a_circle_and_one_too_large_are_refused_as_changes():
    objects = contract()
    objects[2] = "<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2 >>"
    look(Document.open(update(classic(objects, TRAILER), {9: "<< >>"}, TRAILER)))
    objects[2] = "<< /Type /Pages /Kids [" + "<< >>" * 50_001 + "] /Count 1 >>"
    document = Document.open(update(classic(objects, TRAILER), {9: "<< >>"}, TRAILER))
    found = changes.since(document, 0)
    assert [(one.what, one.allowed) for one in found.changes] == [("not-analysable", False)]


def test_a_bomb_in_an_object_stream_ends():
    bomb = zlib.compress(zlib.compress(bytes(400_000_000), 9), 9)
    head = "/Type /ObjStm /N 1 /First 4 /Filter [/FlateDecode /FlateDecode]"
    objects = contract() | {95: stream(bomb, head)}
    pdf = streamed(classic(objects, TRAILER), {}, {}, TRAILER)
    document = Document.open(pdf)
    assert document.file.place(95, 1) is not None
    from services.verifier.pdf.syntax import Misformed

    with pytest.raises(Misformed):
        document.file.decoded(document.file.get(Ref(95, 0), 1), 1)


# --- encryption: ISO 32000-2 clause 7.6 ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
@pytest.mark.parametrize("password", ["", "secret"])
def test_files_encrypted_with_the_empty_user_password_are_judged(way, password):
    """`/Contents` of a signature is never encrypted, everything else is."""
    from pyhanko.pdf_utils import crypt
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.pdf_utils.writer import copy_into_new_writer

    objects = contract()
    objects[4] = str(objects[4]).replace(" 90 0 R", "")
    writer = copy_into_new_writer(PdfFileReader(BytesIO(classic(objects, TRAILER))))
    if way == "AES-256":
        handler = crypt.StandardSecurityHandler.build_from_pw("owner", password)
    else:
        handler = crypt.StandardSecurityHandler.build_from_pw_legacy(
            crypt.StandardSecuritySettingsRevision.RC4_BASIC
            if way == "RC4-40"
            else crypt.StandardSecuritySettingsRevision.RC4_OR_AES128
            if way == "AES-128"
            else crypt.StandardSecuritySettingsRevision.RC4_EXTENDED,
            writer._document_id[0],
            "owner",
            password,
            keylen_bytes=5 if way == "RC4-40" else 16,
            use_aes128=way == "AES-128",
        )
    writer.security_handler = handler
    writer._encrypt = writer.add_object(handler.as_pdf_object())
    out = BytesIO()
    writer.write(out)
    pdf = out.getvalue()
    if password:
        assert refused(pdf) == "encrypted"
        return
    document = Document.open(pdf)
    assert document.encrypted
    assert look(document) == ["first"]
    assert b"Rent: 900" not in pdf
    root = document.file.catalog(0)
    page = document.file.get(document.file.get(document.file.get(root["Pages"], 0)["Kids"], 0)[0], 0)
    assert b"Rent: 900" in document.file.decoded(document.file.get(page["Contents"], 0), 0)


def test_another_security_handler_is_encrypted():
    pdf = classic(contract() | {95: "<< /Filter /Adobe.PubSec /V 4 >>"}, TRAILER + " /Encrypt 95 0 R")
    assert refused(pdf) == "encrypted"


# --- anything at all -------------------------------------------------------------------------------------------------

_PIECES = [
    *(b"%d 0 obj\n" % number for number in range(1, 6)),
    b"<< /Type /Catalog /Pages 2 0 R /AcroForm 3 0 R /DSS 4 0 R >>\nendobj\n",
    b"<< /Kids [2 0 R] /Fields [3 0 R] /Nums [0 [3 0 R]] /FT /Sig /V 5 0 R /T (x) >>\nendobj\n",
    b"<< /Length 5 0 R /Filter /FlateDecode >>\nstream\nx\nendstream endobj\n",
    b"<< /Type /ObjStm /N 9 /First 3 /Length 9 >>\nstream\n1 0 2 2 3\nendstream endobj\n",
    b"<< /Type /XRef /W [1 2 1] /Size 9 /Root 1 0 R /Prev 9 >>\nstream\n\0\0\0\0\nendstream endobj\n",
    b"xref\n0 6\n0000000000 65535 f\r\n0000000009 00000 n\r\n",
    b"trailer\n<< /Root 1 0 R /Prev 9 /XRefStm 9 /Encrypt 3 0 R >>\n",
    b"startxref\n9\n%%EOF\n",
    b"startxref\n60\n%%EOF\n",
    b"1 0 R",
    b"<<",
    b">>",
    b"[[[[",
    b"(",
]


@given(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=8), max_size=30))
@settings(max_examples=300)
def test_any_bytes_are_a_document_or_unreadable(pieces):
    try:
        look(Document.open(b"%PDF-1.7\n" + b"".join(pieces)))
    except Unreadable:
        return


_WHOLE = update(signed(2), {6: stream("x"), 16: "<< /FT /Sig /T (second) /V 11 0 R >>"}, TRAILER)


@given(st.integers(0, len(_WHOLE)), st.integers(0, 20), st.sampled_from([*_PIECES, b"", b"0", b"99999999999", b"-1"]))
@settings(max_examples=300)
def test_any_mutant_of_a_signed_file_is_a_document_or_unreadable(at, length, piece):
    try:
        look(Document.open(_WHOLE[:at] + piece + _WHOLE[at + length :]))
    except Unreadable:
        return
