# mypy: allow-untyped-calls
"""RFC 3161 client that fails closed: a token comes out only after everything about it was checked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from asn1crypto import algos, cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.sign.timestamps import TimeStamper

from events.errors import Refused, Unavailable
from events.values import Digest
from services.runtime.clock import Clock
from services.runtime.outbound import Outbound
from services.signer.adapters import chains
from services.signer.adapters.fetching import fetch
from services.signer.model import Token

ROOM = 9_000
"""Octets reserved for a token before one was seen: a token with three RSA certificates has about 6,000."""


class _Response(core.Sequence):
    """TimeStampResp, whose token is absent when the authority refuses (RFC 3161 clause 2.4.2)."""

    _fields = [("status", tsp.PKIStatusInfo), ("time_stamp_token", cms.ContentInfo, {"optional": True})]  # noqa: RUF012


class Rfc3161Authority:
    """A `TimestampAuthority` behind one HTTP address.

    `anchors` are the roots its path must end at; `pool` offers issuers that tokens leave out; `skew` is how far its
    time may lie from ours; `timeout` is in seconds; `limit` in octets. It asks once: retrying is the caller's.
    """

    def __init__(
        self,
        outbound: Outbound,
        url: str,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        *,
        pool: Sequence[x509.Certificate] = (),
        skew: timedelta = timedelta(seconds=60),
        timeout: float = 5.0,
        limit: int = 64_000,
    ) -> None:
        self._outbound = outbound
        self._url = url
        self._anchors = tuple(anchors)
        self._pool = tuple(pool)
        self._clock = clock
        self._skew = skew
        self._timeout = timeout
        self._limit = limit
        self._room = ROOM

    @property
    def room(self) -> int:
        """Octets to reserve for a token: enough for the largest seen, and some."""
        return self._room

    async def timestamp(self, digest: Digest) -> Token:
        """A checked token over the digest.

        Raises:
            Unavailable: no answer in time, a refusal, or an answer that does not stand up to checking.
        """
        nonce = secrets.randbits(63) | (1 << 62)
        request = tsp.TimeStampReq(
            {
                "version": 1,
                "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest.raw},
                "nonce": nonce,
                "cert_req": True,
            }
        )
        body, kind = await fetch(
            self._outbound,
            "POST",
            self._url,
            what="timestamp authority",
            code="timestamp-authority",
            body=request.dump(),
            content_type="application/timestamp-query",
            accept="application/timestamp-reply",
            timeout=self._timeout,
            limit=self._limit,
        )
        if kind != "application/timestamp-reply":
            raise _bad("timestamp-media-type", f"an answer of type {kind[:60]!r}", "application/timestamp-reply")
        token = check_response(
            body,
            digest=digest,
            nonce=nonce,
            anchors=self._anchors,
            pool=self._pool,
            now=self._clock.now(),
            skew=self._skew,
        )
        self._room = max(self._room, len(token.der) + 1_000)
        return token

    def as_time_stamper(self) -> TimeStamper:
        """The same authority in pyHanko's form, with the same checks."""
        return _CheckedTimeStamper(self)


class _CheckedTimeStamper(TimeStamper):
    def __init__(self, authority: Rfc3161Authority) -> None:
        super().__init__()
        self._authority = authority

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        """A checked token.

        Raises:
            Unavailable: as `Rfc3161Authority.timestamp`, or a digest other than SHA-256 was asked for.
        """
        if md_algorithm != "sha256":
            raise _bad("timestamp-digest", f"a digest by {md_algorithm}", "SHA-256")
        token = await self._authority.timestamp(Digest("sha256:" + message_digest.hex()))
        content: cms.ContentInfo = cms.ContentInfo.load(token.der)
        return content


def check_response(
    body: bytes,
    *,
    digest: Digest,
    nonce: int,
    anchors: Sequence[x509.Certificate],
    pool: Sequence[x509.Certificate],
    now: datetime,
    skew: timedelta,
) -> Token:
    """The token in a TimeStampResp (DER) if it is what was asked for (RFC 3161 clauses 2.3, 2.4.2; RFC 5816).

    Raises:
        Unavailable: the code says which check failed.
    """
    try:
        response = _Response.load(body, strict=True)
        status = response["status"]["status"].native
    except (ValueError, TypeError, KeyError) as fault:
        raise _bad("timestamp-malformed", "an answer that is no TimeStampResp", "one (RFC 3161)") from fault
    if status not in ("granted", "granted_with_mods"):
        raise _bad("timestamp-refused", f"the status {status}", "granted")
    try:
        der = response["time_stamp_token"].dump()
        return _check_token(der, digest, nonce, anchors, pool, now, skew)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, UnsupportedAlgorithm) as fault:
        raise _bad(
            "timestamp-malformed", f"a token that cannot be read ({type(fault).__name__})", "one (RFC 3161)"
        ) from fault


def _check_token(
    der: bytes,
    digest: Digest,
    nonce: int,
    anchors: Sequence[x509.Certificate],
    pool: Sequence[x509.Certificate],
    now: datetime,
    skew: timedelta,
) -> Token:
    content = cms.ContentInfo.load(der, strict=True)
    if content["content_type"].native != "signed_data":
        raise _bad("timestamp-malformed", "content that is no SignedData", "a signed token")
    signed = content["content"]
    encapsulated = signed["encap_content_info"]
    if encapsulated["content_type"].native != "tst_info" or len(signed["signer_infos"]) != 1:
        raise _bad("timestamp-malformed", "not one signer over TSTInfo", "one (RFC 3161 clause 2.4.2)")
    octets = bytes(encapsulated["content"])
    # Whatever the wrapping is called, the octets of TSTInfo are what is signed.
    info = tsp.TSTInfo.load(octets, strict=True)
    imprint = info["message_imprint"]
    if imprint["hash_algorithm"]["algorithm"].native != "sha256" or imprint["hashed_message"].native != digest.raw:
        raise _bad("timestamp-imprint", "a token over another digest", "one over what was sent")
    if info["nonce"].native != nonce:
        raise _bad("timestamp-nonce", "another nonce, or none", "the nonce that was sent")
    time: datetime = info["gen_time"].native
    if abs(time - now) > skew:
        raise _bad(
            "timestamp-time",
            f"a time {abs(time - now).total_seconds():.0f} s away from ours",
            f"at most {skew.total_seconds():.0f} s",
        )
    certificates = [x509.load_der_x509_certificate(c.chosen.dump()) for c in signed["certificates"]]
    signer = signed["signer_infos"][0]
    leaf = _signer_of(signer, certificates)
    _check_signature(signer, leaf, octets)
    _check_purpose(leaf)
    try:
        path = chains.build_path(leaf, (*certificates, *pool), anchors, time)
    except Refused as fault:
        raise _bad("timestamp-authority-untrusted", fault.found, fault.expected) from fault
    return Token(der=der, time=time, path=tuple(chains.der(c) for c in path))


def _signer_of(signer: cms.SignerInfo, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """The certificate that the token itself names by digest (RFC 5035, RFC 5816), among those it carries."""
    named: bytes | None = None
    digest = "sha1"
    for attribute in signer["signed_attrs"]:
        kind = attribute["type"].native
        if kind == "signing_certificate_v2":
            identifier = attribute["values"][0]["certs"][0]
            digest = identifier["hash_algorithm"]["algorithm"].native
            named = identifier["cert_hash"].native
            break
        if kind == "signing_certificate":
            named = attribute["values"][0]["certs"][0]["cert_hash"].native
    if digest not in ("sha1", "sha256", "sha384", "sha512"):
        raise _bad("timestamp-signer", f"a signing-certificate digest by {digest}", "SHA-256")
    for certificate in certificates:
        if named is not None and hashlib.new(digest, chains.der(certificate)).digest() == named:
            sid = signer["sid"]
            if sid.name == "issuer_and_serial_number" and (
                sid.chosen["serial_number"].native != certificate.serial_number
                or sid.chosen["issuer"].dump() != certificate.issuer.public_bytes()
            ):
                break
            return certificate
    raise _bad(
        "timestamp-signer",
        "no certificate that the token names as its signer",
        "signing-certificate(-v2) and that certificate",
    )


def _check_signature(signer: cms.SignerInfo, leaf: x509.Certificate, octets: bytes) -> None:
    digest: str = signer["digest_algorithm"]["algorithm"].native
    if digest not in chains.HASHES:
        raise _bad("timestamp-algorithm", f"a token digest by {digest}", "SHA-256, SHA-384 or SHA-512")
    attributes = {item["type"].native: item["values"] for item in signer["signed_attrs"]}
    if attributes["content_type"][0].native != "tst_info":
        raise _bad("timestamp-malformed", "a content-type attribute that is not TSTInfo", "id-ct-TSTInfo")
    if attributes["message_digest"][0].native != hashlib.new(digest, octets).digest():
        raise _bad("timestamp-signature", "a message digest that is not the content's", "the content's")
    # The attributes are hashed as they stand, with the SET tag in place of [0] (RFC 5652 clause 5.4).
    stands = signer["signed_attrs"].dump()
    try:
        chains.verify_signature(
            leaf.public_key(),
            signer["signature"].native,
            b"\x31" + stands[1:],
            algos.SignedDigestAlgorithm.load(signer["signature_algorithm"].dump()),
            digest,
        )
    except InvalidSignature as fault:
        raise _bad("timestamp-signature", "a signature that does not hold", "one by the named certificate") from fault
    except UnsupportedAlgorithm as fault:
        raise _bad("timestamp-algorithm", str(fault), "RSA of 2048 bit or ECDSA of 256 bit with SHA-2") from fault


def _check_purpose(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise _bad(
            "timestamp-purpose",
            "a signer that is not for time-stamping alone",
            "a critical extended key usage of timeStamping only (RFC 3161 clause 2.3)",
        )


def _bad(code: str, found: str, expected: str) -> Unavailable:
    return Unavailable(
        code, found=found, expected=expected, remedy="nothing was released; it is tried again, or use another authority"
    )
