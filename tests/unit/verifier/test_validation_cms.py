"""SignedData from its bytes: schemes and keys, attributes as they stand, the bound certificate (RFC 5652, 5035)."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from pki import Holder, issue, resigned, response, revocation_list

from domain import trust
from services.verifier.validation import algorithms, cms
from services.verifier.validation.algorithms import CryptoFault, Scheme, digest_name, digest_of, scheme_of
from services.verifier.validation.certificates import Certificate
from services.verifier.validation.cms import Cms, CmsFault
from services.verifier.validation.der import OCTET_STRING, SEQUENCE, SET, canonical, encoded, oid, parse

CONTENT = b"%PDF-1.7 what is signed"
ROOT = issue("CA", ca=True)
ALICE = issue("An", ROOT)
RSA_KEY = rsa.generate_private_key(65537, 2048)
SHA256 = "2.16.840.1.101.3.4.2.1"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"


def sequence(*parts: bytes) -> bytes:
    return encoded(SEQUENCE, b"".join(parts))


def identifier(dots: str, *parameters: bytes) -> bytes:
    return sequence(encoded(6, oid(dots)), *parameters)


def attribute(kind: bytes, *values: bytes) -> bytes:
    return sequence(encoded(6, kind), encoded(SET, b"".join(values)))


def ess(der: bytes, *more: bytes, digest: str = "sha256", version: int = 2) -> bytes:
    """An ESS signing-certificate attribute, version 1 (SHA-1) or 2."""
    named = hashlib.new(digest, der).digest()
    algorithm = [] if version == 1 or digest == "sha256" else [identifier("2.16.840.1.101.3.4.2.3")]
    kind = cms.SIGNING_CERTIFICATE if version == 1 else cms.SIGNING_CERTIFICATE_V2
    return attribute(kind, sequence(sequence(sequence(*algorithm, encoded(4, named), *more))))


def issuer_serial(certificate: Certificate, serial: int | None = None, issuer: bytes | None = None) -> bytes:
    number = serial if serial is not None else certificate.serial
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return sequence(sequence(encoded(0xA4, issuer or certificate.issuer)), encoded(2, octets))


def made(
    signer: Holder = ALICE,
    *,
    sign=None,
    algorithm: bytes = identifier(ECDSA_SHA256),
    digest: tuple[str, str] = ("sha256", SHA256),
    extra: tuple[bytes, ...] | None = None,
    content_type: bytes = cms.DATA,
    order=sorted,
    certificates: tuple[bytes, ...] | None = None,
    sid: bytes | None = None,
    unsigned: bytes = b"",
    signers: int = 1,
    encapsulated: bytes = b"",
    crls: bytes = b"",
    bare: bool = False,
) -> bytes:
    """A SignedData over CONTENT."""
    read = signer.read
    own = [
        attribute(cms.CONTENT_TYPE, encoded(6, content_type)),
        attribute(cms.MESSAGE_DIGEST, encoded(4, digest_of(digest[0], CONTENT))),
        *(extra if extra is not None else (ess(signer.der),)),
    ]
    inside = b"".join(order(own))
    sign = sign or (lambda data: signer.key.sign(data, ec.ECDSA(hashes.SHA256())))
    value = sign(CONTENT if bare else encoded(SET, inside))
    number = encoded(2, read.serial_octets)
    info = sequence(
        encoded(2, b"\1"),
        sid or sequence(read.issuer, number),
        identifier(digest[1]),
        *([] if bare else [encoded(0xA0, inside)]),
        algorithm,
        encoded(4, value),
        unsigned,
    )
    data = sequence(
        encoded(2, b"\1"),
        encoded(SET, identifier(digest[1])),
        sequence(encoded(6, cms.DATA), encapsulated),
        encoded(0xA0, b"".join(certificates if certificates is not None else (signer.der,))),
        crls,
        encoded(SET, info * signers),
    )
    return sequence(encoded(6, cms.SIGNED_DATA), encoded(0xA0, data))


def fits(raw: bytes, content: bytes | None = None) -> bool:
    return cms.read(raw).fits(content)


def pss_parameters(digest: str, mask: str, salt: int, trailer: bytes = b"") -> bytes:
    return sequence(
        encoded(0xA0, identifier(digest)),
        encoded(0xA1, identifier("1.2.840.113549.1.1.8", identifier(mask))),
        encoded(0xA2, encoded(2, salt.to_bytes(2, "big"))),
        trailer,
    )


# --- schemes ---------------------------------------------------------------------------------------------------------

_SHA2 = {"sha1": hashes.SHA1(), "sha224": hashes.SHA224(), "sha256": hashes.SHA256(), "sha512": hashes.SHA512()}  # noqa: S303
_PKCS1 = {"sha1": "5", "sha224": "14", "sha256": "11", "sha512": "13"}
_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": SHA256,
    "sha512": "2.16.840.1.101.3.4.2.3",
}


@pytest.mark.parametrize("name", list(_SHA2))
@pytest.mark.parametrize("plain", [True, False])
def test_rsa_pkcs1(name, plain):
    """RFC 8017 clause 8.2; the algorithm names its digest, or leaves it to digestAlgorithm (RFC 3370 clause 3.2)."""
    signer = issue("An", ROOT, key=RSA_KEY)
    raw = made(
        signer,
        sign=lambda data: RSA_KEY.sign(data, padding.PKCS1v15(), _SHA2[name]),
        algorithm=identifier("1.2.840.113549.1.1." + ("1" if plain else _PKCS1[name]), b"\x05\0"),
        digest=(name, _OIDS[name]),
    )
    assert fits(raw)


@pytest.mark.parametrize(
    ("digest", "mask", "salt"), [("sha256", "sha256", 32), ("sha512", "sha256", 20), ("sha256", "sha1", 0)]
)
def test_rsa_pss_with_its_parameters(digest, mask, salt):
    """RFC 4055 clause 3.1, RFC 4056."""
    signer = issue("An", ROOT, key=RSA_KEY)
    scheme = padding.PSS(padding.MGF1(_SHA2[mask]), salt)

    def with_parameters(parameters: bytes) -> bytes:
        return made(
            signer,
            sign=lambda data: RSA_KEY.sign(data, scheme, _SHA2[digest]),
            algorithm=identifier("1.2.840.113549.1.1.10", parameters),
            digest=(digest, _OIDS[digest]),
        )

    good = with_parameters(pss_parameters(_OIDS[digest], _OIDS[mask], salt))
    assert fits(good)
    assert cms.read(good).scheme == Scheme("rsassa_pss", digest, mask, salt)
    assert not fits(with_parameters(pss_parameters(_OIDS[digest], _OIDS[mask], salt + 1)))
    assert not fits(with_parameters(pss_parameters(_OIDS[digest], _OIDS["sha224"], salt)))
    with pytest.raises(CryptoFault):
        fits(with_parameters(pss_parameters(_OIDS[digest], _OIDS[mask], salt, encoded(0xA3, encoded(2, b"\2")))))


def test_rsa_pss_by_default_is_sha1():
    """RFC 8017 A.2.3."""
    assert scheme_of(identifier("1.2.840.113549.1.1.10", sequence())) == Scheme("rsassa_pss", "sha1", "sha1", 20)


@pytest.mark.parametrize(
    "curve",
    [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.BrainpoolP256R1(), ec.BrainpoolP384R1(), ec.BrainpoolP512R1()],
)
def test_ecdsa_on_the_curves_of_app_i(curve):
    signer = issue("An", ROOT, key=ec.generate_private_key(curve))
    raw = made(signer)
    assert fits(raw)
    assert trust.worst(cms.read(raw).algorithms()).grade is trust.Grade.ACCEPTED


def test_plain_ecdsa():
    """BSI TR-03111 clause 5.2.1: r and s side by side."""

    def plain(data: bytes) -> bytes:
        r, s = decode_dss_signature(ALICE.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    raw = made(sign=plain, algorithm=identifier("0.4.0.127.0.7.1.1.4.1.3"))
    assert fits(raw)
    assert cms.read(raw).scheme.family == "ecdsa"
    assert not fits(made(sign=lambda data: b"\1" * 64, algorithm=identifier("0.4.0.127.0.7.1.1.4.1.3")))


@pytest.mark.parametrize(
    ("key", "dots", "digest"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "1.3.101.112", ("sha512", _OIDS["sha512"])),
        (ed448.Ed448PrivateKey.generate(), "1.3.101.113", ("shake256", "2.16.840.1.101.3.4.2.12")),
    ],
)
def test_eddsa(key, dots, digest):
    """RFC 8419: Ed25519 with SHA-512, Ed448 with SHAKE256."""
    signer = issue("An", ROOT, key=ec.generate_private_key(ec.SECP256R1()))
    built = _of_key(signer, key)
    raw = made(
        Holder(signer.issued, key),
        sign=lambda data: key.sign(data),
        algorithm=identifier(dots),
        digest=digest,
        extra=(ess(built),),
        certificates=(built,),
    )
    assert fits(raw)
    assert trust.worst(cms.read(raw).algorithms()).grade is trust.Grade.UNLISTED


def _of_key(holder: Holder, key) -> bytes:
    """The holder's certificate with another key, signed again."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return resigned(holder, ROOT, holder.read.spki, spki)


def test_old_dsa_is_read():
    key = dsa.generate_private_key(1024)  # noqa: S505 - that is the case
    built = _of_key(ALICE, key)
    raw = made(
        sign=lambda data: key.sign(data, hashes.SHA256()),
        algorithm=identifier("2.16.840.1.101.3.4.3.2"),
        extra=(ess(built),),
        certificates=(built,),
    )
    assert fits(raw)


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [
        (identifier("1.2.840.113549.1.1.11", b"\x05\0"), "algorithm-does-not-fit-key"),
        (identifier("1.2.3.4"), "algorithm-does-not-fit-key"),
    ],
)
def test_an_algorithm_that_is_not_the_keys_is_refused(algorithm, reason):
    with pytest.raises(CryptoFault) as fault:
        fits(made(algorithm=algorithm))
    assert fault.value.reason == reason


def test_digests_are_named_also_by_signature_algorithms():
    """Some writers put a signature algorithm where the digest algorithm belongs."""
    assert digest_name(oid("1.2.840.113549.1.1.11")) == "sha256"
    assert digest_name(oid("1.2.3")) == "1.2.3"
    assert digest_of("nonsense", b"") is None
    assert len(digest_of("shake128", b"")) == 32


# --- signed attributes as they stand ----------------------------------------------------------------------------------


def test_attributes_are_hashed_as_they_stand():
    """Their order in the file is signed by many writers, though RFC 5652 clause 5.4 asks for DER."""
    raw = made(order=lambda own: sorted(own, reverse=True))
    assert fits(raw)


def test_attributes_signed_in_der_may_be_sent_otherwise():
    """RFC 5652 clause 5.4."""
    backwards = made(order=lambda own: sorted(own, reverse=True), sign=_over_der)
    assert fits(backwards)


def _over_der(data: bytes) -> bytes:
    return ALICE.key.sign(canonical(parse(data)), ec.ECDSA(hashes.SHA256()))


SIGNED = made()
STAMPED = made(unsigned=encoded(0xA1, attribute(cms.SIGNATURE_TIMESTAMP, SIGNED)))


@given(data=st.data())
def test_no_changed_octet_of_the_attributes_still_fits(data):
    raw = SIGNED
    read = cms.read(raw)
    node = read.signed_attributes
    at = data.draw(st.integers(node.body, node.end - 1))
    changed = bytearray(raw)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        assert not fits(bytes(changed))
    except (CmsFault, CryptoFault):
        return


@given(data=st.data())
def test_damaged_objects_are_read_or_refused(data):
    changed = bytearray(STAMPED)
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(changed), data.draw(st.integers(0, len(changed)))]))
    try:
        read = cms.read(bytes(changed[:cut]))
        assert read.message_digest is None or isinstance(read.message_digest, bytes)
        _ = read.signing_time, read.ess_fault, read.states_its_content_type, read.tokens, read.content_tokens
        read.brought()
        read.algorithms()
        read.fits(CONTENT)
    except (CmsFault, CryptoFault):
        return


def test_a_bare_signature_is_over_the_content():
    raw = made(bare=True)
    assert cms.read(raw).attributes == {}
    assert fits(raw, CONTENT)
    assert not fits(raw, CONTENT + b"!")
    assert not fits(raw)


@pytest.mark.parametrize("count", [0, 2])
def test_one_message_digest_no_more_no_less(count):
    """RFC 5652 clause 11.2."""
    again = attribute(cms.MESSAGE_DIGEST, encoded(4, b"x"))
    raw = made(extra=(again,)) if count == 2 else made().replace(cms.MESSAGE_DIGEST, cms.SIGNING_TIME)
    assert cms.read(raw).message_digest is None


def test_the_content_type_attribute_must_name_the_content():
    """RFC 5652 clause 11.1."""
    assert cms.read(made()).states_its_content_type
    assert not cms.read(made(content_type=cms.TST_INFO)).states_its_content_type


# --- structure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "contents-empty"),
        (bytes(100), "contents-empty"),
        (b"\x30\x03abc", "cms-unreadable"),
        (sequence(encoded(6, cms.DATA), encoded(0xA0, b"\x04\0")), "not-signed-data"),
        (made(signers=2), "not-one-signer"),
        (made(signers=0), "not-one-signer"),
    ],
)
def test_what_is_no_signature_of_one_signer_is_refused_with_its_reason(raw, reason):
    with pytest.raises(CmsFault) as fault:
        cms.read(raw)
    assert fault.value.reason == reason


def test_padding_after_the_object_and_ber_are_read():
    raw = made()
    inner = parse(raw).kids()[1].raw
    indefinite = b"\x30\x80" + parse(raw).kids()[0].raw + inner + b"\0\0"
    assert fits(raw + bytes(500))
    assert fits(indefinite + bytes(500))


def test_encapsulated_content_is_seen():
    raw = made(encapsulated=encoded(0xA0, encoded(OCTET_STRING, b"inside")))
    assert cms.read(raw).encapsulated == b"inside"
    assert cms.read(made()).encapsulated is None


def test_damaged_unsigned_attributes_do_not_hide_the_signature():
    read = cms.read(made(unsigned=encoded(0xA1, b"\x30\x03\x06\x01\x2a")))
    assert read.unsigned_fault
    assert read.fits()


def test_attribute_certificates_and_rubbish_among_the_certificates_are_passed_over():
    raw = made(certificates=(encoded(0xA2, b"\x30\0"), b"\x30\x03\x02\x01\x05", ALICE.der))
    assert cms.read(raw).signer.der == ALICE.der


def test_what_the_object_brings_along_is_found():
    """RFC 5652 clause 10.2.1, RFC 5940, and Adobe's attribute (ISO 32000-2 table 259)."""
    listed, answered = revocation_list(ROOT), response(ALICE, ROOT)
    basic = parse(parse(answered).kids()[1].only().kids()[1].octets()).raw
    other = encoded(0xA1, encoded(6, oid("1.3.6.1.5.5.7.16.2")) + answered)
    adobe = attribute(
        oid("1.2.840.113583.1.1.8"),
        sequence(encoded(0xA0, sequence(listed)), encoded(0xA1, sequence(answered))),
    )
    read = cms.read(made(crls=encoded(0xA1, listed + other), extra=(ess(ALICE.der), adobe)))
    assert read.brought() == ([], [answered, answered], [listed, listed])
    values = attribute(oid("1.2.840.113549.1.9.16.2.24"), sequence(encoded(0xA1, sequence(basic))))
    more = attribute(oid("1.2.840.113549.1.9.16.2.23"), sequence(ROOT.der))
    assert cms.read(made(unsigned=encoded(0xA1, values + more))).brought() == ([ROOT.der], [basic], [])


# --- the signer's certificate: RFC 5035 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ((), "ess-missing"),
        ((ess(ALICE.der),), None),
        ((ess(ALICE.der, digest="sha512"),), None),
        ((ess(ALICE.der, digest="sha1", version=1),), None),
        ((ess(ALICE.der, issuer_serial(ALICE.read)),), None),
        ((ess(ALICE.der, issuer_serial(ALICE.read, serial=5)),), "ess-other-certificate"),
        ((ess(ALICE.der, issuer_serial(ALICE.read, issuer=ALICE.read.subject)),), "ess-other-certificate"),
        ((ess(ROOT.der),), "ess-other-certificate"),
        ((ess(ALICE.der), ess(ROOT.der, digest="sha1", version=1)), "ess-other-certificate"),
        ((ess(ALICE.der), ess(ALICE.der)), "ess-repeated"),
        ((attribute(cms.SIGNING_CERTIFICATE_V2, encoded(4, b"?")),), "ess-unreadable"),
    ],
)
def test_the_attribute_binds_the_certificate(extra, fault):
    assert cms.read(made(extra=extra)).ess_fault == fault


def test_of_two_certificates_that_fit_the_bound_one_is_the_signers():
    """Certificate confusion: same issuer, same serial, another holder."""
    double = issue("Kẻ mạo danh", ROOT, serial=ALICE.issued.serial_number)
    read = cms.read(made(certificates=(double.der, ALICE.der)))
    assert read.signer.der == ALICE.der


def test_of_two_that_fit_and_none_is_bound_the_one_whose_key_fits_is_the_signers():
    double = issue("Kẻ mạo danh", ROOT, serial=ALICE.issued.serial_number)
    read = cms.read(made(certificates=(double.der, ALICE.der), extra=()))
    assert read.signer.der == ALICE.der
    assert read.fits()


def test_a_certificate_from_elsewhere_is_taken_only_when_it_is_bound():
    bound, loose = cms.read(made(certificates=())), cms.read(made(certificates=(), extra=()))
    for read in (bound, loose):
        assert read.signer is None
        read.adopt([ROOT.read, ALICE.read])
    assert bound.fits()
    assert loose.signer is None


def test_a_signer_may_be_named_by_key_identifier():
    """RFC 5652 clause 5.3."""
    binh = issue("Bình", ROOT, extensions=((x509.SubjectKeyIdentifier(b"one"), False),))
    assert cms.read(made(binh, sid=encoded(0x80, b"another"))).signer is None
    assert cms.read(made(binh, sid=encoded(0x80, binh.read.subject_key))).signer.der == binh.der


def test_without_the_signers_certificate_nothing_can_be_checked():
    read = cms.read(made(certificates=(ROOT.der,)))
    assert isinstance(read, Cms)
    assert read.signer is None
    with pytest.raises(CmsFault) as fault:
        read.fits()
    assert fault.value.reason == "no-signing-certificate"


def test_what_held_once_is_not_taken_for_what_does_not():
    """The memory of certificates' signatures knows key, scheme, value and octets: another of any is looked at anew."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    value, scheme = key.sign(b"octets", ec.ECDSA(hashes.SHA256())), algorithms.Scheme(algorithms.ECDSA, "sha256")
    assert algorithms.vouches(spki, scheme, value, b"octets")
    assert algorithms.vouches(spki, scheme, value, b"octets")
    assert not algorithms.vouches(spki, scheme, value, b"octet")
    assert not algorithms.vouches(spki, algorithms.Scheme(algorithms.ECDSA, "sha384"), value, b"octets")
    assert not algorithms.vouches(
        other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), scheme, value, b"octets"
    )
