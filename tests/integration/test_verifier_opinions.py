"""The engines beside engine one: what pyHanko and endesive say of good and bad signatures; they never raise."""

from __future__ import annotations

import sys
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from forge import Forge, with_store

from services.verifier.adapters import endesive_opinion, pyhanko_opinion
from services.verifier.model import Brought, Indication, Integrity, Opinion, Scope, Verdict


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="module")
def good(forge) -> bytes:
    return forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")


async def said(forge: Forge, pdf: bytes, brought: Brought | None = None) -> tuple[Opinion, ...]:
    extra = forge.evidence() if brought is None else brought
    return await pyhanko_opinion.opinions(pdf, anchors=forge.anchors, now=forge.now, extra=extra)


def edited(pdf: bytes, change) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(pdf))
    change(writer)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def add_field(writer, name: str, value) -> None:
    form = writer.root["/AcroForm"]
    field = generic.DictionaryObject(
        {
            generic.NameObject("/FT"): generic.NameObject("/Sig"),
            generic.NameObject("/T"): generic.TextStringObject(name),
            generic.NameObject("/V"): value,
        }
    )
    form["/Fields"].append(writer.add_object(field))
    writer.update_container(form["/Fields"])
    writer.update_root()


# --- engine two ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamp", ["ok", None])
async def test_a_good_signature_passes_at_pyhanko(forge, timestamp):
    (one,) = await said(forge, forge.sign(pdfs.minimal(), forge.signer(), timestamp=timestamp))
    assert (one.field, one.integrity, one.verdict, one.indication) == (
        "buyer",
        Integrity.INTACT,
        Verdict.PASSED,
        Indication.PASSED,
    )
    assert (one.scope, one.parsing, one.reason) == (Scope.SIGNATURE, "strict", None)


async def test_a_file_with_its_own_status_data_and_a_document_timestamp_passes_without_anything_brought(forge, good):
    """ETSI EN 319 102-1 5.6: the validation data are those of the DSS."""
    signature, stamp = await said(forge, forge.stamp(with_store(good, forge.evidence())), Brought())
    assert [signature.verdict, stamp.verdict] == [Verdict.PASSED, Verdict.PASSED]
    assert (stamp.scope, stamp.field) == (Scope.TIMESTAMP, "stamp")


async def test_without_status_data_nothing_passes(forge, good):
    """Revocation is a hard requirement: no evidence is not "trusted"."""
    (one,) = await said(forge, good, Brought())
    assert (one.integrity, one.verdict) == (Integrity.INTACT, Verdict.UNDETERMINED)


async def test_without_a_root_nothing_passes(forge, good):
    (one,) = await pyhanko_opinion.opinions(good, anchors=[], now=forge.now)
    assert (one.integrity, one.verdict) == (Integrity.INTACT, Verdict.UNDETERMINED)
    assert one.sub_indication == "NO_CERTIFICATE_CHAIN_FOUND"


async def test_a_revoked_certificate_does_not_pass(forge):
    signer = forge.signer()
    pdf = forge.sign(pdfs.minimal(), signer, timestamp="ok")
    revoked = {signer.certificate.serial_number: forge.now - timedelta(minutes=20)}
    (one,) = await said(forge, pdf, forge.evidence(revoked=revoked))
    assert one.verdict is not Verdict.PASSED


async def test_a_flipped_bit_is_broken(forge, good):
    changed = bytearray(good)
    changed[good.index(b"A contract")] ^= 0x20
    (one,) = await said(forge, bytes(changed))
    assert (one.integrity, one.verdict, one.reason) == (Integrity.BROKEN, Verdict.FAILED, "digest-differs")


async def test_a_swapped_page_is_changed_and_the_rule_is_named(forge, good):
    def swap(writer):
        page = writer.root["/Pages"]["/Kids"][0]
        page[generic.NameObject("/Contents")] = writer.add_object(generic.StreamObject(stream_data=b"BT (9000) Tj ET"))
        writer.update_container(page)

    (one,) = await said(forge, edited(good, swap))
    assert (one.integrity, one.verdict, one.reason) == (Integrity.CHANGED, Verdict.FAILED, "modification-suspicious")
    assert one.detail["where"].startswith("policies.")


async def test_a_timestamp_of_another_signature_spoils_the_verdict_and_not_the_integrity(forge):
    """RFC 3161: the imprint is that of this signature value; digest and value of the signature itself still fit."""
    pdf = forge.sign(pdfs.minimal(), forge.signer(), timestamp="wrong-imprint")
    (one,) = await said(forge, pdf)
    assert (one.integrity, one.verdict) == (Integrity.INTACT, Verdict.FAILED)


async def test_a_document_timestamp_over_something_else_is_broken(forge, good):
    signature, stamp = await said(forge, forge.stamp(good, "wrong-imprint"))
    assert signature.integrity is Integrity.INTACT
    assert (stamp.integrity, stamp.reason) == (Integrity.BROKEN, "digest-differs")


async def test_encapsulated_content_is_refused(forge):
    (one,) = await said(forge, forge.sign(pdfs.minimal(), forge.signer(), encapsulate=True))
    assert one.verdict is not Verdict.PASSED


async def test_one_bad_field_hides_no_other(forge, good):
    """verification.md, item 4: pyHanko's own listing raises for all of them."""

    def break_one(writer):
        empty = generic.DictionaryObject({generic.NameObject("/Type"): generic.NameObject("/Sig")})
        add_field(writer, "broken", writer.add_object(empty))

    found = {one.field: one for one in await said(forge, edited(good, break_one))}
    assert found.keys() == {"buyer", "broken"}
    assert found["broken"].integrity is None
    assert found["broken"].reason == "sub-filter-unsupported"
    assert found["buyer"].integrity is not None


async def test_one_value_under_two_fields_is_judged_once(forge, good):
    def twin(writer):
        add_field(writer, "twin", writer.root["/AcroForm"]["/Fields"][0].raw_get("/V"))

    assert [one.field for one in await said(forge, edited(good, twin))] == ["buyer"]


async def test_other_kinds_of_signatures_get_a_line(forge, good):
    text = b"/SubFilter /ETSI.CAdES.detached"
    changed = good.replace(text, b"/SubFilter /vnd.unknown.v1".ljust(len(text)))
    (one,) = await said(forge, changed)
    assert (one.integrity, one.reason, one.detail) == (None, "sub-filter-unsupported", {"found": "/vnd.unknown.v1"})


async def test_an_exception_is_told_by_type_and_place_and_never_by_its_message(forge, good):
    """House rule: no content of a file in a report but what the report is about."""

    def dangle(writer):
        missing = generic.ArrayObject([generic.IndirectObject(9999, 0, writer)])
        writer.root[generic.NameObject("/DSS")] = writer.add_object(
            generic.DictionaryObject({generic.NameObject("/Certs"): missing})
        )
        writer.update_root()

    (one,) = await said(forge, edited(good, dangle))
    assert (one.reason, one.parsing) == ("exception", "tolerant")
    assert one.detail == {"fault": "KeyError", "where": "xref.XRefCache.get_introducing_revision"}


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7\n", b"%PDF-1.7\n" + b"\0" * 3000])
async def test_what_cannot_be_read_is_one_opinion_on_the_file(forge, data):
    (one,) = await said(forge, data)
    assert (one.scope, one.integrity, one.reason) == (Scope.FILE, None, "exception")


async def test_an_unsigned_file_is_unsigned(forge):
    (one,) = await said(forge, pdfs.minimal())
    assert (one.scope, one.integrity) == (Scope.FILE, Integrity.UNSIGNED)


async def test_too_many_revisions_are_not_even_compared(forge, good):
    """pyHanko compares every signature with every later revision: 51 signatures took minutes."""

    def again(writer):
        writer.update_root()

    many = good
    for _ in range(pyhanko_opinion.MOST_REVISIONS):
        many = edited(many, again)
    (one,) = await said(forge, many)
    assert (one.scope, one.reason) == (Scope.FILE, "too-many-revisions")


async def test_nothing_that_is_cut_off_anywhere_passes_or_raises(forge, good):
    for end in range(0, len(good), 1501):
        assert all(one.verdict is not Verdict.PASSED for one in await said(forge, good[:end]))


# --- the third opinion -----------------------------------------------------------------------------------------------

installed = pytest.mark.skipif(
    endesive_opinion.VERSION is None, reason="endesive is not installed: make setup-opinions"
)


@installed
def test_endesive_checks_digest_and_value_and_nothing_else(forge, good):
    (one,) = endesive_opinion.opinions(good)
    assert (one.scope, one.integrity, one.verdict, one.field) == (Scope.VALUE, Integrity.INTACT, None, None)
    changed = bytearray(good)
    changed[good.index(b"A contract")] ^= 0x20
    (one,) = endesive_opinion.opinions(bytes(changed))
    assert (one.integrity, one.reason) == (Integrity.BROKEN, "digest-differs")


@installed
def test_endesive_is_not_asked_about_timestamps_and_content_inside(forge, good):
    assert len(endesive_opinion.opinions(forge.stamp(good))) == 1
    plain = SigSeedSubFilter.ADOBE_PKCS7_DETACHED
    inside = forge.sign(pdfs.minimal(), forge.signer(), encapsulate=True, sub_filter=plain)
    (one,) = endesive_opinion.opinions(inside)
    assert (one.integrity, one.reason) == (None, "content-encapsulated")


@installed
def test_its_trust_is_not_even_loaded():
    """It trusts the web's roots and loads a library of 2016 for it; neither has a place here."""
    assert "certvalidator" not in sys.modules
    assert not hasattr(endesive_opinion._VERIFIER, "trusted_certs")


@installed
def test_whatever_it_raises_it_cannot_say(good):
    start = good.index(b"/Contents <30") + len(b"/Contents <")
    for size in (2, 50, 400):
        cut = good[: start + size] + b"0" * (good.index(b">", start) - start - size) + good[good.index(b">", start) :]
        assert all(one.integrity is not Integrity.INTACT for one in endesive_opinion.opinions(cut))


def test_where_it_is_not_installed_it_says_nothing(good, monkeypatch):
    monkeypatch.setattr(endesive_opinion, "_VERIFIER", None)
    assert endesive_opinion.opinions(good) == ()
