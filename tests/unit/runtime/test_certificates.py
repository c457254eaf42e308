"""X.509 of others: whatever cannot be read is a ValueError, when it is read or when it is asked."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import csr as asn1_csr
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.certificates import all_in, extensions_of, from_der, from_pem, key_of, request, revocation_list
from tests.support import pki
from tests.support.odd_certificates import EXTENDED, KEYED, WHOLLY, as_pem

GOOD = pki.issue("Somebody")
PEM = GOOD.issued.public_bytes(Encoding.PEM)
CRL = pki.revocation_list(pki.issue("An authority", ca=True), {7: pki.NOON}, reason=x509.ReasonFlags.superseded)
CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([]))
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    .add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"challenge")
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    .public_bytes(Encoding.DER)
)


def test_what_can_be_read():
    assert from_der(GOOD.der) == from_pem(PEM) == all_in(GOOD.der)[0] == GOOD.issued
    assert all_in(b"# two of them\n" + PEM + PEM) == [GOOD.issued, GOOD.issued]
    assert key_of(GOOD.issued) == GOOD.key.public_key()
    assert extensions_of(GOOD.issued).get_extension_for_class(x509.KeyUsage).critical
    asked = request(as_pem(CSR, "CERTIFICATE REQUEST").encode())
    assert asked.is_signature_valid
    assert key_of(asked) == asked.public_key()
    assert revocation_list(CRL) == revocation_list(as_pem(CRL, "X509 CRL").encode())


def test_a_long_name_of_vietnamese_letters_is_read_and_nobody_is_warned():
    """RFC 5280 app. A.1: ub-common-name is 64 characters, whatever octets they take."""
    with warnings.catch_warnings(action="ignore"):
        common = x509.NameAttribute(x509.NameOID.COMMON_NAME, "ầ" * 64, _validate=False)
        long = pki.issue(x509.Name([common]))
    assert from_der(long.der) == long.issued


@pytest.mark.parametrize("kind", WHOLLY)
def test_no_certificate_at_all(kind):
    """RFC 5280 clauses 4.1.2.1 (v1, v2 or v3), 4.1.2.4 (names are strings), 4.1.2.5 (times are times)."""
    odd = WHOLLY[kind](GOOD.der)
    for read, octets in ((from_der, odd), (from_pem, as_pem(odd).encode()), (all_in, odd)):
        with pytest.raises(ValueError, match="no certificate that can be read"):
            read(octets)
    with pytest.raises(ValueError, match="no certificate that can be read"):
        all_in(PEM + as_pem(odd).encode())


@pytest.mark.parametrize("kind", EXTENDED)
def test_extensions_that_cannot_be_read_are_said_when_asked_for(kind):
    """RFC 5280 clause 4.2: "A certificate MUST NOT include more than one instance of a particular extension"."""
    read = from_der(EXTENDED[kind](GOOD.der))
    with pytest.raises(ValueError, match="no extension that can be read"):
        extensions_of(read)


@pytest.mark.parametrize("kind", KEYED)
def test_a_key_that_cannot_be_read_is_said_when_asked_for(kind):
    read = from_der(KEYED[kind](GOOD.der))
    with pytest.raises(ValueError, match="no public key that can be read"):
        key_of(read)


def test_a_request_of_a_version_that_does_not_exist():
    """RFC 2986 clause 4.1: "It shall be 0 for this version of the standard"."""
    found = asn1_csr.CertificationRequest.load(CSR)
    found["certification_request_info"]["version"] = 3
    with pytest.raises(ValueError, match="no certification request that can be read"):
        request(as_pem(found.dump(force=True), "CERTIFICATE REQUEST").encode())


def test_a_crl_of_a_version_that_does_not_exist():
    """RFC 5280 clause 5.1.2.1: "this field MUST be present and MUST specify version 2"."""
    at = CRL.index(bytes.fromhex("020101"))
    with pytest.raises(ValueError, match="no CRL that can be read"):
        revocation_list(CRL[: at + 2] + b"\x07" + CRL[at + 3 :])


def test_an_extension_twice_in_an_entry_of_a_crl():
    """RFC 5280 clause 5.3 takes over clause 4.2: at most one of a kind."""
    found = asn1_crl.CertificateList.load(CRL)
    said = found["tbs_cert_list"]["revoked_certificates"][0]["crl_entry_extensions"]
    said.append(said[0].copy())
    (entry,) = revocation_list(found.dump(force=True))
    with pytest.raises(ValueError, match="no extension that can be read"):
        extensions_of(entry)


@given(st.binary(max_size=300))
def test_garbage(raw):
    for read in (from_der, from_pem, all_in, request, revocation_list):
        with pytest.raises(ValueError, match="that can be read"):
            read(raw)


@given(st.sampled_from([GOOD.der, CSR, CRL]), st.data())
def test_one_octet_changed_is_read_or_is_a_value_error(good, data):
    at, value = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 255))
    octets = good[:at] + bytes([value]) + good[at + 1 :]
    try:
        if good is CSR:
            asked = request(as_pem(octets, "CERTIFICATE REQUEST").encode())
            extensions_of(asked), key_of(asked)
        elif good is CRL:
            for holder in (listed := revocation_list(octets), *listed):
                extensions_of(holder)
        else:
            found = from_der(octets)
            assert found.subject.public_bytes()
            assert found.issuer.rfc4514_string() is not None
            assert found.not_valid_after_utc >= datetime(1, 1, 1, tzinfo=UTC)
            extensions_of(found), key_of(found)
    except ValueError:
        pass
