"""An RFC 3161 timestamp authority: SHA-2 imprints only, nonce echoed, ESSCertIDv2, accuracy one second (EN 319 422)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from lab.pki import Issuer

POLICY = "2.25.288612405431746094"
_LENGTHS = {"sha256": 32, "sha384": 48, "sha512": 64}


def answer(
    body: bytes, tsa: Issuer, clock: Callable[[], datetime], *, wrong_imprint: bool = False, wrong_nonce: bool = False
) -> bytes:
    """The response to a request; a rejection with its PKIFailureInfo when the request is not acceptable."""
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
    content = tsp.TSTInfo(info)
    token = _signed(content, tsa, wants_certificate)
    return bytes(tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump())


def _signed(content: tsp.TSTInfo, tsa: Issuer, with_certificate: bool) -> cms.ContentInfo:
    certificate = asn1_x509.Certificate.load(tsa.der)
    identifier = tsp.ESSCertIDv2(
        {
            "cert_hash": hashlib.sha256(tsa.der).digest(),
            "issuer_serial": {
                "issuer": [asn1_x509.GeneralName("directory_name", certificate.issuer)],
                "serial_number": certificate.serial_number,
            },
        }
    )
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content.dump()).digest()]}),
            cms.CMSAttribute(
                {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [identifier]})]}
            ),
        ]
    )
    if isinstance(tsa.key, rsa.RSAPrivateKey):
        signature = tsa.key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = tsa.key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256()))
    algorithm = "sha256_rsa" if isinstance(tsa.key, rsa.RSAPrivateKey) else "sha256_ecdsa"
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                cms.IssuerAndSerialNumber({"issuer": certificate.issuer, "serial_number": certificate.serial_number}),
            ),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": algorithm}),
            "signature": signature,
        }
    )
    signed: dict[str, Any] = {
        "version": "v3",
        "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
        "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content.dump())},
        "signer_infos": [signer],
    }
    if with_certificate:
        signed["certificates"] = [certificate]
    return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})


def _rejection(failure: str) -> bytes:
    status = {"status": "rejection", "fail_info": {failure}}
    return bytes(tsp.TimeStampResp({"status": status}).dump())
