"""Timestamp tokens (RFC 3161) taken apart by hand and checked: what an authority answers, and who signed it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from events.errors import Refused, Unavailable
from events.values import Digest
from services.runtime.certificates import extensions_of, from_der
from services.signer.adapters import chains, der
from services.signer.adapters.answers import put
from services.signer.adapters.fast import cms
from services.signer.model import Token

_TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")
_SIGNING_CERTIFICATE = bytes.fromhex("060b2a864886f70d010910020c")
_SHA256 = bytes.fromhex("0609608648016503040201")
_DIGESTS = {
    bytes.fromhex("06052b0e03021a"): "sha1",
    _SHA256: "sha256",
    bytes.fromhex("0609608648016503040202"): "sha384",
    bytes.fromhex("0609608648016503040203"): "sha512",
}
_HASHES = {name: getattr(hashlib, name) for name in chains.HASHES}
_KNOWN_MOST = 64

Piece = tuple[int, int]
"""Where a piece of an answer begins and ends."""


@dataclass(frozen=True)
class _Signer:
    """Who signs tokens: what was checked about the certificate holds from `since` to `until`.

    `carried` are the certificates of the path that stand in the token, `identifiers` how it may name the leaf.
    """

    key: CertificatePublicKeyTypes
    path: tuple[bytes, ...]
    carried: tuple[bytes, ...]
    identifiers: tuple[bytes, ...]
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where in an answer the values of its token stand, and what never differs from token to token.

    An authority's next answer mostly differs in values alone: where all other octets are the same, so is what reading
    them found.
    """

    fixed: tuple[Piece, ...]
    kept: bytes
    token: Piece
    info: Piece
    hashed: Piece
    time: Piece
    nonce: Piece
    attributes: Piece
    message: Piece
    signature: Piece
    certificates: bytes
    identifier: bytes
    digest: str
    algorithm: bytes
    method: str
    named: bytes

    def fits(self, body: bytes) -> bool:
        """Whether the answer, of the same length, differs from the one that was read in nothing but values."""
        return b"".join([_cut(body, one) for one in self.fixed]) == self.kept


class TokenChecker:
    """Checks an authority's answers (RFC 3161 clauses 2.3, 2.4.2; RFC 5816); its path is built once and remembered."""

    def __init__(self, anchors: Sequence[x509.Certificate], pool: Sequence[x509.Certificate], skew: timedelta) -> None:
        self._anchors = tuple(anchors)
        self._pool = tuple(pool)
        self._skew = skew
        self._known: dict[tuple[bytes, str, bytes], _Signer] = {}
        """By what a token carries, and how and by which digest it names its signer in it."""
        self._layouts: dict[int, _Layout] = {}
        """By the answer's length, which differs by an octet or two."""

    def check(self, body: bytes, *, digest: Digest, nonce: int, now: datetime) -> Token:
        """The token in a TimeStampResp (DER) if it is what was asked for.

        Raises:
            Unavailable: the code says which check failed.
        """
        try:
            layout = self._layouts.get(len(body))
            if layout is None or not layout.fits(body):
                layout = _read(body)
            if _cut(body, layout.hashed) != digest.raw:
                raise bad("timestamp-imprint", "a token over another digest", "one over what was sent")
            if int.from_bytes(_cut(body, layout.nonce)) != nonce:
                raise bad("timestamp-nonce", "another nonce, or none", "the nonce that was sent")
            time = _moment(_cut(body, layout.time))
            if abs(time - now) > self._skew:
                raise bad(
                    "timestamp-time",
                    f"a time {abs(time - now).total_seconds():.0f} s away from ours",
                    f"at most {self._skew.total_seconds():.0f} s",
                )
            signer = self._signed(body, layout, time)
            put(self._layouts, len(body), layout, _KNOWN_MOST)
            return Token(_cut(body, layout.token), time, signer.path, signer.carried)
        except (ValueError, TypeError, KeyError, IndexError, UnsupportedAlgorithm) as fault:
            raise bad(
                "timestamp-malformed", f"an answer that cannot be read ({type(fault).__name__})", "DER of RFC 3161"
            ) from fault

    def _signed(self, body: bytes, layout: _Layout, time: datetime) -> _Signer:
        """Who signed the token."""
        if layout.digest not in _HASHES:
            raise bad("timestamp-algorithm", f"a token digest by {layout.digest}", "SHA-256, SHA-384 or SHA-512")
        if _cut(body, layout.message) != _HASHES[layout.digest](_cut(body, layout.info)).digest():
            raise bad("timestamp-signature", "a message digest that is not the content's", "the content's")
        named = (layout.certificates, layout.method, layout.named)
        signer = self._known.get(named)
        if signer is None or not signer.since <= time <= signer.until:
            signer = None
            leaf, others = _named(*named)
            identifiers = _identifiers(leaf)
            key = leaf.public_key()
        else:
            identifiers, key = signer.identifiers, signer.key
        if layout.identifier not in identifiers:
            raise bad("timestamp-signer", "a signer identifier of another certificate", "the named certificate's")
        # The attributes are hashed as they stand, with the SET tag in place of [0] (RFC 5652 clause 5.4).
        signed = b"\x31" + _cut(body, layout.attributes)[1:]
        try:
            chains.verify_by_identifier(key, _cut(body, layout.signature), signed, layout.algorithm, layout.digest)
        except InvalidSignature as fault:
            raise bad(
                "timestamp-signature", "a signature that does not hold", "one by the named certificate"
            ) from fault
        except UnsupportedAlgorithm as fault:
            raise bad("timestamp-algorithm", str(fault), "RSA of 2048 bit or ECDSA of 256 bit with SHA-2") from fault
        if signer is None:
            signer = self._learn(leaf, others, identifiers, time)
            put(self._known, named, signer, _KNOWN_MOST)
        return signer

    def _learn(
        self, leaf: x509.Certificate, others: list[x509.Certificate], identifiers: tuple[bytes, ...], time: datetime
    ) -> _Signer:
        _check_purpose(leaf)
        try:
            path = chains.build_path(leaf, (*others, *self._pool), self._anchors, time)
        except Refused as fault:
            raise bad("timestamp-authority-untrusted", fault.found, fault.expected) from fault
        since, until = chains.lifetime(path)
        ders = tuple(chains.der(one) for one in path)
        inside = {chains.der(one) for one in others}
        carried = tuple(one for one in ders if one in inside)
        return _Signer(leaf.public_key(), ders, carried, identifiers, since, until)


# --- reading -------------------------------------------------------------------------------------------------------


def _read(body: bytes) -> _Layout:
    """Take an answer apart: TimeStampResp, SignedData with one signer over TSTInfo (RFC 3161, RFC 5652 clauses 3, 5).

    Raises:
        Unavailable: the authority refused, or it is no signed token.
        ValueError: not DER of these structures.
    """
    _, _, start, end = der.whole(body, der.SEQUENCE)
    status, *token = der.within(body, start, end)
    granted = der.within(body, status[2], status[3])[0]
    if status[0] != der.SEQUENCE or granted[0] != der.INTEGER:
        raise ValueError("no PKIStatusInfo")
    number = int.from_bytes(body[granted[2] : granted[3]])
    if number not in (0, 1):
        raise bad("timestamp-refused", f"the status {number}", "0, granted, or 1, granted with changes")
    if len(token) != 1 or token[0][0] != der.SEQUENCE:
        raise ValueError("no token")
    kind, wrapped = der.within(body, token[0][2], token[0][3])
    if body[kind[1] : kind[3]] != cms.SIGNED_DATA or wrapped[0] != 0xA0:
        raise bad("timestamp-malformed", "content that is no SignedData", "a signed token")
    signed = _only(body, wrapped, der.SEQUENCE)
    fields = der.within(body, signed[2], signed[3])
    certificates = b"".join([body[one[2] : one[3]] for one in fields if one[0] == 0xA0])
    kind, *content = der.within(body, fields[2][2], fields[2][3])
    signers = der.within(body, fields[-1][2], fields[-1][3])
    if body[kind[1] : kind[3]] != _TST_INFO or len(content) != 1 or fields[-1][0] != der.SET or len(signers) != 1:
        raise bad("timestamp-malformed", "not one signer over TSTInfo", "one (RFC 3161 clause 2.4.2)")
    info = _only(body, content[0], der.OCTETS)
    hashed, serial, time, nonce = _info(body, _only(body, info, der.SEQUENCE))
    _, sid, digest, attributes, algorithm, signature, *_ = der.within(body, signers[0][2], signers[0][3])
    if attributes[0] != 0xA0 or algorithm[0] != der.SEQUENCE or signature[0] != der.OCTETS:
        raise ValueError("a signer without signed attributes")
    name = der.span(body, digest[2], digest[3])
    message, others, method, named = _attributes(body, attributes)
    values = sorted(one[2:] for one in (hashed, serial, time, nonce, message, *others, signature))
    ends = [0, *(end for _, end in values)]
    fixed = tuple(zip(ends, [*(start for start, _ in values), len(body)], strict=True))
    return _Layout(
        fixed=fixed,
        kept=b"".join([_cut(body, one) for one in fixed]),
        token=(token[0][1], token[0][3]),
        info=_content(info),
        hashed=_content(hashed),
        time=_content(time),
        nonce=_content(nonce),
        attributes=(attributes[1], attributes[3]),
        message=_content(message),
        signature=_content(signature),
        certificates=certificates,
        identifier=body[sid[1] : sid[3]],
        digest=_DIGESTS.get(body[name[1] : name[3]], f"the algorithm {body[name[1] : name[3]].hex()}"),
        algorithm=body[algorithm[1] : algorithm[3]],
        method=method,
        named=named,
    )


def _content(one: der.Span) -> Piece:
    return one[2], one[3]


def _cut(body: bytes, piece: Piece) -> bytes:
    return body[piece[0] : piece[1]]


def _only(body: bytes, holder: der.Span, tag: int) -> der.Span:
    """The one value within another."""
    inside = der.within(body, holder[2], holder[3])
    if len(inside) != 1 or inside[0][0] != tag:
        raise ValueError("not one value of the kind expected")
    return inside[0]


def _info(body: bytes, info: der.Span) -> tuple[der.Span, der.Span, der.Span, der.Span]:
    """Digest, serial number, time and nonce in a TSTInfo over a SHA-256 digest (RFC 3161 clause 2.4.2).

    Raises:
        Unavailable: another kind of digest, or no nonce.
    """
    version, _, imprint, serial, time, *rest = der.within(body, info[2], info[3])
    if body[version[1] : version[3]] != b"\x02\x01\x01" or serial[0] != der.INTEGER or time[0] != 0x18:
        raise ValueError("not a TSTInfo of version 1")
    method, hashed = der.within(body, imprint[2], imprint[3])
    name = der.span(body, method[2], method[3])
    if body[name[1] : name[3]] != _SHA256 or hashed[0] != der.OCTETS:
        raise bad("timestamp-imprint", "a token over another kind of digest", "one over what was sent")
    nonces = [one for one in rest if one[0] == der.INTEGER]
    if len(nonces) != 1:
        raise bad("timestamp-nonce", "another nonce, or none", "the nonce that was sent")
    return hashed, serial, time, nonces[0]


def _moment(text: bytes) -> datetime:
    """A GeneralizedTime in UTC, with or without fractions of a second (RFC 3161 clause 2.4.2)."""
    whole, _, fraction = text[:-1].partition(b".")
    if text[-1:] != b"Z" or len(whole) != 14 or not (whole + fraction).isdigit():
        raise ValueError("a time that is not YYYYMMDDhhmmss[.f]Z")
    micro = int(fraction[:6].ljust(6, b"0")) if fraction else 0
    year, month, day = int(whole[:4]), int(whole[4:6]), int(whole[6:8])
    return datetime(year, month, day, int(whole[8:10]), int(whole[10:12]), int(whole[12:]), micro, UTC)


def _attributes(body: bytes, attributes: der.Span) -> tuple[der.Span, list[der.Span], str, bytes]:
    """What signed attributes say: the message digest, values that mean nothing here, how and by which digest the
    signer's certificate is named (RFC 5035, RFC 5816).
    """
    found = cms.attributes(body, attributes)
    kind, message = found.pop(cms.CONTENT_TYPE), found.pop(cms.MESSAGE_DIGEST)
    if body[kind[1] : kind[3]] != _TST_INFO or message[0] != der.OCTETS:
        raise bad("timestamp-malformed", "a content-type attribute that is not TSTInfo", "id-ct-TSTInfo")
    older, newer = found.pop(_SIGNING_CERTIFICATE, None), found.pop(cms.SIGNING_CERTIFICATE_V2, None)
    method, named = "sha256", b""
    if newer is not None:
        method, named = _ess(body[newer[1] : newer[3]], "sha256")
    elif older is not None:
        method, named = _ess(body[older[1] : older[3]], "sha1")
    return message, list(found.values()), method, named


def _ess(value: bytes, default: str) -> tuple[str, bytes]:
    """Hash algorithm and hash of the first certificate in a SigningCertificate(V2)."""
    at = der.whole(value, der.SEQUENCE)
    for _ in range(2):  # certs, then the first of them
        at = der.span(value, at[2], at[3])
    first, *rest = der.within(value, at[2], at[3])
    if first[0] == der.OCTETS:
        return default, value[first[2] : first[3]]
    name = der.span(value, first[2], first[3])
    return _DIGESTS[value[name[1] : name[3]]], value[rest[0][2] : rest[0][3]]


def _named(certificates: bytes, method: str, named: bytes) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The certificate that the token itself names by its digest, and all it carries."""
    carried = [certificates[one[1] : one[3]] for one in der.within(certificates, 0, len(certificates))]
    loaded = [from_der(one) for one in carried if one[0] == der.SEQUENCE]
    for certificate in loaded:
        extensions_of(certificate)  # read now
        if hashlib.new(method, chains.der(certificate)).digest() == named:
            return certificate, loaded
    raise bad(
        "timestamp-signer",
        "no certificate that the token names as its signer",
        "signing-certificate(-v2) and that certificate",
    )


def _identifiers(leaf: x509.Certificate) -> tuple[bytes, ...]:
    """How a SignerInfo may name the certificate: issuer and serial number, or key identifier (RFC 5652 clause 5.3)."""
    serial = leaf.serial_number
    forms = [der.tlv(der.SEQUENCE, leaf.issuer.public_bytes(), der.integer(serial))]
    try:
        key = leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        forms.append(der.tlv(0x80, key))
    except x509.ExtensionNotFound:
        pass
    return tuple(forms)


def _check_purpose(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise bad(
            "timestamp-purpose",
            "a signer that is not for time-stamping alone",
            "a critical extended key usage of timeStamping only (RFC 3161 clause 2.3)",
        )


def bad(code: str, found: str, expected: str) -> Unavailable:
    """The fault of an authority whose answer is not relied on."""
    return Unavailable(
        code, found=found, expected=expected, remedy="nothing was released; it is tried again, or use another authority"
    )
