"""Certificate paths to the configured roots, and raw signature checks with the algorithms we accept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from asn1crypto import algos
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from events.errors import Refused
from services.runtime import certificates
from services.signer.adapters.der import SEQUENCE, span, whole

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
"""Hash algorithms accepted in signatures (Circular 15/2025/TT-BKHCN App. I; ETSI TS 119 312)."""

UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}
LONGEST_PATH = 6
LONGEST_IDENTIFIER = 128
"""Octets of an AlgorithmIdentifier; RSASSA-PSS with all its parameters takes 67 (RFC 4055 clause 3.1)."""


class Distrust(Refused):
    """A certificate has no path to a configured root."""


def load_anchors(folder: Path) -> list[x509.Certificate]:
    """Every root in a folder of .pem, .crt, .cer and .der files.

    Raises:
        Refused: the folder is absent, has no certificate, or holds a file that is none.
    """
    anchors: list[x509.Certificate] = []
    for file in sorted(folder.glob("*")) if folder.is_dir() else []:
        if file.suffix.lower() in {".pem", ".crt", ".cer", ".der"}:
            try:
                anchors.extend(certificates.all_in(file.read_bytes()))
            except ValueError as fault:
                raise Refused(
                    "anchor-unreadable",
                    found=f"the file {file.name}, which holds no certificate",
                    expected="X.509 certificates, PEM or DER",
                    remedy="remove or replace the file",
                ) from fault
    if not anchors:
        raise Refused(
            "no-anchors",
            found="no root certificate in the configured folder",
            expected="at least one .pem or .cer file",
            remedy="put the roots you trust into it",
        )
    return anchors


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's DER."""
    return certificate.public_bytes(Encoding.DER)


def verify_signature(
    key: CertificatePublicKeyTypes, signature: bytes, data: bytes, algorithm: algos.SignedDigestAlgorithm, digest: str
) -> None:
    """Check one signature. `digest` names the hash where `algorithm` itself does not (CMS with plain rsaEncryption).

    Raises:
        InvalidSignature: it does not match.
        UnsupportedAlgorithm: not an algorithm we accept.
    """
    scheme = algorithm.signature_algo
    try:
        name = algorithm.hash_algo
    except ValueError:
        name = digest
    if name not in HASHES:
        raise UnsupportedAlgorithm(f"hash {name}")
    chosen = HASHES[name]()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        if scheme == "rsassa_pkcs1v15":
            key.verify(signature, data, padding.PKCS1v15(), chosen)
            return
        if scheme == "rsassa_pss":
            parameters = algorithm["parameters"]
            mgf = parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native
            if mgf not in HASHES:
                raise UnsupportedAlgorithm(f"mask hash {mgf}")
            salt = int(parameters["salt_length"].native)
            key.verify(signature, data, padding.PSS(padding.MGF1(HASHES[mgf]()), salt), chosen)
            return
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256 and scheme == "ecdsa":
        key.verify(signature, data, ec.ECDSA(chosen))
        return
    raise UnsupportedAlgorithm(f"scheme {scheme} with this key")


_PKCS1 = padding.PKCS1v15()
_BY_OID: dict[bytes, tuple[str, str]] = {
    bytes.fromhex("06092a864886f70d010101"): ("rsa", ""),
    bytes.fromhex("06092a864886f70d01010b"): ("rsa", "sha256"),
    bytes.fromhex("06092a864886f70d01010c"): ("rsa", "sha384"),
    bytes.fromhex("06092a864886f70d01010d"): ("rsa", "sha512"),
    bytes.fromhex("06082a8648ce3d040302"): ("ecdsa", "sha256"),
    bytes.fromhex("06082a8648ce3d040303"): ("ecdsa", "sha384"),
    bytes.fromhex("06082a8648ce3d040304"): ("ecdsa", "sha512"),
}


def verify_by_identifier(
    key: CertificatePublicKeyTypes, signature: bytes, data: bytes, identifier: bytes, digest: str
) -> None:
    """As `verify_signature`, from an AlgorithmIdentifier in DER; quick for all but RSASSA-PSS.

    Raises:
        InvalidSignature: it does not match.
        UnsupportedAlgorithm: not an algorithm we accept.
        ValueError: an identifier that is not DER.
    """
    if len(identifier) > LONGEST_IDENTIFIER:  # from outside, before any trust: it is not to be kept
        raise UnsupportedAlgorithm(f"an identifier of {len(identifier)} octets")
    scheme, chosen = _scheme(identifier, digest)
    if scheme == "rsa" and chosen is not None and isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        key.verify(signature, data, _PKCS1, chosen)
    elif (
        scheme == "ecdsa" and chosen is not None and isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256
    ):
        key.verify(signature, data, ec.ECDSA(chosen))
    else:
        verify_signature(key, signature, data, algos.SignedDigestAlgorithm.load(identifier), digest)


@lru_cache(maxsize=64)
def _scheme(identifier: bytes, digest: str) -> tuple[str, hashes.HashAlgorithm | None]:
    """What an AlgorithmIdentifier in DER asks for; the digest counts where it names none itself."""
    _, _, start, end = whole(identifier, SEQUENCE)
    name = span(identifier, start, end)
    scheme, method = _BY_OID.get(identifier[name[1] : name[3]], ("", ""))
    chosen = HASHES.get(method or digest)
    return scheme, chosen() if chosen is not None else None


def lifetime(path: Sequence[x509.Certificate]) -> tuple[datetime, datetime]:
    """From when until when all certificates of a path are valid."""
    return max(one.not_valid_before_utc for one in path), min(one.not_valid_after_utc for one in path)


def build_path(
    leaf: x509.Certificate,
    pool: Iterable[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
) -> tuple[x509.Certificate, ...]:
    """A path from `leaf` to one of `anchors`, every certificate valid `at` that time (RFC 5280 clause 6.1, basic).

    Names chain, signatures hold with accepted algorithms, issuers are CAs that may sign certificates, path lengths
    hold, no critical extension is unknown. Policies and name constraints are not processed: a critical name
    constraint is unknown, hence refused.

    Raises:
        Distrust: expired, not yet valid, or no path.
    """
    _in_time(leaf, at)
    _understood(leaf)
    trusted = {der(anchor): anchor for anchor in anchors}
    known = {der(candidate): candidate for candidate in pool} | trusted

    def climb(path: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...] | None:
        top = path[-1]
        if der(top) in trusted:
            return path
        if len(path) >= LONGEST_PATH:
            return None
        for candidate in known.values():
            if candidate not in path and candidate.subject == top.issuer and _issued(candidate, top, len(path) - 1, at):
                found = climb((*path, candidate))
                if found is not None:
                    return found
        return None

    found = climb((leaf,))
    if found is None:
        raise Distrust(
            "certificate-not-trusted",
            found="a certificate without a valid path to a configured root",
            expected="a chain that ends at one of the trusted roots",
            remedy="add the CA's root to the trust folder if you trust it",
        )
    return found


def _in_time(certificate: x509.Certificate, at: datetime) -> None:
    if at < certificate.not_valid_before_utc:
        raise Distrust(
            "certificate-not-yet-valid",
            found=f"a certificate valid from {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
            expected=f"one valid at {at:%Y-%m-%dT%H:%M:%SZ}",
            remedy="wait, or use another certificate",
        )
    if at > certificate.not_valid_after_utc:
        raise Distrust(
            "certificate-expired",
            found=f"a certificate valid until {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            expected=f"one valid at {at:%Y-%m-%dT%H:%M:%SZ}",
            remedy="obtain a new certificate",
        )


def _understood(certificate: x509.Certificate) -> None:
    try:
        unknown = [
            each.oid.dotted_string
            for each in certificates.extensions_of(certificate)
            if each.critical and each.oid not in UNDERSTOOD
        ]
    except ValueError as fault:
        raise Distrust(
            "certificate-malformed",
            found="extensions that cannot be read",
            expected="extensions as RFC 5280 has them",
            remedy="obtain a new certificate",
        ) from fault
    if unknown:
        raise Distrust(
            "certificate-critical-extension",
            found=f"the critical extension {unknown[0]}",
            expected="only critical extensions that are understood (RFC 5280 clause 4.2)",
            remedy="use a certificate without it",
        )


def _issued(issuer: x509.Certificate, subject: x509.Certificate, below: int, at: datetime) -> bool:
    """Whether `issuer` may have and has issued `subject`, with `below` CA certificates already under it."""
    try:
        _in_time(issuer, at)
        _understood(issuer)
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        chosen = subject.signature_hash_algorithm
        if not constraints.ca or not usage.key_cert_sign or chosen is None or chosen.name not in HASHES:
            return False
        if constraints.path_length is not None and below > constraints.path_length:
            return False
        subject.verify_directly_issued_by(issuer)
    except (
        Distrust,
        x509.ExtensionNotFound,
        InvalidSignature,
        UnsupportedAlgorithm,
        ValueError,
        TypeError,
    ):
        return False
    return True
