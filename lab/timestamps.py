"""An RFC 3161 timestamp authority: SHA-2 imprints only, nonce echoed, ESSCertIDv2, accuracy one second (EN 319 422)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from lab.pki import Issuer

POLICY = "2.25.288612405431746094"
_LENGTHS = {"sha256": 32, "sha384": 48, "sha512": 64}


def answer(
    body: bytes,
    tsa: Issuer,
    clock: Callable[[], datetime],
    *,
    wrong_imprint: bool = False,
    wrong_nonce: bool = False,
    first_edition: bool = False,
) -> bytes:
    """The response to a request; a rejection with its PKIFailureInfo when the request is not acceptable.

    `first_edition` names the certificate as RFC 3161 did before RFC 5816: ESSCertID, by SHA-1.
    """
    try:
        asked = tsp.TimeStampReq.load(body, strict=True)
        algorithm = asked["message_imprint"]["hash_algorithm"]["algorithm"].native
        imprint = asked["message_imprint"]["hashed_message"].native
        nonce = asked["nonce"].native
        wants_certificate = bool(asked["cert_req"].native)
        policy = asked["req_policy"].native
    except (ValueError, TypeError, KeyError):
        return _rejection("bad_data_format")
    if algorithm not in _LENGTHS:
        return _rejection("bad_alg")
    if len(imprint) != _LENGTHS[algorithm]:
        return _rejection("bad_data_format")
    if policy not in (None, POLICY):
        return _rejection("unaccepted_policy")
    if wrong_imprint:
        imprint = hashlib.new(algorithm, b"something else").digest()
    info: dict[str, Any] = {
        "version": "v1",
        "policy": POLICY,
        "message_imprint": {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": imprint},
        "serial_number": int.from_bytes(secrets.token_bytes(15)),
        "gen_time": clock().astimezone(UTC).replace(microsecond=0),
        "accuracy": {"seconds": 1},
    }
    if nonce is not None:
        info["nonce"] = nonce + 1 if wrong_nonce else nonce
    token = _signed(tsp.TSTInfo(info).dump(), tsa, wants_certificate, first_edition)
    return _tlv(0x30, _GRANTED + token)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every token of one authority has in common, DER: made once, for asn1crypto takes 7 ms to build it anew."""

    identifier: bytes
    certificate: bytes
    named: bytes
    algorithm: bytes


@lru_cache(maxsize=16)
def _desk(der: bytes, scheme: str, first_edition: bool) -> _Desk:
    certificate = asn1_x509.Certificate.load(der)
    issued = {
        "issuer": [asn1_x509.GeneralName("directory_name", certificate.issuer)],
        "serial_number": certificate.serial_number,
    }
    if first_edition:
        kind = "signing_certificate"
        digest = hashlib.sha1(der).digest()  # noqa: S324 - an identifier; the signature is over SHA-256
    else:
        kind, digest = "signing_certificate_v2", hashlib.sha256(der).digest()
    identifier = {"cert_hash": digest, "issuer_serial": issued}
    named = cms.CMSAttribute({"type": kind, "values": [{"certs": [identifier]}]})
    return _Desk(
        identifier=cms.IssuerAndSerialNumber(
            {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        ).dump(),
        certificate=der,
        named=named.dump(),
        algorithm=algos.SignedDigestAlgorithm({"algorithm": scheme}).dump(),
    )


_GRANTED = tsp.PKIStatusInfo({"status": "granted"}).dump()
_KIND = cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}).dump()
_SHA256 = algos.DigestAlgorithm({"algorithm": "sha256"}).dump()
_TST_INFO = cms.ContentType("tst_info").dump()
_SIGNED_DATA = cms.ContentType("signed_data").dump()


def _signed(content: bytes, tsa: Issuer, with_certificate: bool, first_edition: bool) -> bytes:
    """The token (DER) over a TSTInfo (DER): SignedData with one signer (RFC 5652 clause 5)."""
    is_rsa = isinstance(tsa.key, rsa.RSAPrivateKey)
    desk = _desk(tsa.der, "sha256_rsa" if is_rsa else "sha256_ecdsa", first_edition)
    digest = cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}).dump()
    attributes = b"".join(sorted((_KIND, digest, desk.named)))
    if is_rsa:
        signature = tsa.key.sign(_tlv(0x31, attributes), padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = tsa.key.sign(_tlv(0x31, attributes), ec.ECDSA(hashes.SHA256()))
    version = core.Integer(1).dump()
    signer = _tlv(
        0x30,
        version + desk.identifier + _SHA256 + _tlv(0xA0, attributes) + desk.algorithm + _tlv(0x04, signature),
    )
    signed = _tlv(
        0x30,
        core.Integer(3).dump()
        + _tlv(0x31, _SHA256)
        + _tlv(0x30, _TST_INFO + _tlv(0xA0, _tlv(0x04, content)))
        + (_tlv(0xA0, desk.certificate) if with_certificate else b"")
        + _tlv(0x31, signer),
    )
    return _tlv(0x30, _SIGNED_DATA + _tlv(0xA0, signed))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag]) + (bytes([size]) if size < 0x80 else bytes([0x80 | len(octets)]) + octets) + content


def _rejection(failure: str) -> bytes:
    status = {"status": "rejection", "fail_info": {failure}}
    return bytes(tsp.TimeStampResp({"status": status}).dump())
