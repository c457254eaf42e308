"""Paths from a certificate to an anchor, found by keys and signatures and judged at a moment (RFC 5280 clause 6.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.verifier.validation import constraints, names
from services.verifier.validation.algorithms import CryptoFault, vouches
from services.verifier.validation.certificates import (
    AUTHORITY_ACCESS,
    AUTHORITY_KEY,
    BASIC_CONSTRAINTS,
    CRL_POINTS,
    EXTENDED_KEY_USAGE,
    INHIBIT_ANY_POLICY,
    KEY_USAGE,
    NAME_CONSTRAINTS,
    NO_CHECK,
    POLICIES,
    POLICY_CONSTRAINTS,
    POLICY_MAPPINGS,
    SUBJECT_ALTERNATIVE,
    SUBJECT_KEY,
    Certificate,
)
from services.verifier.validation.constraints import NameConstraints
from services.verifier.validation.der import Malformed, oid
from services.verifier.validation.policies import PolicyState

MOST_PATHS = 20
MOST_LENGTH = 10
MOST_CANDIDATES = 24
"""Certificates with the issuer's name whose keys are tried on one certificate."""
MOST_CERTIFICATES = 2_000

_UNDERSTOOD = frozenset(
    {
        BASIC_CONSTRAINTS,
        KEY_USAGE,
        EXTENDED_KEY_USAGE,
        SUBJECT_KEY,
        AUTHORITY_KEY,
        SUBJECT_ALTERNATIVE,
        POLICIES,
        POLICY_MAPPINGS,
        POLICY_CONSTRAINTS,
        INHIBIT_ANY_POLICY,
        NAME_CONSTRAINTS,
        CRL_POINTS,
        AUTHORITY_ACCESS,
        NO_CHECK,
        oid("2.5.29.18"),  # issuer alternative name
        oid("2.5.29.9"),  # subject directory attributes
        oid("2.5.29.46"),  # freshest CRL
        oid("1.3.6.1.5.5.7.1.3"),  # qualified certificate statements (EN 319 412-5), shown and not weighed
    }
)


@dataclass(frozen=True)
class Path:
    """A path from a certificate to an anchor, or why there is none."""

    certificates: tuple[Certificate, ...]
    """Leaf first, anchor last; without an anchor, as far as issuers were found."""
    fault: str | None = None
    """`no-path`, `expired`, `not-yet-valid`, `issuer-no-authority`, ...: a reason of the catalogue."""

    @property
    def whole(self) -> bool:
        """It reaches an anchor and holds."""
        return self.fault is None


class Paths:
    """Finds paths among the anchors and the certificates that one file brings."""

    def __init__(self, anchors: Iterable[Certificate]) -> None:
        self.anchors = tuple(anchors)
        self._anchor_ids = {anchor.sha256 for anchor in self.anchors}
        self._by_subject: dict[names.Key, list[Certificate]] = {}
        self._by_key: dict[bytes, list[Certificate]] = {}
        self._known: set[bytes] = set()
        self._found: dict[tuple[bytes, datetime], Path] = {}
        self._issuers: dict[bytes, tuple[Certificate, ...]] = {}
        self._signed: dict[tuple[bytes, bytes], bool] = {}
        for anchor in self.anchors:
            self.add(anchor)

    def add(self, certificate: Certificate) -> None:
        """Make a certificate a candidate; one whose name cannot be read issues nothing."""
        if certificate.sha256 in self._known or len(self._known) >= MOST_CERTIFICATES + len(self.anchors):
            return
        self._known.add(certificate.sha256)
        try:
            subject = names.key(certificate.subject)
        except Malformed:
            return
        self._by_subject.setdefault(subject, []).append(certificate)
        self._by_key.clear()
        self._found.clear()
        self._issuers.clear()

    def named(self, subject: bytes) -> Sequence[Certificate]:
        """The candidates with this subject, anchors first."""
        try:
            return self._by_subject.get(names.key(subject), ())
        except Malformed:
            return ()

    def keyed(self, key_hash: bytes) -> Sequence[Certificate]:
        """The candidates whose key has this SHA-1 hash, which only names them (RFC 6960 clause 4.2.1)."""
        if not self._by_key:
            for each in self.everybody():
                try:
                    octets = each.key_octets
                except Malformed:
                    continue
                self._by_key.setdefault(hashlib.sha1(octets, usedforsecurity=False).digest(), []).append(each)
        return self._by_key.get(key_hash, ())

    def everybody(self) -> Iterator[Certificate]:
        """All candidates."""
        for group in self._by_subject.values():
            yield from group

    def is_anchor(self, certificate: Certificate) -> bool:
        """Whether it is one of the anchors."""
        return certificate.sha256 in self._anchor_ids

    def signed_by(self, certificate: Certificate, issuer: Certificate) -> bool:
        """Whether the issuer's key signed the certificate."""
        key = (certificate.sha256, issuer.spki)
        if key not in self._signed:
            try:
                fits = vouches(issuer.spki, certificate.scheme, certificate.value, certificate.tbs)
            except (CryptoFault, Malformed):
                fits = False
            self._signed[key] = fits
        return self._signed[key]

    def issuers(self, certificate: Certificate) -> tuple[Certificate, ...]:
        """The certificates whose name and key issued this one, anchors first (RFC 5280 6.1.3 (a) (1) and (4))."""
        found = self._issuers.get(certificate.sha256)
        if found is None:
            wanted = certificate.authority_key
            candidates = list(self.named(certificate.issuer))
            if len(candidates) > 1:
                # The key identifier only orders the tries: the signature decides.
                candidates.sort(
                    key=lambda one: (
                        not self.is_anchor(one),
                        wanted is not None and one.subject_key is not None and one.subject_key != wanted,
                    )
                )
            found = tuple(one for one in candidates[:MOST_CANDIDATES] if self.signed_by(certificate, one))
            self._issuers[certificate.sha256] = found
        return found

    def issuer(self, certificate: Certificate) -> Certificate | None:
        """The first certificate whose name and key issued this one, if it is at hand."""
        found = self.issuers(certificate)
        return found[0] if found else None

    def chain(self, certificate: Certificate) -> tuple[Certificate, ...]:
        """The certificates from this one up as far as issuers are found, whoever is trusted: leaf first."""
        found = [certificate]
        while len(found) < MOST_LENGTH:
            current = found[-1]
            if self.is_anchor(current) or current.self_issued:
                break
            above = self.issuer(current)
            if above is None or above in found:
                break
            found.append(above)
        return tuple(found)

    def find(self, certificate: Certificate, at: datetime) -> Path:
        """The path that holds at the moment, or the best reason why none does. Status plays no part here."""
        key = (certificate.sha256, at)
        if key not in self._found:
            self._found[key] = self._search(certificate, at)
        return self._found[key]

    def _search(self, certificate: Certificate, at: datetime) -> Path:
        best: Path | None = None
        if self.anchors:
            for tried, chain in enumerate(self._chains(certificate)):
                if tried >= MOST_PATHS:
                    break
                fault = _fault(chain, at)
                if fault is None:
                    return Path(chain)
                best = best or Path(chain, fault)
        return best or Path(self.chain(certificate), "no-path")

    def _chains(self, certificate: Certificate) -> Iterator[tuple[Certificate, ...]]:
        """Chains that end in an anchor, short ones of one branch first; nobody stands in a chain twice."""
        waiting: list[tuple[Certificate, ...]] = [(certificate,)]
        steps = 0
        while waiting and steps < MOST_PATHS * MOST_LENGTH:
            steps += 1
            chain = waiting.pop()
            last = chain[-1]
            if self.is_anchor(last):
                yield chain
                continue
            if len(chain) >= MOST_LENGTH:
                continue
            waiting.extend(
                (*chain, above)
                for above in reversed(self.issuers(last))
                if not any(above.spki == each.spki and above.subject == each.subject for each in chain)
            )


def _fault(chain: tuple[Certificate, ...], at: datetime) -> str | None:
    """Why a chain, leaf first and anchor last, does not hold at the moment; the signatures have been checked.

    The anchor's own validity does not matter (RFC 5280 clause 6.1.1 (d)), but what it says of those below does.
    """
    try:
        return _checked(chain, at)
    except Malformed:
        return "path-unreadable"


def _checked(chain: tuple[Certificate, ...], at: datetime) -> str | None:
    """RFC 5280 clauses 6.1.3 to 6.1.5, from the anchor down."""
    length = len(chain) - 1
    room = length
    policy = PolicyState(length)
    above: list[NameConstraints] = []
    for position in range(length, -1, -1):
        certificate, last, first = chain[position], position == 0, position == length
        if not first:
            if at < certificate.not_before:
                return "not-yet-valid"
            if at > certificate.not_after:
                return "expired"
            if certificate.repeats_an_extension:
                return "extension-repeated"
            if any(critical and kind not in _UNDERSTOOD for kind, (critical, _) in certificate.extensions.items()):
                return "critical-extension-unknown"
            if above and (last or not certificate.self_issued) and not constraints.allowed(certificate, above):
                return "name-not-permitted"
            if not policy.process(certificate, last=last):
                return "policy-missing"
        if last:
            return None
        reason = _may_issue(certificate, anchor=first)
        if reason is not None:
            return reason
        if not first and not certificate.self_issued:
            if room <= 0:
                return "path-too-long"
            room -= 1
        most = certificate.basic_constraints[1]
        room = room if most is None else min(room, most)
        own = NameConstraints.of(certificate)
        if own is not None:
            above.append(own)
    return None


def _may_issue(certificate: Certificate, *, anchor: bool) -> str | None:
    """RFC 5280 clause 6.1.4 (k), (n); old anchors have no extensions at all."""
    if not certificate.authority and not (anchor and BASIC_CONSTRAINTS not in certificate.extensions):
        return "issuer-no-authority"
    usages = certificate.usages
    if usages is not None and "key_cert_sign" not in usages:
        return "issuer-may-not-certify"
    return None
