"""Certificates from their bytes: the fields, what is tolerated, and how names are compared and shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from pki import NOON, issue, name, resigned

from services.verifier.validation import names, people
from services.verifier.validation.algorithms import CryptoFault, load_key
from services.verifier.validation.certificates import Certificate, load_anchors
from services.verifier.validation.der import Malformed, encoded, parse

ROOT = issue("Gốc", ca=True)
LEAF = issue(
    name("Nguyễn Văn A", ORGANIZATION_NAME="Công ty Ví Dụ", USER_ID="MST:0101243150"),
    ROOT,
    serial=0x80FF,
    extensions=(
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.2.3.4")]), False),
        (x509.SubjectKeyIdentifier(b"subject"), False),
        (x509.AuthorityKeyIdentifier(b"authority", None, None), False),
        (
            x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]),
            False,
        ),
        (
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.test/")
                    )
                ]
            ),
            False,
        ),
        (
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [x509.UniformResourceIdentifier("http://crl.test/1.crl")],
                        None,
                        None,
                        [x509.DirectoryName(name("L"))],
                    )
                ]
            ),
            False,
        ),
    ),
)


def test_the_fields_are_those_that_another_library_reads():
    read, other = LEAF.read, LEAF.issued
    assert read.serial == other.serial_number
    assert (read.not_before, read.not_after) == (other.not_valid_before_utc, other.not_valid_after_utc)
    assert read.tbs == other.tbs_certificate_bytes
    assert read.value == other.signature
    assert read.subject == other.subject.public_bytes()
    assert read.issuer == other.issuer.public_bytes()
    assert read.spki == other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert read.sha256 == other.fingerprint(hashes.SHA256())
    assert (read.scheme.name, read.scheme.digest) == ("ecdsa", "sha256")
    assert read.version == 3


def test_the_extensions_are_read():
    read = LEAF.read
    assert read.usages == {"digital_signature", "non_repudiation"}
    assert read.purposes == ("client_auth", "1.2.3.4")
    assert (read.subject_key, read.authority_key) == (b"subject", b"authority")
    assert read.policies == ("1.2.3",)
    assert read.ocsp_addresses == ("http://ocsp.test/",)
    assert read.crl_addresses == ("http://crl.test/1.crl",)
    assert read.distribution_points == (
        ((names.GeneralName(names.URI, b"http://crl.test/1.crl"),), (name("L").public_bytes(),)),
    )
    assert read.basic_constraints == (False, None)
    assert issue("X", ca=True, path_length=3).read.basic_constraints == (True, 3)


def test_negative_serials_are_read_as_they_are():
    """RFC 5280 clause 4.1.2.2 forbids them and asks to be prepared for them."""
    serial = encoded(2, bytes.fromhex("0080ff"))
    read = Certificate(resigned(LEAF, ROOT, serial, encoded(2, bytes.fromhex("80ff"))))
    assert read.serial == 0x80FF - 0x10000
    assert read.serial_octets.lstrip(b"\0") == LEAF.read.serial_octets.lstrip(b"\0")


def test_a_modulus_written_as_a_negative_integer_is_still_the_key():
    key = rsa.generate_private_key(65537, 2048).public_key()
    good = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    modulus = key.public_numbers().n.to_bytes(256, "big")
    numbers = encoded(0x30, encoded(2, modulus) + encoded(2, b"\x01\0\x01"))
    algorithm = parse(good).kids()[0].raw
    bad = encoded(0x30, algorithm + encoded(3, b"\0" + numbers))
    assert load_key(bad).public_numbers() == key.public_numbers()


@pytest.mark.parametrize("field", ["modulus", "exponent"])
def test_rsa_numbers_that_only_cost_time_are_refused(field):
    modulus = b"\0" + b"\xff" * (4096 if field == "modulus" else 256)
    exponent = b"\x7f" * 32 if field == "exponent" else b"\x01\0\x01"
    numbers = encoded(0x30, encoded(2, modulus) + encoded(2, exponent))
    algorithm = encoded(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    with pytest.raises(CryptoFault):
        load_key(encoded(0x30, algorithm + encoded(3, b"\0" + numbers)))


def test_an_unknown_key_is_on_no_list():
    raw = ed25519.Ed25519PrivateKey.generate().public_key()
    spki = raw.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert load_key(spki) == raw


@given(data=st.data())
def test_damaged_certificates_are_certificates_or_malformed(data):
    damaged = bytearray(LEAF.der)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for attempt in (bytes(damaged), bytes(damaged[:cut])):
        try:
            read = Certificate(attempt)
        except Malformed:
            continue
        people.party(read.subject)
        people.certificate(read, None)
        names.equal(read.issuer, read.subject)
        for each in ("scheme", "value", "usages", "purposes", "policies", "alternative_names", "distribution_points"):
            try:
                getattr(read, each)
            except Malformed:
                continue


def _common(tag: int, octets: bytes) -> bytes:
    pair = encoded(0x30, bytes.fromhex("0603550403") + encoded(tag, octets))
    return encoded(0x30, encoded(0x31, pair))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (_common(0x0C, b"Ca Test"), _common(0x13, b"CA  test "), True),
        (_common(0x0C, "Đà Nẵng".encode()), _common(0x1E, "đà nẵng".encode("utf-16-be")), True),
        (_common(0x0C, "Đà Nẵng".encode()), _common(0x0C, "Đà Nang".encode()), False),
        (_common(0x0C, b"CA 1"), _common(0x0C, b"CA 2"), False),
        (b"\x30\x00", _common(0x0C, b""), False),
        (b"\x01\x01\x00", b"\x01\x01\x00", True),
        (b"\x01\x01\x00", _common(0x0C, b"CA"), False),
    ],
)
def test_names_are_compared_without_case_spaces_and_string_types(one, other, equal):
    """RFC 5280 clause 7.1, RFC 4518."""
    assert names.equal(one, other) is equal


def test_people_see_names_and_masked_personal_numbers():
    shown = people.party(LEAF.read.subject)
    assert (shown.name, shown.organisation, shown.country) == ("Nguyễn Văn A", "Công ty Ví Dụ", "VN")
    assert shown.identifiers == ("MST:0101243150",)
    assert people.party(name("A 012345678901").public_bytes()).name == "A •••••••••901"
    assert people.party(b"\x30\x00").name == "?"
    assert people.party(b"nonsense").name == "?"


def test_anchors_come_as_pem_or_der_and_each_once():
    armoured = ROOT.issued.public_bytes(Encoding.PEM)
    other = issue("Gốc khác", ca=True)
    found = load_anchors([armoured + other.issued.public_bytes(Encoding.PEM), ROOT.der])
    assert [each.sha256 for each in found] == [ROOT.read.sha256, other.read.sha256]
    with pytest.raises(ValueError, match="no certificate"):
        load_anchors([b"nonsense"])


def test_a_repeated_extension_is_seen():
    """RFC 5280 clause 4.2: a certificate must not include more than one instance of an extension."""
    twice = issue(
        "A", ROOT, extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\0"), False),)
    )
    third = issue(
        "A", ROOT, extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.14"), b"\x05\0"), False),)
    )
    assert not twice.read.repeats_an_extension
    assert Certificate(resigned(third, ROOT, b"\x55\x1d\x0e", b"\x55\x1d\x0f")).repeats_an_extension
    assert third.read.subject_key is None
    assert third.read.not_before < NOON
