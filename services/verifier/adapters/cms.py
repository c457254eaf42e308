"""A CMS object read from its bytes: structure, signer's certificate, digest, signature, ESS attribute (RFC 5652, 5035).

Signed attributes are hashed as they stand in the file; keys are read tolerantly (some certificates write the RSA
modulus as a negative integer), because a good signature must not be called bad for its neighbours' sins.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import algos, cms, tsp, x509
from asn1crypto.core import ObjectIdentifier, Void
from asn1crypto.keys import PublicKeyInfo, RSAPublicKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from pyhanko_certvalidator.sig_validate import DEFAULT_VALIDATION_CONTEXT, SignatureValidator

from domain import trust

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha512_224": hashes.SHA512_224,
    "sha512_256": hashes.SHA512_256,
    "sha3_224": hashes.SHA3_224,
    "sha3_256": hashes.SHA3_256,
    "sha3_384": hashes.SHA3_384,
    "sha3_512": hashes.SHA3_512,
}


class CmsFault(Exception):
    """The CMS object cannot be used; `reason` is a kebab-case name."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass
class Cms:
    """One SignedData with one signer."""

    raw: bytes
    signed_data: Any
    signer_info: Any
    certificates: list[Any]
    signer: Any | None
    content_type: str
    encapsulated: bytes | None
    digest_algorithm: str
    scheme: str
    signature_hash: str | None
    attributes: dict[str, list[Any]]
    """Signed attributes by type, each with its values."""
    unsigned: dict[str, list[Any]]
    unsigned_fault: bool
    """The unsigned attributes, where a signature timestamp would be, cannot be read."""
    signed_attributes_raw: bytes | None
    """Contents octets of the SET, as in the file."""


def read(raw: bytes) -> Cms:
    """Parse a DER (or BER) ContentInfo, ignoring the zero padding after it.

    Raises:
        CmsFault: it is not a SignedData with exactly one signer.
    """
    if not raw.strip(b"\x00"):
        raise CmsFault("contents-empty")
    try:
        info = cms.ContentInfo.load(raw, strict=False)
        if info["content_type"].native != "signed_data":
            raise CmsFault("not-signed-data", found=str(info["content_type"].native))
        signed_data = info["content"]
        infos = signed_data["signer_infos"]
        if len(infos) != 1:
            raise CmsFault("not-one-signer", found=str(len(infos)))
        signer_info = infos[0]
        certificates = [choice.chosen for choice in signed_data["certificates"] if choice.name == "certificate"]
        encap = signed_data["encap_content_info"]
        content = encap["content"]
        content_type = encap["content_type"].native
        encapsulated = None if isinstance(content, Void) else bytes(content)
        attributes = _attributes(signer_info["signed_attrs"])
        try:
            unsigned, unsigned_fault = _attributes(signer_info["unsigned_attrs"]), False
        except Exception:  # noqa: BLE001 - a damaged timestamp does not make the signature bad, only unproven
            unsigned, unsigned_fault = {}, True
        raw_attributes = signer_info["signed_attrs"].contents if attributes else None
        found = Cms(
            raw=raw,
            signed_data=signed_data,
            signer_info=signer_info,
            certificates=certificates,
            signer=None,
            content_type=str(content_type),
            encapsulated=encapsulated,
            digest_algorithm=_digest_name(signer_info["digest_algorithm"]["algorithm"]),
            scheme=_scheme(signer_info["signature_algorithm"]),
            signature_hash=_signature_hash(signer_info["signature_algorithm"]),
            attributes=attributes,
            unsigned=unsigned,
            unsigned_fault=unsigned_fault,
            signed_attributes_raw=bytes(raw_attributes) if raw_attributes is not None else None,
        )
        found.signer = _signer(found)
        return found
    except CmsFault:
        raise
    except Exception as fault:
        raise CmsFault("cms-unreadable", fault=type(fault).__name__) from fault


def digest_of(name: str, *parts: bytes | memoryview) -> bytes | None:
    """The digest of the parts, or none when the algorithm is not known here."""
    try:
        state = hashlib.new(name, usedforsecurity=False)
    except ValueError:
        return None
    for part in parts:
        state.update(part)
    return state.digest()


def message_digest(found: Cms) -> bytes | None:
    """The value of the message-digest attribute, when there is exactly one (RFC 5652 clause 11.2)."""
    values = found.attributes.get("message_digest", [])
    return bytes(values[0].native) if len(values) == 1 else None


def signature_fits(found: Cms, content: bytes | None = None) -> bool:
    """Whether the signature value fits the signed attributes (or `content`, without any) under the signer's key.

    Raises:
        CmsFault: there is no signer's certificate, or its key or the algorithm is not known.
    """
    if found.signer is None:
        raise CmsFault("no-signing-certificate")
    public = found.signer.public_key
    value = bytes(found.signer_info["signature"].native)
    algorithm = found.signer_info["signature_algorithm"]
    as_it_stands = found.signed_attributes_raw
    if as_it_stands is None:
        return content is not None and verifies(public, algorithm, value, content, found.digest_algorithm)
    data = b"\x31" + _length(len(as_it_stands)) + as_it_stands
    if verifies(public, algorithm, value, data, found.digest_algorithm):
        return True
    encoded = found.signer_info["signed_attrs"].copy().untag().dump(force=True)
    return encoded != data and verifies(public, algorithm, value, encoded, found.digest_algorithm)


def verifies(public: PublicKeyInfo, algorithm: Any, value: bytes, data: bytes, digest: str | None = None) -> bool:
    """Whether `value` is a signature over `data` by the key.

    Raises:
        CmsFault: key or algorithm is not known, or they do not belong together.
    """
    key = load_key(public)
    name = _scheme(algorithm)
    hash_name = _signature_hash(algorithm) or digest
    try:
        if (name == "ed25519" and isinstance(key, ed25519.Ed25519PublicKey)) or (
            name == "ed448" and isinstance(key, ed448.Ed448PublicKey)
        ):
            key.verify(value, data)
        elif name == "rsassa_pkcs1v15" and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, data, padding.PKCS1v15(), _hash(hash_name))
        elif name == "rsassa_pss" and isinstance(key, rsa.RSAPublicKey):
            parameters = algorithm["parameters"]
            inner = _hash(str(parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native))
            salt = int(parameters["salt_length"].native)
            key.verify(value, data, padding.PSS(padding.MGF1(inner), salt), _hash(hash_name))
        elif name == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(value, data, ec.ECDSA(_hash(hash_name)))
        elif name == "dsa" and isinstance(key, dsa.DSAPublicKey):
            key.verify(value, data, _hash(hash_name))
        else:
            raise CmsFault("algorithm-does-not-fit-key", algorithm=name)
    except InvalidSignature:
        return False
    except ValueError as fault:
        raise CmsFault("signature-value-malformed", fault=type(fault).__name__) from fault
    return True


def load_key(public: PublicKeyInfo) -> Any:
    """The public key, also from encodings that pyca refuses: PSS-only keys and negative RSA moduli.

    Raises:
        CmsFault: the key cannot be read.
    """
    try:
        kind = public["algorithm"]["algorithm"].native
        if kind in ("rsa", "rsassa_pss", "rsaes_oaep"):
            numbers: RSAPublicKey = public["public_key"].parsed
            raw = numbers["modulus"].contents
            modulus = int.from_bytes(raw, "big")
            return rsa.RSAPublicNumbers(int(numbers["public_exponent"].native), modulus).public_key()
        return serialization.load_der_public_key(public.dump())
    except Exception as fault:
        raise CmsFault("key-unreadable", fault=type(fault).__name__) from fault


class TolerantSignatures(SignatureValidator):
    """The same tolerant key reading for certificates on a path."""

    def validate_signature(
        self,
        signature: bytes,
        signed_data: bytes,
        public_key_info: PublicKeyInfo,
        signature_algorithm: Any,
        context: Any = DEFAULT_VALIDATION_CONTEXT,
    ) -> None:
        """Raises InvalidSignature when the signature does not fit."""
        try:
            fits = verifies(
                public_key_info, signature_algorithm, signature, signed_data, context.contextual_md_algorithm
            )
        except CmsFault as fault:
            raise InvalidSignature(fault.reason) from fault
        if not fits:
            raise InvalidSignature


def ess_fault(found: Cms) -> str | None:
    """Why the ESS signing-certificate attribute does not bind the signer's certificate; none if it does (RFC 5035)."""
    v2 = found.attributes.get("signing_certificate_v2", [])
    v1 = found.attributes.get("signing_certificate", [])
    if len(v1) + len(v2) == 0:
        return "ess-missing"
    if len(v1) > 1 or len(v2) > 1:
        return "ess-repeated"
    if found.signer is None:
        return "no-signing-certificate"
    for value in (*v2, *v1):
        identifier = value["certs"][0]
        name = "sha1" if "hash_algorithm" not in identifier else str(identifier["hash_algorithm"]["algorithm"].native)
        if digest_of(name, found.signer.dump()) != bytes(identifier["cert_hash"].native):
            return "ess-other-certificate"
        issuer_serial = identifier["issuer_serial"]
        if (
            issuer_serial.native is not None
            and int(issuer_serial["serial_number"].native) != found.signer.serial_number
        ):
            return "ess-other-certificate"
    return None


def signing_time(found: Cms) -> datetime | None:
    """The signing-time attribute, which PAdES does not allow (EN 319 142-1 clause 6.3)."""
    values = found.attributes.get("signing_time", [])
    native = values[0].native if values else None
    return native if isinstance(native, datetime) else None


def algorithms(found: Cms) -> list[trust.Acceptance]:
    """How the digest, the scheme and the signer's key stand."""
    each = [trust.digest(found.digest_algorithm), trust.scheme(found.scheme)]
    if found.signature_hash and found.signature_hash != found.digest_algorithm:
        each.append(trust.digest(found.signature_hash))
    if found.signer is not None:
        each.append(key_acceptance(found.signer))
    return each


def key_acceptance(certificate: Any) -> trust.Acceptance:
    """How a certificate's key stands."""
    public = certificate.public_key
    kind = str(public["algorithm"]["algorithm"].native)
    if kind == "ec":
        parameters = public["algorithm"]["parameters"]
        curve = str(parameters.chosen.native) if parameters.name == "named" else None
        try:
            return trust.key("ec", int(public.bit_size), curve)
        except (ValueError, KeyError):
            return trust.key("ec", 0, curve)
    if kind in ("rsa", "rsassa_pss", "rsaes_oaep"):
        raw = public["public_key"].parsed["modulus"].contents
        return trust.key("rsa", int.from_bytes(raw, "big").bit_length())
    return trust.key(kind, 0)


def certificate_acceptances(certificate: Any) -> list[trust.Acceptance]:
    """How the algorithms stand with which a certificate was signed."""
    algorithm = certificate["signature_algorithm"]
    each = [trust.scheme(_scheme(algorithm))]
    name = _signature_hash(algorithm)
    if name:
        each.append(trust.digest(name))
    return each


def timestamp_tokens(found: Cms) -> list[bytes]:
    """The signature timestamp tokens among the unsigned attributes (RFC 3161 appendix A)."""
    return [value.dump() for value in found.unsigned.get("signature_time_stamp_token", [])]


def content_tokens(found: Cms) -> list[bytes]:
    """The content timestamp tokens among the signed attributes (EN 319 122-1 clause 5.2.8)."""
    return [value.dump() for value in found.attributes.get("1.2.840.113549.1.9.16.2.20", [])] + [
        value.dump() for value in found.attributes.get("content_time_stamp", [])
    ]


def embedded_revocation(found: Cms) -> tuple[list[bytes], list[bytes]]:
    """(OCSP responses, CRLs) that the CMS carries: Adobe's archival attribute and the `crls` field."""
    ocsps: list[bytes] = []
    crls: list[bytes] = []
    for value in found.attributes.get("adobe_revocation_info_archival", []):
        ocsps += [one.dump() for one in value["ocsp"] or ()]
        crls += [one.dump() for one in value["crl"] or ()]
    listed = found.signed_data["crls"] or ()
    crls += [choice.chosen.dump() for choice in listed if choice.name == "certificate_list"]
    return ocsps, crls


def tst_info(found: Cms) -> Any:
    """The TSTInfo of a timestamp token.

    Raises:
        CmsFault: it is not a token.
    """
    if found.content_type != "tst_info":
        raise CmsFault("not-a-timestamp-token", found=found.content_type)
    try:
        info = tsp.TSTInfo.load(found.encapsulated or b"")
        info["gen_time"].native  # noqa: B018 - parse it now
        return info
    except Exception as fault:
        raise CmsFault("token-unreadable", fault=type(fault).__name__) from fault


def same(one: bytes | None, other: bytes | None) -> bool:
    """Equal octets."""
    return one is not None and other is not None and hmac.compare_digest(one, other)


def _attributes(attributes: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    if attributes is None or isinstance(attributes, Void):
        return found
    for attribute in attributes:
        found.setdefault(str(attribute["type"].native), []).extend(attribute["values"])
    return found


def _signer(found: Cms) -> Any | None:
    """The certificate that the SignerInfo names; when several fit, the one that ESS binds (certificate confusion)."""
    sid = found.signer_info["sid"]
    if sid.name == "issuer_and_serial_number":
        issuer, serial = sid.chosen["issuer"], sid.chosen["serial_number"].native
        fitting = [each for each in found.certificates if each.serial_number == serial and each.issuer == issuer]
    else:
        wanted = sid.chosen.native
        fitting = [each for each in found.certificates if each.key_identifier == wanted]
    for each in fitting:
        found.signer = each
        if ess_fault(found) is None:
            return each
    return fitting[0] if fitting else None


def _digest_name(identifier: ObjectIdentifier) -> str:
    name = str(identifier.native)
    if name in _HASHES:
        return name
    try:
        # Some writers put a signature algorithm where the digest algorithm belongs.
        return str(algos.SignedDigestAlgorithm({"algorithm": identifier.dotted}).hash_algo)
    except (ValueError, KeyError, TypeError):
        return name


def _scheme(algorithm: Any) -> str:
    try:
        return str(algorithm.signature_algo)
    except ValueError:
        return str(algorithm["algorithm"].native)


def _signature_hash(algorithm: Any) -> str | None:
    try:
        return str(algorithm.hash_algo)
    except ValueError:
        return None


def _hash(name: str | None) -> hashes.HashAlgorithm:
    known = _HASHES.get((name or "").lower())
    if known is None:
        raise CmsFault("digest-unknown", algorithm=str(name))
    return known()


def _length(size: int) -> bytes:
    if size < 128:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def describe_key(certificate: x509.Certificate) -> str:
    """The key in words that mean the same in any language."""
    return key_acceptance(certificate).algorithm
