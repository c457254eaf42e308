"""Certificate revocation lists: complete, indirect and delta, within the scope that they state (RFC 5280 5 and 6.3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from services.verifier.validation import names
from services.verifier.validation.algorithms import CryptoFault, Scheme, scheme_of, vouches
from services.verifier.validation.certificates import Certificate, point_names, unarmoured
from services.verifier.validation.der import ENUMERATED, INTEGER, SEQUENCE, Malformed, Node, oid, parse
from services.verifier.validation.names import GeneralName
from services.verifier.validation.path import MOST_CANDIDATES, Paths
from services.verifier.validation.statements import Rejected, Statement, is_weak, reason_name

_NUMBER, _DELTA, _POINT, _AUTHORITY_KEY = oid("2.5.29.20"), oid("2.5.29.27"), oid("2.5.29.28"), oid("2.5.29.35")
_EXPIRED_ON_IT = oid("2.5.29.60")
_UNDERSTOOD = frozenset({_NUMBER, _DELTA, _POINT, _AUTHORITY_KEY, _EXPIRED_ON_IT})
_REASON, _INVALIDITY, _CERTIFICATE_ISSUER = oid("2.5.29.21"), oid("2.5.29.24"), oid("2.5.29.29")
_ENTRY_UNDERSTOOD = frozenset({_REASON, _INVALIDITY, _CERTIFICATE_ISSUER})
_PEM = re.compile(rb"-----BEGIN X509 CRL-----(.*?)-----END", re.DOTALL)
_REMOVED = "remove_from_crl"


@dataclass(frozen=True)
class Scope:
    """The issuing distribution point extension (RFC 5280 clause 5.2.5); by default everything of the issuer."""

    point: tuple[GeneralName, ...] | None = None
    users: bool = False
    authorities: bool = False
    attributes: bool = False
    some_reasons: bool = False
    indirect: bool = False


@dataclass(frozen=True)
class Listed:
    """What a list says of one certificate, before deltas are joined to complete lists."""

    statement: Statement
    number: int | None
    base: int | None
    """The number of the complete list that a delta builds on; none for a complete list."""
    series: tuple[bytes, bytes]
    """Lists of one series have the same issuer and scope."""
    partial: bool
    """It holds some reasons only: it can tell that a certificate is revoked, not that it is good."""


class Crl:
    """One list, DER or PEM.

    Raises:
        Malformed: on making, when its outline or an extension cannot be read; `critical` names a rejection for later.
    """

    def __init__(self, raw: bytes) -> None:
        if b"-----BEGIN X509 CRL-----" in raw[:4096]:
            found = unarmoured(raw, _PEM)
            if len(found) != 1:
                raise Malformed("not-one-list")
            raw = found[0]
        whole = parse(raw, SEQUENCE)
        tbs, algorithm, value = whole.sequence(3)[:3]
        self.sha256 = hashlib.sha256(whole.raw).hexdigest()
        self._tbs = tbs
        self.scheme: Scheme = scheme_of(algorithm.raw)
        self._value = value
        self._tried: dict[bytes, bool] = {}
        fields = tbs.sequence(3)
        at = 1 if fields[0].tag == INTEGER else 0
        if len(fields) < at + 3:
            raise Malformed("list-cut-off")
        self.issuer = fields[at + 1].raw
        self.this_update = fields[at + 2].time()
        self.next_update: datetime | None = None
        self._revoked: Node | None = None
        self.number: int | None = None
        self.base: int | None = None
        self.answers_back_to: datetime | None = None
        self.scope = Scope()
        self.scope_octets = b""
        self.unknown_critical = False
        for field in fields[at + 3 :]:
            if field.tag in (0x17, 0x18):
                self.next_update = field.time()
            elif field.tag == SEQUENCE:
                self._revoked = field
            elif field.tag == 0xA0:
                self._extensions(field.only())

    def _extensions(self, node: Node) -> None:
        for extension in node.sequence():
            parts = extension.sequence(2)
            kind, value = parts[0].oid(), parts[-1].octets()
            if kind == _NUMBER:
                self.number = parse(value).integer()
            elif kind == _DELTA:
                self.base = parse(value).integer()
            elif kind == _EXPIRED_ON_IT:
                self.answers_back_to = parse(value).time()
            elif kind == _POINT:
                self.scope, self.scope_octets = _scope(parse(value), self.issuer), value
            if len(parts) > 2 and parts[1].boolean() and kind not in _UNDERSTOOD:
                self.unknown_critical = True

    def statement(self, certificate: Certificate, issuer: Certificate, paths: Paths) -> Listed | None:
        """What it says of the certificate; none when it is another issuer's list.

        Raises:
            Rejected: it is this issuer's list but does not count for this certificate.
            Malformed: an entry or a certificate at hand cannot be read.
        """
        if not self._concerns(certificate):
            return None
        if self.unknown_critical:
            raise Rejected("crl-unknown-critical-extension")
        self._check_scope(certificate)
        signer = self._signer(issuer, paths)
        revoked_at, reason = self._entry(certificate)
        statement = Statement(
            "crl",
            self.sha256,
            self.this_update,
            self.next_update,
            self.answers_back_to,
            revoked_at,
            reason,
            is_weak(self.scheme, signer.spki),
        )
        return Listed(statement, self.number, self.base, (self.issuer, self.scope_octets), self.scope.some_reasons)

    def _concerns(self, certificate: Certificate) -> bool:
        if names.equal(self.issuer, certificate.issuer):
            return True
        return self.scope.indirect and any(
            names.equal(self.issuer, each) for _, issuers in certificate.distribution_points or () for each in issuers
        )

    def _check_scope(self, certificate: Certificate) -> None:
        """RFC 5280 clause 6.3.3 (b)."""
        scope, authority = self.scope, certificate.authority
        if scope.attributes or (scope.users and authority) or (scope.authorities and not authority):
            raise Rejected("crl-out-of-scope")
        if scope.point is not None and not self._points_fit(scope.point, certificate):
            raise Rejected("crl-out-of-scope")

    @staticmethod
    def _points_fit(point: tuple[GeneralName, ...], certificate: Certificate) -> bool:
        stated = certificate.distribution_points
        if stated is None:
            wanted = [GeneralName(names.DIRECTORY, certificate.issuer)]
        else:
            wanted = [name for full, _ in stated for name in full]
            wanted += [GeneralName(names.DIRECTORY, each) for full, issuers in stated if not full for each in issuers]
        return any(_same_name(one, other) for one in point for other in wanted)

    def _signer(self, issuer: Certificate, paths: Paths) -> Certificate:
        """The issuer, or another certificate of the list's issuer under the same anchor (RFC 5280 6.3.3 (f))."""
        reason = "crl-signature-wrong"
        for candidate in (issuer, *paths.named(self.issuer)[:MOST_CANDIDATES]):
            if not names.equal(candidate.subject, self.issuer):
                continue
            if not self._fits(candidate.spki):
                continue
            may = candidate.usages is None or "crl_sign" in candidate.usages
            if may and (candidate.spki == issuer.spki or self._vouched(candidate, issuer, paths)):
                return candidate
            reason = "crl-issuer-not-authorised"
        raise Rejected(reason)

    def _fits(self, spki: bytes) -> bool:
        if spki not in self._tried:
            try:
                self._tried[spki] = vouches(spki, self.scheme, self._value.bits(), self._tbs.raw)
            except CryptoFault:
                self._tried[spki] = False
        return self._tried[spki]

    def _vouched(self, candidate: Certificate, issuer: Certificate, paths: Paths) -> bool:
        if not paths.anchors:
            return paths.chain(candidate)[-1].sha256 == paths.chain(issuer)[-1].sha256
        own, others = paths.find(candidate, self.this_update), paths.find(issuer, self.this_update)
        return own.whole and others.whole and own.certificates[-1].sha256 == others.certificates[-1].sha256

    def _entry(self, certificate: Certificate) -> tuple[datetime | None, str | None]:
        """(revoked at, reason) of the certificate's entry; both none without one.

        A list may hold a million entries: unless the serial's octets stand somewhere in it, none can be this one's.
        """
        revoked = self._revoked
        wanted = certificate.serial_octets.lstrip(b"\0")
        if revoked is None or revoked.data.find(wanted, revoked.body, revoked.end) < 0:
            return None, None
        issuer = self.issuer
        found: tuple[datetime | None, str | None] = (None, None)
        for entry in revoked.each():
            serial, moment, *rest = entry.sequence(2)
            named = "unspecified"
            for extension in rest[0].sequence() if rest else ():
                parts = extension.sequence(2)
                kind = parts[0].oid()
                if kind == _REASON:
                    named = reason_name(parse(parts[-1].octets()).integer(ENUMERATED))
                elif kind == _CERTIFICATE_ISSUER:
                    issuer = _directory(parse(parts[-1].octets()))
                elif len(parts) > 2 and parts[1].boolean() and kind not in _ENTRY_UNDERSTOOD:
                    raise Rejected("crl-unknown-critical-extension")
            if serial.contents.lstrip(b"\0") == wanted and names.equal(issuer, certificate.issuer):
                found = (moment.time(), named)
        return found


def joined(each: Iterable[Listed]) -> tuple[list[Statement], str | None]:
    """(statements, why one was left out): deltas joined to the complete lists that they build on.

    A revocation always counts, also from a delta or a partial list by itself (RFC 5280 clauses 5.2.4 and 6.3.3).
    """
    listed = list(each)
    found: list[Statement] = []
    left_out: str | None = None
    for one in listed:
        own = one.statement
        if one.base is None:
            if own.reason == _REMOVED:
                own = replace(own, revoked_at=None, reason=None)
            if one.partial and own.revoked_at is None:
                left_out = "crl-out-of-scope"
            else:
                found.append(own)
            continue
        complete = next((other for other in listed if _builds_on(one, other)), None)
        if own.revoked_at is not None and own.reason != _REMOVED:
            found.append(own)
        elif complete is None or one.partial:
            left_out = "crl-out-of-scope"
        elif own.reason == _REMOVED:
            found.append(replace(own, revoked_at=None, reason=None))
        else:
            kept = complete.statement
            found.append(replace(own, revoked_at=kept.revoked_at, reason=kept.reason, weak=own.weak or kept.weak))
    return found, left_out


def _builds_on(delta: Listed, complete: Listed) -> bool:
    if complete.base is not None or complete.partial or complete.series != delta.series:
        return False
    if delta.base is None or complete.number is None or delta.number is None:
        return False
    return delta.base <= complete.number <= delta.number


def _scope(node: Node, issuer: bytes) -> Scope:
    point: tuple[GeneralName, ...] | None = None
    flags: dict[int, bool] = {}
    for part in node.sequence():
        if part.tag == 0xA0:
            point = point_names(part.only(), issuer)
        elif part.tag == 0x83:
            flags[3] = True
        elif part.tag in (0x81, 0x82, 0x84, 0x85):
            flags[part.tag & 0x1F] = part.contents != b"\0"
        else:
            raise Malformed("no-issuing-distribution-point")
    get = flags.get
    return Scope(point, get(1, False), get(2, False), get(5, False), get(3, False), get(4, False))


def _directory(sequence: Node) -> bytes:
    for name in names.general_names(sequence):
        if name.choice == names.DIRECTORY:
            return name.value
    raise Malformed("no-directory-name")


def _same_name(one: GeneralName, other: GeneralName) -> bool:
    if one.choice != other.choice:
        return False
    return names.equal(one.value, other.value) if one.choice == names.DIRECTORY else one.value == other.value
