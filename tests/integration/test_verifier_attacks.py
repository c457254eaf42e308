"""What the verifier says of good signatures and of every known class of attack, each with the rule it defends."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
import two_readings
from forge import Forge, with_store
from signer_world import DOCUMENT_SIGNING, Ca, name

from services.verifier.engine import examine
from services.verifier.model import Brought, FileReport, Indication, Integrity, Sub, Verdict
from services.verifier.pdf.document import Document

PLAIN = SigSeedSubFilter.ADOBE_PKCS7_DETACHED


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="module")
def alice(forge) -> Ca:
    return forge.signer()


@pytest.fixture(scope="module")
def good(forge, alice) -> bytes:
    return forge.sign(pdfs.minimal(), alice, timestamp="ok")


async def verdict(forge, pdf: bytes, brought: Brought | None = None, **options) -> FileReport:
    options = {"anchors": forge.anchors, "now": forge.now} | options
    return examine(pdf, file="x.pdf", extra=brought if brought is not None else forge.evidence(), **options)


def reasons(report: FileReport) -> set[str | None]:
    rows = [*report.findings]
    for one in report.signatures:
        rows += [*one.findings, *(row for stamp in one.timestamps for row in stamp.findings)]
    rows += [row for stamp in report.timestamps for row in stamp.findings]
    return {row.reason for row in rows if row.outcome.value in ("failed", "undetermined")}


# --- what must pass --------------------------------------------------------------------------------------------------


async def test_a_signature_with_timestamp_and_status_passes(forge, good):
    report = await verdict(forge, good)
    assert report.verdict is Verdict.PASSED, reasons(report)
    (one,) = report.signatures
    assert (one.integrity, one.level, one.trusted, one.timestamp_trusted) == (
        Integrity.INTACT,
        "PAdES-BASELINE-T",
        True,
        True,
    )
    assert one.proven_time is not None
    assert one.certificate is not None
    assert one.certificate.managed_by is not None
    assert [finding.number for finding in one.findings] == list(range(1, len(one.findings) + 1))


async def test_every_check_of_appendix_ii_is_a_row(forge, good):
    """Circular 15/2025/TT-BKHCN App. II: 1.1 to 1.6, 2.1, 2.2, 2.4; Decree 23/2025/ND-CP Art 16: a row per check."""
    (one,) = (await verdict(forge, good)).signatures
    clauses = " ".join(finding.clause for finding in one.findings)
    for number in ("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "2.1", "2.2", "2.4"):
        assert f"App. II {number}" in clauses


async def test_without_a_trusted_root_it_is_undetermined_and_intact(forge, good):
    report = await verdict(forge, good, anchors=[])
    assert (report.verdict, report.integrity) == (Verdict.UNDETERMINED, Integrity.INTACT)
    assert report.signatures[0].sub_indication is Sub.NO_CERTIFICATE_CHAIN_FOUND or "no-anchors" in reasons(report)


async def test_a_second_signature_is_a_permitted_change_of_the_first(forge, alice, good):
    twice = forge.sign(good, forge.signer("Trần Văn B"), slot="seller", timestamp="ok")
    report = await verdict(forge, twice)
    assert report.verdict is Verdict.PASSED, reasons(report)
    first, second = report.signatures
    assert {change.what for change in first.changes} >= {"signature-added"}
    assert all(change.allowed for change in first.changes)
    assert second.covers_whole_file
    assert not second.changes


# --- status: Circular 15/2025/TT-BKHCN App. II 1.1, 1.2; EN 319 102-1 5.2.5 -------------------------------------------


async def test_no_status_data_is_undetermined_never_green(forge, good):
    """App. II 1.2: when the status cannot be checked, a warning must be shown."""
    report = await verdict(forge, good, Brought())
    assert report.verdict is Verdict.UNDETERMINED
    assert "no-evidence" in reasons(report)
    assert report.signatures[0].needs


async def test_a_certificate_revoked_before_the_signing_it_claims_fails(forge, alice, good):
    serial = alice.certificate.serial_number
    report = await verdict(forge, good, forge.evidence(revoked={serial: forge.now - timedelta(minutes=20)}))
    assert (report.verdict, report.signatures[0].sub_indication) == (Verdict.FAILED, Sub.REVOKED)


async def test_revoked_before_the_proof_but_after_the_claim_is_undetermined(forge, alice):
    """EN 319 102-1 5.5.4: without proof of existence from before the revocation, REVOKED_NO_POE."""
    pdf = forge.sign(pdfs.minimal(), alice, timestamp="ok", claimed=forge.now - timedelta(minutes=25))
    serial = alice.certificate.serial_number
    report = await verdict(forge, pdf, forge.evidence(revoked={serial: forge.now - timedelta(minutes=20)}))
    assert report.signatures[0].indication is Indication.INDETERMINATE
    assert report.signatures[0].sub_indication is Sub.REVOKED_NO_POE


async def test_revoked_after_the_proven_time_still_passes_with_a_notice(forge, alice):
    pdf = forge.sign(pdfs.minimal(), alice, timestamp="ok", timestamp_offset=timedelta(minutes=-15))
    serial = alice.certificate.serial_number
    report = await verdict(forge, pdf, forge.evidence(revoked={serial: forge.now - timedelta(minutes=11)}))
    assert report.verdict is Verdict.PASSED, reasons(report)
    assert "revoked-later" in {finding.reason for finding in report.signatures[0].findings}


async def test_a_suspended_certificate_does_not_pass(forge, alice, good):
    serial = alice.certificate.serial_number
    held = forge.evidence(revoked={serial: forge.now - timedelta(minutes=20)}, reason=x509.ReasonFlags.certificate_hold)
    report = await verdict(forge, good, held)
    assert report.verdict is Verdict.FAILED
    assert "suspended-then" in reasons(report)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"this": -timedelta(days=3), "until": -timedelta(days=2)}, "evidence-before-certificate"),
        ({"this": timedelta(hours=2), "until": timedelta(hours=3)}, "evidence-from-the-future"),
        ({"this": -timedelta(minutes=20), "until": -timedelta(minutes=15)}, "evidence-stale"),
    ],
)
async def test_stale_or_impossible_status_data_do_not_count(forge, good, options, reason):
    """EN 319 102-1 5.2.5 (freshness); thisUpdate must not lie before the certificate it speaks of."""
    moments = {key: forge.now + delta for key, delta in options.items()}
    report = await verdict(forge, good, forge.evidence(**moments))
    assert report.verdict is Verdict.UNDETERMINED
    assert reason in reasons(report)


async def test_a_crl_signed_by_another_key_does_not_count(forge, good):
    report = await verdict(forge, good, forge.evidence(key=ec.generate_private_key(ec.SECP256R1())))
    assert report.verdict is Verdict.UNDETERMINED
    assert "crl-signature-wrong" in reasons(report)


# --- the signature itself --------------------------------------------------------------------------------------------


async def test_a_pades_signature_without_ess_does_not_pass(forge, alice):
    """ETSI EN 319 142-1 6.3: signing-certificate is required."""
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, ess=None, timestamp="ok"))
    assert report.signatures[0].sub_indication is Sub.NO_SIGNING_CERTIFICATE_FOUND
    assert report.signatures[0].level is None


async def test_an_ess_that_names_another_certificate_does_not_pass(forge, alice):
    """RFC 5035: the attribute binds one certificate; any other is substitution."""
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, ess=forge.signer("Kẻ khác"), timestamp="ok"))
    assert report.verdict is Verdict.UNDETERMINED
    assert "ess-other-certificate" in reasons(report)


async def test_certificate_confusion_picks_the_bound_certificate(forge, alice):
    """Two certificates with the same issuer and serial in the CMS: only the one that ESS binds is the signer's."""
    key = ec.generate_private_key(ec.SECP256R1())
    fake_ca = Ca(
        forge.world.issue(key.public_key(), forge.world.issuing.certificate.subject, None, ca=True, key=key), key
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("Kẻ mạo danh"))
        .issuer_name(fake_ca.certificate.subject)
        .public_key(alice.key.public_key())
        .serial_number(alice.certificate.serial_number)
        .not_valid_before(alice.certificate.not_valid_before_utc)
        .not_valid_after(alice.certificate.not_valid_after_utc)
    )
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    double = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    pdf = forge.sign(pdfs.minimal(), alice, timestamp="ok", certificates=[double, alice.der, forge.world.issuing.der])
    report = await verdict(forge, pdf)
    assert report.signatures[0].certificate.subject.name == "Nguyễn Thị Phương Thảo"
    assert report.verdict is Verdict.PASSED, reasons(report)


async def test_a_signature_without_signed_attributes_does_not_pass(forge, alice):
    """EN 319 102-1 5.2.3; a bare signature binds neither certificate nor content type."""
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, attributes=False, sub_filter=PLAIN))
    assert report.verdict is Verdict.UNDETERMINED
    assert "no-signed-attributes" in reasons(report)


async def test_encapsulated_content_is_refused(forge, alice):
    """ETSI EN 319 142-1 6.3: no data shall be encapsulated; a reader could show that instead."""
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, encapsulate=True))
    assert (report.verdict, report.integrity) == (Verdict.FAILED, Integrity.BROKEN)
    assert "content-encapsulated" in reasons(report)


@pytest.mark.parametrize("digest", ["sha1", "md5"])
async def test_broken_digests_fail(forge, digest):
    """Circular 15/2025/TT-BKHCN App. I; SHA-1 and MD5 collisions are practical."""
    signer = forge.signer(key=rsa.generate_private_key(65537, 2048))
    report = await verdict(forge, forge.sign(pdfs.minimal(), signer, digest=digest))
    assert (report.verdict, report.signatures[0].sub_indication) == (Verdict.FAILED, Sub.CRYPTO_CONSTRAINTS_FAILURE)


async def test_short_rsa_keys_fail(forge):
    """Circular 15/2025/TT-BKHCN App. I: RSA of at least 2048 bit."""
    signer = forge.signer(key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - that is the attack
    report = await verdict(forge, forge.sign(pdfs.minimal(), signer, timestamp="ok"))
    assert (report.verdict, report.signatures[0].sub_indication) == (Verdict.FAILED, Sub.CRYPTO_CONSTRAINTS_FAILURE)


async def test_ecdsa_224_is_undetermined(forge):
    """Circular 15/2025/TT-BKHCN App. I: ECDSA of at least 256 bit."""
    signer = forge.signer(key=ec.generate_private_key(ec.SECP224R1()))
    report = await verdict(forge, forge.sign(pdfs.minimal(), signer, timestamp="ok"))
    assert report.verdict is Verdict.UNDETERMINED
    assert "algorithm-unlisted" in reasons(report)


async def test_a_certificate_that_had_expired_fails(forge):
    """App. II 1.1: the signing time lies within notBefore and notAfter."""
    signer = forge.signer(not_before=forge.now - timedelta(minutes=29), not_after=forge.now - timedelta(minutes=12))
    report = await verdict(forge, forge.sign(pdfs.minimal(), signer, timestamp="ok"))
    assert (report.verdict, report.signatures[0].sub_indication) == (Verdict.FAILED, Sub.EXPIRED)


async def test_an_authority_may_not_sign_documents(forge):
    """App. II 1.4: scope of use."""
    signer = Ca(forge.world.issuing.certificate, forge.world.issuing.key)
    report = await verdict(forge, forge.sign(pdfs.minimal(), signer, timestamp="ok"))
    assert report.verdict is not Verdict.PASSED
    assert "is-an-authority" in reasons(report)


async def test_a_certificate_of_another_root_is_undetermined(forge):
    stranger = Forge()
    report = await verdict(forge, stranger.sign(pdfs.minimal(), stranger.signer(), timestamp="ok"))
    assert report.verdict is Verdict.UNDETERMINED


# --- time: verification.md 5; RFC 3161; EN 319 102-1 5.4 --------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("future", "time-in-the-future"),
        ("past", "not-yet-valid"),
        ("wrong-imprint", "imprint-differs"),
        ("bad-signature", "signature-does-not-fit"),
        ("other-root", "no-path"),
        ("no-eku", "not-for-timestamps"),
        ("wrong-ess", "ess-other-certificate"),
        ("no-certificate", "no-signing-certificate"),
    ],
)
async def test_a_forged_or_impossible_timestamp_is_never_green(forge, alice, mode, reason):
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, timestamp=mode))
    (one,) = report.signatures
    assert report.verdict is Verdict.UNDETERMINED
    assert one.timestamp_trusted is False
    assert one.integrity is Integrity.INTACT
    assert one.proven_time is None
    assert reason in reasons(report)


async def test_a_content_timestamp_is_told_and_proves_nothing_of_the_signature(forge, alice):
    """ETSI EN 319 122-1 5.2.8: what it stamps existed before; the signature may be younger."""
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, content_timestamp="ok"))
    (one,) = report.signatures
    assert [(each.kind, each.trusted) for each in one.timestamps] == [("content", True)]
    assert (one.proven_time, one.timestamp_trusted) == (None, None)
    assert report.verdict is Verdict.PASSED, reasons(report)


async def test_a_content_timestamp_over_other_content_is_never_green(forge, alice):
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, content_timestamp="wrong-imprint"))
    assert report.verdict is Verdict.UNDETERMINED
    assert reasons(report) >= {"imprint-differs", "timestamp-broken"}


async def test_content_stamped_after_the_signature_was_proven_is_not_believed(forge, alice):
    """ETSI EN 319 102-1 5.5: a content timestamp is older than the signature that holds it."""
    pdf = forge.sign(
        pdfs.minimal(),
        alice,
        content_timestamp="ok",
        timestamp="ok",
        timestamp_offset=-timedelta(minutes=15),
    )
    (one,) = (await verdict(forge, pdf)).signatures
    assert [(each.kind, each.trusted) for each in one.timestamps] == [("signature", True), ("content", False)]


async def test_a_copied_timestamp_does_not_fit(forge, alice):
    """RFC 3161: the imprint is that of this signature value, not of another's."""
    from asn1crypto import cms

    first = forge.sign(pdfs.minimal(), alice, timestamp="ok")
    stolen = cms.ContentInfo.load(_field_of(first).contents.rstrip(b"\0") + b"\0" * 8, strict=False)
    token = stolen["content"]["signer_infos"][0]["unsigned_attrs"][0]["values"][0]

    original = forge.token
    forge.token = lambda *_: token
    try:
        pdf = forge.sign(pdfs.minimal("Another contract"), alice, timestamp="ok")
    finally:
        del forge.token
    assert forge.token == original
    report = await verdict(forge, pdf)
    assert report.verdict is Verdict.UNDETERMINED
    assert "imprint-differs" in reasons(report)


async def test_a_good_document_timestamp_proves_the_time(forge, alice):
    stamped = forge.stamp(forge.sign(pdfs.minimal(), alice))
    report = await verdict(forge, stamped)
    assert report.verdict is Verdict.PASSED, reasons(report)
    assert report.signatures[0].proven_time == report.timestamps[0].time


@pytest.mark.parametrize("mode", ["wrong-imprint", "bad-signature"])
async def test_a_broken_document_timestamp_fails_the_file(forge, good, mode):
    report = await verdict(forge, forge.stamp(good, mode))
    assert (report.verdict, report.integrity) == (Verdict.FAILED, Integrity.BROKEN)


async def test_a_document_timestamp_older_than_what_it_covers_is_not_trusted(forge, good):
    """EN 319 102-1 5.6.2.4: time runs forward from revision to revision."""
    report = await verdict(forge, forge.stamp(good, "ok", timedelta(minutes=-20)))
    assert report.verdict is Verdict.UNDETERMINED
    assert "later-than-what-covers-it" in reasons(report)


# --- the bytes: ISO 32000-2 12.8.1 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        b"\nx",
        b"1 0 obj\n<</Type/Catalog/Pages 99 0 R>>\nendobj\n",
        b"1 0 obj\n<</Type/Catalog/Pages 99 0 R>>\nendobj\nxref\n0 0\ntrailer\n<</Root 1 0 R>>\nstartxref\n0\n%%EOF\n",
        b"%%EOF\n1 0 obj\n<<>>\nendobj\n%%EOF\n",
    ],
)
async def test_anything_after_the_last_revision_is_a_change(forge, good, tail):
    """Tail rule; the published incremental saving attack lets viewers rebuild such a tail."""
    report = await verdict(forge, good + tail)
    assert report.verdict is Verdict.FAILED
    assert report.integrity in (Integrity.CHANGED, Integrity.BROKEN)
    assert any(not change.allowed for one in report.signatures for change in one.changes)


async def test_whitespace_after_the_end_is_no_change(forge, good):
    assert (await verdict(forge, good + b"\r\n \n")).verdict is Verdict.PASSED
    assert (await verdict(forge, good + b"\n" * 900)).verdict is Verdict.PASSED


@pytest.mark.parametrize("blank", [b"\n", b"\0", b" \r\n"])
async def test_so_much_whitespace_that_a_viewer_mends_the_file_is_a_change(forge, alice, blank):
    """ISO 32000-1 annex H.3, note 18. Shadow attack: the content stream is defined again where no cross-reference
    leads, before signing; with 30 kB of white space behind the signature PDFium and Poppler show it.
    """
    pdf = two_readings.made("a content stream")
    signed = forge.sign(pdf, alice, timestamp="ok")
    with pypdfium2.PdfDocument(signed + blank * 30_000) as shown:
        assert shown[0].get_textpage().get_text_range() == two_readings.SHOWN
    report = await verdict(forge, signed + blank * 30_000)
    assert (report.verdict, report.integrity) == (Verdict.FAILED, Integrity.CHANGED)
    assert "tail-far-end" in reasons(report)


@pytest.mark.parametrize(
    "trailer",
    [b"", b"/Info 98 0 R", b"/XRefStm 9"],
    ids=["none", "an object that is not there", "a stream that is none"],
)
async def test_what_a_mending_viewer_would_show_is_never_green(forge, alice, trailer):
    """Shadow attack in two steps: another definition lies in what was signed, and a revision of nothing, with a fault
    that only some readers stumble over, brings it to light. Each of these was green; Poppler showed 9000 EUR.
    """
    signed = forge.sign(two_readings.made("a content stream"), alice, timestamp="ok")
    if trailer:
        root = re.findall(rb"/Root \d+ 0 R", signed)[-1]
        previous = int(re.findall(rb"startxref\s+(\d+)", signed)[-1])
        at = len(signed) + 1
        signed += b"\nxref\n0 0\ntrailer\n<</Size 99 %b %b/Prev %d>>\n" % (root, trailer, previous)
        signed += b"startxref\n%d\n%%%%EOF\n" % at
    report = await verdict(forge, signed)
    assert report.verdict is not Verdict.PASSED
    assert "defined-again" in reasons(report)


async def test_another_definition_in_an_object_stream_is_never_green(forge, alice):
    """PDFium, mending, takes what any object stream holds."""
    signed = forge.sign(two_readings.in_another_stream(), alice, timestamp="ok")
    with pypdfium2.PdfDocument(signed + b"\n" * 30_000) as shown:
        assert shown[0].get_textpage().get_text_range() == two_readings.SHOWN
    report = await verdict(forge, signed)
    assert report.verdict is not Verdict.PASSED
    assert "defined-again" in reasons(report)


async def test_an_end_far_from_its_startxref_is_a_change(forge, good):
    """The same within a permitted revision: white space between its startxref, the offset and %%EOF."""
    stored = with_store(good, forge.evidence())
    assert (await verdict(forge, stored)).verdict is Verdict.PASSED
    apart = stored.rstrip().removesuffix(b"%%EOF") + b" " * 1_100 + b"%%EOF\n"
    assert (await verdict(forge, apart)).verdict is Verdict.FAILED


async def test_swapped_page_content_is_changed_and_names_the_page(forge, good):
    writer = IncrementalPdfFileWriter(BytesIO(good))
    page = writer.root["/Pages"]["/Kids"][0]
    stream = generic.StreamObject(stream_data=b"BT /F1 12 Tf 20 20 Td (Rent: 9000) Tj ET")
    page[generic.NameObject("/Contents")] = writer.add_object(stream)
    writer.update_container(page)
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert (report.verdict, report.integrity) == (Verdict.FAILED, Integrity.CHANGED)
    assert ("page-content", 1, False) in {
        (change.what, change.page, change.allowed) for change in report.signatures[0].changes
    }


async def test_an_overwritten_content_stream_is_changed(forge, good):
    """Shadow attack, replace: an object that the page uses is written over; the page itself is not touched."""
    writer = IncrementalPdfFileWriter(BytesIO(good))
    page = writer.root["/Pages"]["/Kids"][0]
    stream = page["/Contents"]
    stream._data = b"BT /F1 12 Tf 20 20 Td (Rent: 9000) Tj ET"
    stream._encoded_data = None
    writer.update_container(stream)
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert (report.verdict, report.integrity) == (Verdict.FAILED, Integrity.CHANGED)


async def test_an_added_annotation_is_changed(forge, good):
    """EAA / SSA: an annotation may cover what was signed."""
    writer = IncrementalPdfFileWriter(BytesIO(good))
    page = writer.root["/Pages"]["/Kids"][0]
    note = generic.DictionaryObject(
        {
            generic.NameObject("/Type"): generic.NameObject("/Annot"),
            generic.NameObject("/Subtype"): generic.NameObject("/FreeText"),
            generic.NameObject("/Rect"): generic.ArrayObject([generic.NumberObject(each) for each in (0, 0, 300, 300)]),
        }
    )
    annotations = generic.ArrayObject([*page.get("/Annots", generic.ArrayObject()), writer.add_object(note)])
    page[generic.NameObject("/Annots")] = annotations
    writer.update_container(page)
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert (report.verdict, report.integrity) == (Verdict.FAILED, Integrity.CHANGED)


def _field_of(pdf: bytes):
    (field,) = Document.open(pdf).signatures
    return field


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
async def test_a_damaged_signature_value_is_broken(forge, good, damage):
    start = good.index(b"/Contents <30") + len(b"/Contents <")
    value = bytearray(good)
    if damage == "truncate":
        end = good.index(b">", start)
        value[start + 400 : end] = b"0" * (end - start - 400)
    elif damage == "flip":
        at = good.index(b"0", start + 1000)
        value[at] = ord("1")
    else:
        end = good.index(b">", start)
        value[start:end] = b"0" * (end - start)
    report = await verdict(forge, bytes(value))
    assert report.verdict is not Verdict.PASSED
    if damage != "flip":
        assert report.integrity is Integrity.BROKEN


@pytest.mark.parametrize("place", ["before", "after"])
async def test_one_flipped_bit_in_the_signed_bytes_is_broken(forge, good, place):
    at = good.index(b"A contract") if place == "before" else good.rindex(b"/Root")
    changed = bytearray(good)
    changed[at] ^= 0x20
    report = await verdict(forge, bytes(changed))
    assert report.verdict is not Verdict.PASSED
    assert report.integrity is not Integrity.INTACT


def _with_range(pdf: bytes, text: bytes) -> bytes:
    start = pdf.index(b"/ByteRange [") + len(b"/ByteRange [")
    end = pdf.index(b"]", start)
    return pdf[:start] + text.ljust(end - start) + pdf[end:]


async def test_byte_range_arithmetic_is_refused(forge, good):
    """Coverage is not a sum: [0 0 X L] and its kin sign something else than they seem to."""
    size = len(good)
    for values in (
        (0, 0, 100, size - 100),
        (0, size, size, 0),
        (1, 100, 200, size - 200),
        (0, 100, 50, size),
        (0, 10, 20, size * 2),
        (0, 10, 20),
        (0, -5, 20, size),
    ):
        report = await verdict(forge, _with_range(good, " ".join(map(str, values)).encode()))
        assert report.verdict is Verdict.FAILED, values
        assert report.integrity is Integrity.BROKEN, values


async def test_a_widened_gap_is_refused(forge, alice):
    """Gap rule: between the ranges stands exactly one hex string; whoever leaves more room cannot fill it later."""

    pdf = forge.sign(pdfs.minimal(), alice, timestamp="ok")
    start = pdf.index(b"/ByteRange [") + len(b"/ByteRange [")
    end = pdf.index(b"]", start)
    _, length, second, rest = (int(word) for word in pdf[start:end].split())
    for values in (
        (0, length - 1, second, rest),
        (0, length, second + 1, rest - 1),
        (0, length - 10, second + 10, rest - 10),
    ):
        report = await verdict(forge, _with_range(pdf, " ".join(map(str, values)).encode()))
        assert report.integrity is Integrity.BROKEN
        assert "gap-not-one-hex-string" in reasons(report)


async def test_a_literal_string_in_the_gap_is_refused(forge, good):
    start = good.index(b"/Contents <30") + len(b"/Contents ")
    end = good.index(b">", start)
    changed = bytearray(good)
    changed[start], changed[end] = ord("("), ord(")")
    report = await verdict(forge, bytes(changed))
    assert report.integrity is not Integrity.INTACT
    assert report.verdict is not Verdict.PASSED


async def test_a_copy_of_the_signature_in_a_later_revision_is_refused(forge, good):
    """The dictionary that is judged must hold the gap: a copied one with the same ByteRange stands outside it."""
    writer = IncrementalPdfFileWriter(BytesIO(good))
    field = writer.root["/AcroForm"]["/Fields"][0]
    original = field["/V"]
    copy = generic.DictionaryObject({key: original.raw_get(key) for key in original})
    field[generic.NameObject("/V")] = writer.add_object(copy)
    writer.update_container(field)
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert report.verdict is Verdict.FAILED
    assert report.integrity is not Integrity.INTACT


async def test_a_form_value_filled_anew_is_permitted_and_leaves_a_doubt(forge, alice):
    """ISO 32000-2 12.8.2: nothing locks the field, so it may be filled; that the signer would agree nobody can tell."""
    writer = IncrementalPdfFileWriter(BytesIO(pdfs.minimal()))
    field = generic.DictionaryObject(
        {
            generic.pdf_name("/FT"): generic.pdf_name("/Tx"),
            generic.pdf_name("/T"): generic.pdf_string("amount"),
            generic.pdf_name("/V"): generic.pdf_string("900"),
        }
    )
    form = generic.DictionaryObject({generic.pdf_name("/Fields"): generic.ArrayObject([writer.add_object(field)])})
    writer.root[generic.pdf_name("/AcroForm")] = writer.add_object(form)
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    signed = forge.sign(out.getvalue(), alice, timestamp="ok")
    assert (await verdict(forge, signed)).verdict is Verdict.PASSED
    later = IncrementalPdfFileWriter(BytesIO(signed))
    amount = later.root["/AcroForm"]["/Fields"][0]
    amount[generic.pdf_name("/V")] = generic.pdf_string("9000")
    later.update_container(amount)
    out = BytesIO()
    later.write(out)
    report = await verdict(forge, out.getvalue())
    (one,) = report.signatures
    assert (one.integrity, one.verdict) == (Integrity.INTACT, Verdict.UNDETERMINED)
    # pyHanko notes the second at which it writes, which may be another one: metadata, which may change.
    changes = [(change.what, change.detail, change.allowed) for change in one.changes if change.what != "metadata"]
    assert changes == [("form-value-replaced", "amount", True)]
    assert "form-value-replaced" in reasons(report)


async def test_a_signature_taken_out_of_the_form_is_still_seen(forge, good):
    """Every signature gets a line, also one that the document no longer lists."""
    writer = IncrementalPdfFileWriter(BytesIO(good))
    form = writer.root["/AcroForm"]
    form[generic.NameObject("/Fields")] = generic.ArrayObject()
    writer.update_container(form)
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert report.verdict is Verdict.FAILED
    assert [one.kind for one in report.signatures] == ["unlisted"]


async def test_one_value_under_two_fields_is_judged_once_and_both_are_named(forge, good):
    writer = IncrementalPdfFileWriter(BytesIO(good))
    form = writer.root["/AcroForm"]
    first = form["/Fields"][0]
    twin = generic.DictionaryObject(
        {
            generic.NameObject("/FT"): generic.NameObject("/Sig"),
            generic.NameObject("/T"): generic.TextStringObject("twin"),
            generic.NameObject("/V"): first.raw_get("/V"),
        }
    )
    form["/Fields"].append(writer.add_object(twin))
    writer.update_container(form["/Fields"])
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert len(report.signatures) == 1
    assert any(finding.reason == "value-shared" for finding in report.signatures[0].findings)


@pytest.mark.parametrize("sub_filter", ["adbe.pkcs7.sha1", "adbe.x509.rsa_sha1", "vnd.unknown.v1"])
async def test_other_kinds_of_signatures_get_a_line_and_never_pass(forge, alice, good, sub_filter):
    text = b"/SubFilter /ETSI.CAdES.detached"
    changed = good.replace(text, b"/SubFilter /" + sub_filter.encode().ljust(len(text) - 12)[: len(text) - 12])
    report = await verdict(forge, changed)
    assert len(report.signatures) == 1
    assert report.verdict is not Verdict.PASSED


async def test_a_bad_field_does_not_hide_the_others(forge, good):
    writer = IncrementalPdfFileWriter(BytesIO(good))
    form = writer.root["/AcroForm"]
    broken = generic.DictionaryObject(
        {
            generic.NameObject("/FT"): generic.NameObject("/Sig"),
            generic.NameObject("/T"): generic.TextStringObject("broken"),
            generic.NameObject("/V"): writer.add_object(
                generic.DictionaryObject({generic.NameObject("/Type"): generic.NameObject("/Sig")})
            ),
        }
    )
    form["/Fields"].append(writer.add_object(broken))
    writer.update_container(form["/Fields"])
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    report = await verdict(forge, out.getvalue())
    assert {one.field for one in report.signatures} == {"buyer", "broken"}
    assert report.integrity is Integrity.BROKEN


async def test_validation_data_torn_out_lowers_the_level(forge, alice):
    """ETSI EN 319 142-1 6.3: LT needs the validation data in the file; without them it is not green offline."""
    pdf = forge.sign(pdfs.minimal(), alice, timestamp="ok")
    with_data = with_store(pdf, forge.evidence())
    kept = await verdict(forge, with_data, Brought())
    assert (kept.verdict, kept.signatures[0].level) == (Verdict.PASSED, "PAdES-BASELINE-LT"), reasons(kept)
    stamped = await verdict(forge, forge.stamp(with_data), Brought())
    assert stamped.signatures[0].level == "PAdES-BASELINE-LTA"
    assert stamped.verdict is Verdict.PASSED, reasons(stamped)
    torn = await verdict(forge, pdf, Brought())
    assert (torn.verdict, torn.signatures[0].level) == (Verdict.UNDETERMINED, "PAdES-BASELINE-T")


async def test_a_dss_of_the_signatures_own_revision_does_not_make_it_lt(forge, alice):
    """The DSS must come in a revision after the signature it serves."""
    before = with_store(pdfs.minimal(), forge.evidence())
    report = await verdict(forge, forge.stamp(forge.sign(before, alice, timestamp="ok")), Brought())
    assert report.signatures[0].level == "PAdES-BASELINE-T"


async def test_a_signing_time_attribute_is_no_baseline_signature(forge, alice):
    """ETSI EN 319 142-1 6.3: signing-time shall not be present; the claimed time is /M."""
    report = await verdict(forge, forge.sign(pdfs.minimal(), alice, signing_time=forge.now))
    assert report.signatures[0].level is None


async def test_a_certificate_without_document_purpose_does_not_pass(forge):
    """App. II 1.5: extended key usage."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signer = forge.signer(eku=[ExtendedKeyUsageOID.SERVER_AUTH])
    report = await verdict(forge, forge.sign(pdfs.minimal(), signer, timestamp="ok"))
    assert report.verdict is Verdict.UNDETERMINED
    assert "purpose-does-not-fit" in reasons(report)
    assert DOCUMENT_SIGNING.dotted_string == "1.3.6.1.5.5.7.3.36"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not-a-pdf"),
        (b"hello", "not-a-pdf"),
        (b"%PDF-1.7\n", "pdf-unreadable"),
        (b"%PDF-1.7\n" + b"\x00" * 5000, "pdf-unreadable"),
    ],
)
async def test_what_is_no_pdf_is_unreadable_with_a_reason(forge, data, reason):
    report = await verdict(forge, data)
    assert (report.integrity, report.verdict) == (Integrity.UNREADABLE, Verdict.UNDETERMINED)
    assert {finding.reason for finding in report.findings} == {reason}


@pytest.mark.parametrize("name", sorted(pdfs.good()))
async def test_unsigned_files_of_many_producers_are_unsigned(forge, name):
    report = await verdict(forge, pdfs.good()[name])
    assert report.integrity is Integrity.UNSIGNED


async def test_nothing_that_is_cut_off_anywhere_ever_passes_or_raises(forge, good):
    for end in range(0, len(good), 397):
        report = await verdict(forge, good[:end])
        assert report.verdict is not Verdict.PASSED
