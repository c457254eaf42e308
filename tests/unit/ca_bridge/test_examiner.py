"""What a CA sends back is examined rule by rule before anybody confirms it."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import csr as asn1_csr
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from events.errors import Malformed, Refused, Unavailable
from events.values import CertificateProfile, Digest, KeyAlgorithm
from lab.people import citizen, firm
from lab.pki import DOCUMENT_SIGNING, Pki
from services.ca_bridge.adapters.examiner import Examiner
from services.ca_bridge.adapters.outside import _settled
from services.ca_bridge.ports import Person, Wanted
from services.runtime.outbound import Answer
from tests.support.bridge_books import NOON
from tests.support.odd_certificates import KEYED, ODD, WHOLLY, as_pem

ANN = citizen(1)
FIRM = firm(0)
ANN_WANTED = Wanted(CertificateProfile.NATURAL, KeyAlgorithm.P256, Person(ANN.number, ANN.full_name), None, None)
SEAL_WANTED = Wanted(CertificateProfile.ORGANISATION, KeyAlgorithm.P256, None, FIRM.tax_code, FIRM.name)
CHALLENGE = "a challenge"


class Desk:
    """A lab CA, an examiner that trusts its root, and a key."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder / "ca", "http://127.0.0.1:1/pki", lambda: NOON)
        (folder / "anchors").mkdir()
        (folder / "anchors" / "root.pem").write_text(self.pki.root.pem)
        self.examiner = Examiner(folder / "anchors")
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.csr = request(self.key)

    def natural(self, **changes: str) -> dict[str, Any]:
        subject = {"full_name": ANN.full_name, "personal_number": ANN.number} | changes
        return self.pki.issue("ann", self.csr.decode(), "natural", subject, 365)

    def examine(self, found: dict[str, Any], wanted: Wanted = ANN_WANTED, **options: Any) -> Any:
        options = {"days": 365, "now": NOON} | options
        return self.examiner.issued(found["certificate"], found["chain"], self.csr, wanted, **options)

    def forge(
        self, *, drop: tuple[Any, ...] = (), replace: dict[Any, Any] | None = None, **names: Any
    ) -> dict[str, Any]:
        """The good certificate again, by the same CA, with extensions left out or replaced, or other names."""
        found = self.natural()
        good = x509.load_pem_x509_certificate(found["certificate"].encode())
        builder = (
            x509.CertificateBuilder()
            .subject_name(names.get("subject", good.subject))
            .issuer_name(good.issuer)
            .public_key(good.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(good.not_valid_before_utc)
            .not_valid_after(good.not_valid_after_utc)
        )
        for extension in good.extensions:
            if type(extension.value) not in drop:
                value = (replace or {}).get(type(extension.value), extension.value)
                builder = builder.add_extension(value, extension.critical)
        forged = builder.sign(names.get("by", self.pki.issuing.key), hashes.SHA256())
        return found | {"certificate": forged.public_bytes(Encoding.PEM).decode()}


def request(key: Any, challenge: str | None = CHALLENGE) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


def code(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        call()
    for private in (ANN.number, ANN.full_name):
        assert private not in str(caught.value)
    return caught.value.code


def usage(**changes: bool) -> x509.KeyUsage:
    plain = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**({"digital_signature": True} | plain | {"content_commitment": True} | changes))


def test_possession_is_a_signature_over_our_challenge(desk: Desk) -> None:
    """Decree 23/2025/ND-CP Art 38: the public key is paired with the requester's private key."""
    possession = desk.examiner.possession
    possession(desk.csr, CHALLENGE, KeyAlgorithm.P256)
    other = request(desk.key, "another challenge")
    assert code(lambda: possession(other, CHALLENGE, KeyAlgorithm.P256)) == "possession-not-proven"
    assert code(lambda: possession(request(desk.key, None), CHALLENGE, KeyAlgorithm.P256)) == "possession-not-proven"
    der = bytearray(x509.load_pem_x509_csr(desk.csr).public_bytes(Encoding.DER))
    der[-1] ^= 1
    broken = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    assert code(lambda: possession(broken, CHALLENGE, KeyAlgorithm.P256)) == "possession-not-proven"
    assert code(lambda: possession(b"nonsense", CHALLENGE, KeyAlgorithm.P256)) == "request-unreadable"


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), KeyAlgorithm.RSA_3072_PSS),
        (lambda: ec.generate_private_key(ec.SECP256K1()), KeyAlgorithm.P256),
        (lambda: rsa.generate_private_key(65537, 2048), KeyAlgorithm.RSA_3072_PKCS1),
    ],
)
def test_a_key_of_another_kind_is_not_certified(desk: Desk, make: Any, asked: KeyAlgorithm) -> None:
    """Circular 15/2025/TT-BKHCN App. I, and what the application asked for."""
    csr = request(make())
    assert code(lambda: desk.examiner.possession(csr, CHALLENGE, asked)) == "key-of-another-kind"


def test_what_the_lab_ca_issues_passes(desk: Desk) -> None:
    found = desk.natural()
    result = desk.examine(found)
    certificate = x509.load_pem_x509_certificate(found["certificate"].encode())
    assert result.certificate == Digest.of(certificate.public_bytes(Encoding.DER))
    assert result.serial == found["serial"]
    assert result.chain_pem.count(b"BEGIN CERTIFICATE") == 3


def test_identifiers_and_names_must_be_those_that_were_verified(desk: Desk) -> None:
    """vietnam.md 2.5: a mismatch blocks issuing."""
    found = desk.natural()
    for wanted, expected in (
        (Person(citizen(2).number, ANN.full_name), "certificate-other-subject"),
        (Person(ANN.number, citizen(2).full_name), "certificate-other-name"),
    ):
        asked = Wanted(CertificateProfile.NATURAL, KeyAlgorithm.P256, wanted, None, None)
        assert code(lambda asked=asked: desk.examine(found, asked)) == expected
    assert code(lambda: desk.examine(found, SEAL_WANTED)) == "certificate-other-subject"
    good = x509.load_pem_x509_certificate(found["certificate"].encode()).subject
    more = x509.Name([*good, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Công ty khác")])
    assert code(lambda: desk.examine(desk.forge(subject=more))) == "certificate-other-name"
    twice = x509.Name([*good, x509.NameAttribute(NameOID.USER_ID, f"CCCD:{citizen(2).number}")])
    assert code(lambda: desk.examine(desk.forge(subject=twice))) == "certificate-other-subject"


def test_a_certificate_for_another_key_is_not_used(desk: Desk) -> None:
    found = desk.natural()
    other = request(ec.generate_private_key(ec.SECP256R1()))
    call = lambda: desk.examiner.issued(  # noqa: E731
        found["certificate"], found["chain"], other, ANN_WANTED, days=365, now=NOON
    )
    assert code(call) == "certificate-other-key"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"drop": (x509.KeyUsage,)}, "certificate-incomplete"),
        ({"drop": (x509.BasicConstraints,)}, "certificate-incomplete"),
        ({"drop": (x509.CRLDistributionPoints,)}, "certificate-incomplete"),
        ({"drop": (x509.AuthorityInformationAccess,)}, "certificate-incomplete"),
        ({"drop": (x509.CertificatePolicies,)}, "certificate-incomplete"),
        ({"drop": (x509.ExtendedKeyUsage,)}, "certificate-incomplete"),
        ({"replace": {x509.BasicConstraints: x509.BasicConstraints(True, None)}}, "certificate-wrong-usage"),
        ({"replace": {x509.KeyUsage: usage(content_commitment=False)}}, "certificate-wrong-usage"),
        ({"replace": {x509.KeyUsage: usage(key_cert_sign=True)}}, "certificate-wrong-usage"),
        (
            {"replace": {x509.ExtendedKeyUsage: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])}},
            "certificate-wrong-usage",
        ),
    ],
)
def test_the_profile_has_one_rule_for_each_thing(desk: Desk, changes: dict[str, Any], expected: str) -> None:
    """Decree 23/2025/ND-CP Art 5-6; vietnam.md 2.1, the lab profile."""
    assert code(lambda: desk.examine(desk.forge(**changes))) == expected


def test_lives_that_are_too_long_over_or_yet_to_come(desk: Desk) -> None:
    """Decree 23/2025/ND-CP Art 4: at most three years."""
    found = desk.natural()
    assert code(lambda: desk.examine(found, days=364)) == "certificate-too-long"
    assert code(lambda: desk.examine(found, now=NOON + timedelta(days=366))) == "certificate-not-in-life"
    assert code(lambda: desk.examine(found, now=NOON - timedelta(hours=1))) == "certificate-not-in-life"


def test_only_cas_under_a_configured_root_may_issue(desk: Desk, tmp_path: Path) -> None:
    """RFC 5280 clause 6.1: signatures, basicConstraints and keyUsage of issuers; never the issuer's name alone."""
    found = desk.natural()
    assert code(lambda: desk.examine(desk.forge(by=ec.generate_private_key(ec.SECP384R1())))) == "certificate-bad-path"
    assert code(lambda: desk.examine(found | {"chain": found["chain"][1:]})) == "certificate-bad-path"
    assert code(lambda: desk.examine(found | {"chain": []})) == "certificate-untrusted"
    assert desk.examine(found | {"chain": found["chain"][:1]}).serial == found["serial"]
    impostor = Pki(tmp_path / "impostor", "http://127.0.0.1:1/pki", lambda: NOON)
    subject = {"full_name": ANN.full_name, "personal_number": ANN.number}
    foreign = impostor.issue("ann", desk.csr.decode(), "natural", subject, 365)
    assert code(lambda: desk.examine(foreign)) == "certificate-untrusted"
    mixed = foreign | {"chain": [foreign["chain"][0], desk.pki.root.pem]}
    assert code(lambda: desk.examine(mixed)) == "certificate-bad-path"


def test_a_subscriber_is_no_ca(desk: Desk) -> None:
    """RFC 5280 clause 4.2.1.9: somebody's own certificate must not issue others."""
    mine = desk.natural()
    me = x509.load_pem_x509_certificate(mine["certificate"].encode())
    extensions = list(me.extensions)
    builder = (
        x509.CertificateBuilder()
        .subject_name(me.subject)
        .issuer_name(me.subject)
        .public_key(desk.key.public_key())
        .serial_number(7)
        .not_valid_before(me.not_valid_before_utc)
        .not_valid_after(me.not_valid_after_utc)
    )
    for extension in extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    fake = builder.sign(desk.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    chain = [mine["certificate"], *mine["chain"]]
    assert code(lambda: desk.examine(mine | {"certificate": fake, "chain": chain})) == "certificate-bad-path"


def test_nonsense_is_refused_and_no_root_is_a_fault_of_the_settings(desk: Desk, tmp_path: Path) -> None:
    assert code(lambda: desk.examine({"certificate": "nonsense", "chain": []})) == "certificate-unreadable"
    with pytest.raises(Malformed, match="no-anchors"):
        Examiner(tmp_path)
    assert DOCUMENT_SIGNING.dotted_string == "1.3.6.1.5.5.7.3.36"


PROBLEM = {"content-type": "application/problem+json; charset=utf-8"}


@pytest.mark.parametrize(
    ("status", "headers", "decision"),
    [
        (422, PROBLEM, True),
        (409, PROBLEM, True),
        (404, PROBLEM, False),
        (404, {"content-type": "text/html"}, False),
        (422, {"content-type": "text/html"}, False),
        (401, PROBLEM, False),
        (500, PROBLEM, False),
        (302, {}, False),
    ],
)
def test_only_a_stated_refusal_is_a_decision(status: int, headers: dict[str, str], decision: bool) -> None:
    """A proxy's page or a wrong address ends no application and keeps no revocation from the CA."""
    answer = Answer(status, headers, json.dumps({"type": "urn:x:name-too-long"}).encode())
    with pytest.raises(Refused if decision else Unavailable) as caught:
        _settled(answer, "the CA", (400, 409, 422))
    assert caught.value.code == ("outside-name-too-long" if decision else "outside-unavailable")


# --- certificates that their holder has already


def held(desk: Desk, found: dict[str, Any], wanted: Wanted = ANN_WANTED) -> Any:
    return desk.examiner.held(found["certificate"], found["chain"], wanted, now=NOON)


def test_a_certificate_that_the_holder_has_already_passes_by_the_same_rules(desk: Desk) -> None:
    found = desk.natural()
    assert held(desk, found) == desk.examine(found)


def test_a_held_certificate_of_somebody_else_another_name_or_kind_of_key_is_not_used(desk: Desk) -> None:
    other = Wanted(CertificateProfile.NATURAL, KeyAlgorithm.P256, Person(citizen(2).number, ANN.full_name), None, None)
    assert code(lambda: held(desk, desk.natural(), other)) == "certificate-other-subject"
    renamed = replace(ANN_WANTED, person=Person(ANN.number, "Nguyễn Văn Khác"))
    assert code(lambda: held(desk, desk.natural(), renamed)) == "certificate-other-name"
    rsa_wanted = replace(ANN_WANTED, key_algorithm=KeyAlgorithm.RSA_3072_PSS)
    assert code(lambda: held(desk, desk.natural(), rsa_wanted)) == "key-of-another-kind"
    assert code(lambda: held(desk, desk.forge(drop=(x509.KeyUsage,)))) == "certificate-incomplete"
    assert code(lambda: held(desk, {"certificate": "no PEM", "chain": []})) == "certificate-unreadable"


# --- certificates, requests and roots that nobody can read to the end


def der_of(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", ODD)
def test_what_cannot_be_read_to_the_end_is_refused_wherever_it_stands(desk: Desk, kind: str) -> None:
    """RFC 5280 clauses 4.1.2.1, 4.1.2.4, 4.1.2.5, 4.2: what a CA or a hub sends is theirs, not ours."""
    found = desk.natural()
    odd = [as_pem(ODD[kind](der_of(one))) for one in (found["certificate"], found["chain"][0])]
    for changed in ({"certificate": odd[0]}, {"chain": [odd[1], *found["chain"][1:]]}):
        assert code(lambda changed=changed: desk.examine(found | changed)) == "certificate-unreadable"
        assert code(lambda changed=changed: held(desk, found | changed)) == "certificate-unreadable"


def test_a_signature_of_an_unknown_algorithm_does_not_hold(desk: Desk) -> None:
    found = desk.natural()
    der = der_of(found["certificate"])
    known, unknown = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040309")
    assert known in der
    assert code(lambda: held(desk, found | {"certificate": as_pem(der.replace(known, unknown))})) == (
        "certificate-bad-path"
    )


@pytest.mark.parametrize("octets", [21, 2000])
def test_a_serial_number_is_of_at_most_20_octets(desk: Desk, octets: int) -> None:
    """RFC 5280 clause 4.1.2.2: "conforming CAs MUST NOT use serialNumber values longer than 20 octets"."""
    found = desk.natural()
    changed = asn1_x509.Certificate.load(der_of(found["certificate"]))
    changed["tbs_certificate"]["serial_number"] = int.from_bytes(b"\x7f" * octets)
    long = as_pem(changed.dump(force=True))
    assert code(lambda: held(desk, found | {"certificate": long})) == "certificate-unreadable"


def test_a_request_that_cannot_be_read_to_the_end_is_refused(desk: Desk) -> None:
    """RFC 2986 clause 4.1: version 0, and a key that somebody knows."""
    der = x509.load_pem_x509_csr(desk.csr).public_bytes(Encoding.DER)
    key = bytes.fromhex("06072a8648ce3d0201")
    assert key in der
    version = asn1_csr.CertificationRequest.load(der)
    version["certification_request_info"]["version"] = 3
    for odd in (version.dump(force=True), der.replace(key, key[:-1] + b"\x09")):
        csr = as_pem(odd, "CERTIFICATE REQUEST").encode()
        assert code(lambda csr=csr: desk.examiner.possession(csr, CHALLENGE, KeyAlgorithm.P256)) == "request-unreadable"


@pytest.mark.parametrize("kind", WHOLLY | KEYED)
def test_a_root_that_cannot_be_read_is_a_fault_of_the_settings(desk: Desk, tmp_path: Path, kind: str) -> None:
    root = ODD[kind](desk.pki.root.certificate.public_bytes(Encoding.DER))
    (tmp_path / "odd.cer").write_bytes(root)
    with pytest.raises(Malformed, match=r"odd\.cer"):
        Examiner(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_octet_changed_is_refused(desk: Desk, data: st.DataObject) -> None:
    found = desk.natural()
    der = der_of(found["certificate"])
    at, value = data.draw(st.integers(0, len(der) - 1)), data.draw(st.integers(0, 255))
    assume(der[at] != value)
    changed = as_pem(der[:at] + bytes([value]) + der[at + 1 :])
    with warnings.catch_warnings(action="ignore"), pytest.raises(Refused):
        held(desk, found | {"certificate": changed})
