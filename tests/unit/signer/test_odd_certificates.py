"""What others send the signer in X.509: what cannot be read to the end is refused or proves nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from events.errors import Refused
from events.values import Digest
from services.runtime.outbound import Outbound
from services.signer.adapters.answers import Checks, Unusable, judge_crl, judge_ocsp
from services.signer.adapters.chains import load_anchors, verify_by_identifier
from services.signer.adapters.der import OCTETS, SEQUENCE, tlv
from services.signer.adapters.fast.cms import signatory
from services.signer.adapters.status import OnlineStatus
from services.signer.model import Role, Standing, StatusRow
from tests.support import pki
from tests.support.clocks import StillClock
from tests.support.odd_certificates import EXTENDED, KEYED, ODD, WHOLLY, as_pem, signed_again

ROOT = pki.issue("An authority", ca=True)
LEAF = pki.issue("Somebody", ROOT)
BLANK = StatusRow(Role.SIGNER, Digest.of(LEAF.der), Standing.UNKNOWN, "none", pki.NOON)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280 clause 4.1.2.5: the end of what has no end."""


def status(out: Outbound) -> OnlineStatus:
    return OnlineStatus(out, [ROOT.issued], StillClock(pki.NOON))


def by_ocsp(body: bytes) -> StatusRow:
    return judge_ocsp(body, LEAF.issued, ROOT.issued, BLANK, nonce=None, oldest=timedelta(2), checks=Checks())


def by_crl(body: bytes) -> StatusRow:
    return judge_crl(body, LEAF.issued, ROOT.issued, BLANK, checks=Checks())[0]


@pytest.mark.parametrize("kind", ODD)
async def test_a_signers_chain_with_one_is_refused(kind):
    """RFC 5280 clauses 4.1.2.1, 4.1.2.4, 4.1.2.5, 4.2."""
    async with Outbound() as out:
        with pytest.raises(Refused) as of_the_signer:
            await status(out).check((ODD[kind](LEAF.der), ROOT.der))
        allowed = ("certificate-malformed", "certificate-not-trusted")  # the key is nobody's until its path is built
        assert of_the_signer.value.code in allowed


@pytest.mark.parametrize("kind", EXTENDED)
async def test_an_issuer_with_such_extensions_is_none(kind):
    middle = pki.issue("Between", ROOT, ca=True)
    leaf = pki.issue("Somebody", middle)
    async with Outbound() as out:
        with pytest.raises(Refused, match="certificate-not-trusted"):
            await status(out).check((leaf.der, EXTENDED[kind](middle.der)))


@pytest.mark.parametrize("kind", WHOLLY)
def test_a_root_that_is_none_is_named(tmp_path, kind):
    (tmp_path / "good.pem").write_text(as_pem(ROOT.der))
    (tmp_path / "odd.pem").write_text(as_pem(WHOLLY[kind](ROOT.der)))
    with pytest.raises(Refused, match=r"odd\.pem"):
        load_anchors(tmp_path)


async def test_an_address_in_a_certificate_that_is_none_leaves_its_status_unknown():
    """Fail closed: an unknown status is said, it is no fault of ours and no good one either."""
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://[odd"))]
    )
    points = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://odd:99999/")], None, None, None)]
    )
    leaf = pki.issue("Somebody", ROOT, extensions=((access, False), (points, False)))
    async with Outbound() as out:
        found = await status(out).check((leaf.der,))
    assert found.rows[0].standing is Standing.UNKNOWN
    assert (found.rows[0].why_unknown or "").count("an address that cannot be read") == 2


def _carrying(response: bytes, certificate: bytes) -> bytes:
    """The same answer with this certificate in it, which its signature does not cover (RFC 6960 clause 4.2.1)."""
    basic = asn1_ocsp.OCSPResponse.load(response).basic_ocsp_response
    parts = [basic[part].dump() for part in ("tbs_response_data", "signature_algorithm", "signature")]
    octets = tlv(SEQUENCE, *parts, tlv(0xA0, tlv(SEQUENCE, certificate)))
    kind = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
    return tlv(SEQUENCE, bytes.fromhex("0a0100"), tlv(0xA0, tlv(SEQUENCE, kind, tlv(OCTETS, octets))))


@pytest.mark.parametrize("kind", ODD)
def test_a_responder_with_one_says_nothing(kind):
    """RFC 6960 clause 4.2.2.2: only whom the issuer named, by a certificate that says so."""
    named = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False), (x509.OCSPNoCheck(), False)
    responder = pki.issue("A responder", ROOT, extensions=named)
    good = pki.response(LEAF, ROOT, responder, by_key=True)
    assert by_ocsp(good).standing is Standing.GOOD
    assert by_ocsp(_carrying(good, signed_again(responder.der, ROOT.key))).standing is Standing.GOOD
    with pytest.raises(Unusable):
        by_ocsp(_carrying(good, signed_again(ODD[kind](responder.der), ROOT.key)))


def test_an_answer_that_lasts_to_the_end_of_time_is_an_answer():
    assert by_ocsp(pki.response(LEAF, ROOT, until=LAST)).standing is Standing.GOOD
    assert by_crl(pki.revocation_list(ROOT, until=LAST)).standing is Standing.GOOD


def test_an_ocsp_answer_with_an_extension_twice_says_nothing():
    """RFC 6960 clause 4.4: extensions as RFC 5280 clause 4.2 has them, of each kind at most one."""
    good = asn1_ocsp.OCSPResponse.load(pki.response(LEAF, ROOT))
    basic = good["response_bytes"]["response"].parsed
    nonce = {"extn_id": "nonce", "extn_value": b"\x04\x08" + bytes(8)}
    basic["tbs_response_data"]["response_extensions"] = [nonce, nonce]
    signed = ROOT.key.sign(basic["tbs_response_data"].dump(force=True), ec.ECDSA(hashes.SHA256()))
    basic["signature"] = asn1_ocsp.OctetBitString(signed)
    with pytest.raises(Unusable, match="cannot be read"):
        by_ocsp(good.dump(force=True))


def _list(change) -> bytes:
    found = asn1_crl.CertificateList.load(
        pki.revocation_list(ROOT, {LEAF.issued.serial_number: pki.NOON}, reason=x509.ReasonFlags.superseded)
    )
    change(found["tbs_cert_list"])
    signed = ROOT.key.sign(found["tbs_cert_list"].dump(force=True), ec.ECDSA(hashes.SHA256()))
    found["signature"] = asn1_crl.OctetBitString(signed)
    return bytes(found.dump(force=True))


def _twice(extensions) -> None:
    extensions.append(extensions[0].copy())


@pytest.mark.parametrize(
    "change",
    [
        lambda tbs: tbs.__setitem__("version", 7),
        lambda tbs: _twice(tbs["crl_extensions"]),
        lambda tbs: _twice(tbs["revoked_certificates"][0]["crl_entry_extensions"]),
    ],
)
def test_a_crl_that_cannot_be_read_to_the_end_says_nothing(change):
    """RFC 5280 clauses 5.1.2.1, 5.2, 5.3: version 2, and of each kind of extension at most one."""
    assert by_crl(_list(lambda tbs: None)).standing is Standing.REVOKED
    with pytest.raises(Unusable, match="a CRL that cannot be read"):
        by_crl(_list(change))


@pytest.mark.parametrize("kind", WHOLLY | KEYED)
def test_a_signatory_without_a_certificate_that_can_be_read_is_none(kind):
    with pytest.raises(Refused, match="certificate-malformed"):
        signatory(ODD[kind](LEAF.der))


def test_an_identifier_of_an_algorithm_is_not_kept_where_it_is_long():
    """RFC 5758 clause 3.2: ECDSA's has no parameters; whoever answers for a CRL could have us remember megabytes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = bytes.fromhex("06082a8648ce3d040302")
    signature = key.sign(b"said", ec.ECDSA(hashes.SHA256()))
    verify_by_identifier(key.public_key(), signature, b"said", tlv(SEQUENCE, name), "")
    with pytest.raises(UnsupportedAlgorithm, match="an identifier of 215 octets"):
        verify_by_identifier(key.public_key(), signature, b"said", tlv(SEQUENCE, name, tlv(OCTETS, bytes(199))), "")
