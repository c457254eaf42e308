"""OCSP responses: read from their bytes, believed only from the issuer or its delegate (RFC 6960)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.verifier.validation import names
from services.verifier.validation.algorithms import CryptoFault, Scheme, digest_name, digest_of, scheme_of, vouches
from services.verifier.validation.certificates import NO_CHECK, Certificate, read_certificate
from services.verifier.validation.der import ENUMERATED, SEQUENCE, Malformed, Node, oid, parse
from services.verifier.validation.path import MOST_CANDIDATES, Paths
from services.verifier.validation.statements import Rejected, Statement, is_weak, reason_name

_BASIC = oid("1.3.6.1.5.5.7.48.1.1")
_ARCHIVE_CUTOFF = oid("1.3.6.1.5.5.7.48.1.6")
_UNDERSTOOD = frozenset({_ARCHIVE_CUTOFF, oid("1.3.6.1.5.5.7.48.1.2"), oid("1.3.6.1.5.5.7.48.1.9")})
MOST_RESPONSES = 1_000
MOST_CERTIFICATES = 20


@dataclass(frozen=True)
class Single:
    """What a response says of one certificate (RFC 6960 clause 4.2.1)."""

    hash_algorithm: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: bytes
    """Its contents octets without leading zeros."""
    known: bool
    this_update: datetime
    next_update: datetime | None
    archive_cutoff: datetime | None
    revoked_at: datetime | None
    reason: str | None

    def speaks_of(self, certificate: Certificate, issuer: Certificate) -> bool:
        """Whether the CertID names the certificate: serial, issuer's name and issuer's key. Raises Malformed."""
        if self.serial != certificate.serial_octets.lstrip(b"\0"):
            return False
        if digest_of(self.hash_algorithm, issuer.key_octets) != self.issuer_key_hash:
            return False
        return self.issuer_name_hash in (
            digest_of(self.hash_algorithm, issuer.subject),
            digest_of(self.hash_algorithm, certificate.issuer),
        )


class Response:
    """A successful basic response.

    Raises:
        Malformed: on making, when it is another kind of response or cannot be read.
    """

    def __init__(self, raw: bytes) -> None:
        self.sha256 = hashlib.sha256(raw).hexdigest()
        data, algorithm, value, *rest = _basic(raw).sequence(3)
        self.signed = data.raw
        self.scheme: Scheme = scheme_of(algorithm.raw)
        self.value = value.bits()
        self._tried: dict[bytes, bool] = {}
        fields = data.sequence(3)
        if fields[0].tag == 0xA0:
            fields = fields[1:]
        identity = fields[0]
        self.by_name = identity.only().raw if identity.tag == 0xA1 else None
        self.by_key = identity.only().octets() if identity.tag == 0xA2 else None
        if self.by_name is None and self.by_key is None:
            raise Malformed("no-responder-id")
        self.produced_at = fields[1].time()
        responses = fields[2].sequence()
        if len(responses) > MOST_RESPONSES:
            raise Malformed("too-many-elements")
        self.singles = tuple(_single(each) for each in responses)
        for field in fields[3:]:
            _extensions(field)
        certificates = [part.only().sequence() for part in rest if part.tag == 0xA0]
        self.certificates = tuple(_readable(each[:MOST_CERTIFICATES] for each in certificates))

    def statements(
        self,
        certificate: Certificate,
        issuer: Certificate,
        paths: Paths,
        good_then: Callable[[Certificate, Certificate, datetime], bool],
        skew: timedelta,
    ) -> list[Statement]:
        """What it says of the certificate; nothing when it does not speak of it, or does not know it.

        `good_then` tells whether a CRL shows a responder's certificate to be good at a moment.

        Raises:
            Rejected: it speaks of the certificate but was not signed by who may.
            Malformed: a certificate at hand cannot be read.
        """
        singles = [single for single in self.singles if single.speaks_of(certificate, issuer)]
        if not singles:
            return []
        responder = self._responder(issuer, paths, good_then, skew)
        weak = is_weak(self.scheme, responder.spki)
        return [
            Statement(
                "ocsp",
                self.sha256,
                single.this_update,
                single.next_update,
                single.archive_cutoff,
                single.revoked_at,
                single.reason,
                weak,
            )
            for single in singles
            if single.known
        ]

    def _responder(
        self,
        issuer: Certificate,
        paths: Paths,
        good_then: Callable[[Certificate, Certificate, datetime], bool],
        skew: timedelta,
    ) -> Certificate:
        """The issuer itself, or a certificate that it issued for OCSP signing (RFC 6960 clause 4.2.2.2)."""
        reason = "responder-not-found"
        others = paths.named(self.by_name) if self.by_name is not None else paths.keyed(self.by_key or b"")
        named = [each for each in (issuer, *self.certificates) if self._named(each)]
        for candidate in (*named, *others[:MOST_CANDIDATES]):
            if not self._fits(candidate.spki):
                reason = "response-signature-wrong"
                continue
            if candidate.spki == issuer.spki and names.equal(candidate.subject, issuer.subject):
                return issuer
            delegated = "ocsp_signing" in (candidate.purposes or ()) and names.equal(candidate.issuer, issuer.subject)
            if not delegated or not paths.signed_by(candidate, issuer):
                reason = "responder-not-authorised"
            elif not candidate.not_before - skew <= self.produced_at <= candidate.not_after + skew:
                reason = "responder-not-valid-then"
            elif NO_CHECK not in candidate.extensions and not good_then(candidate, issuer, self.produced_at):
                reason = "responder-status-unknown"
            else:
                return candidate
        raise Rejected(reason)

    def _fits(self, spki: bytes) -> bool:
        if spki not in self._tried:
            try:
                self._tried[spki] = vouches(spki, self.scheme, self.value, self.signed)
            except CryptoFault:
                self._tried[spki] = False
        return self._tried[spki]

    def _named(self, candidate: Certificate) -> bool:
        if self.by_name is not None:
            return names.equal(candidate.subject, self.by_name)
        return hashlib.sha1(candidate.key_octets, usedforsecurity=False).digest() == self.by_key


def _basic(raw: bytes) -> Node:
    """The BasicOCSPResponse in a whole response, or by itself as CAdES keeps it."""
    outer = parse(raw, SEQUENCE)
    parts = outer.sequence(1)
    if parts[0].tag != ENUMERATED:
        return outer
    if parts[0].integer(ENUMERATED) != 0 or len(parts) < 2:
        raise Malformed("response-not-successful")
    kind, value = parts[1].only().sequence(2)[:2]
    if kind.oid() != _BASIC:
        raise Malformed("response-not-basic")
    return parse(value.octets(), SEQUENCE)


def _single(node: Node) -> Single:
    identifier, status, this_update, *rest = node.sequence(3)
    algorithm, name_hash, key_hash, serial = identifier.sequence(4)[:4]
    revoked_at: datetime | None = None
    named: str | None = None
    if status.tag == 0xA1:
        parts = status.kids()
        revoked_at, named = parts[0].time(), "unspecified"
        if len(parts) > 1:
            named = reason_name(parts[1].only().integer(ENUMERATED))
    elif status.tag not in (0x80, 0x82, 0xA0, 0xA2):
        raise Malformed("no-cert-status")
    next_update: datetime | None = None
    cutoff: datetime | None = None
    for part in rest:
        if part.tag == 0xA0:
            next_update = part.only().time()
        elif part.tag == 0xA1:
            cutoff = _extensions(part)
    return Single(
        digest_name(algorithm.sequence(1)[0].oid()),
        name_hash.octets(),
        key_hash.octets(),
        serial.contents.lstrip(b"\0"),
        status.tag & 0x1F != 2,
        this_update.time(),
        next_update,
        cutoff,
        revoked_at,
        named,
    )


def _extensions(field: Node) -> datetime | None:
    """The archive cutoff among extensions. Raises Malformed for a critical one that is not understood."""
    cutoff = None
    for extension in field.only().sequence():
        parts = extension.sequence(2)
        kind = parts[0].oid()
        if kind == _ARCHIVE_CUTOFF:
            cutoff = parse(parts[-1].octets()).time()
        elif len(parts) > 2 and parts[1].boolean() and kind not in _UNDERSTOOD:
            raise Malformed("critical-extension-unknown")
    return cutoff


def _readable(groups: Iterable[list[Node]]) -> Iterable[Certificate]:
    for group in groups:
        for node in group:
            try:
                yield read_certificate(node.raw)
            except Malformed:
                continue
