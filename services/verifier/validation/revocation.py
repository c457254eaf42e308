"""How a certificate stood at a moment, by the OCSP responses and CRLs at hand (EN 319 102-1 clauses 5.2.5 and 5.2.6).

Offline: it knows only the anchors it was given and what the file brings. Evidence counts only when it is signed by the
right authority and speaks of this certificate and of this moment; otherwise the status is unknown, never good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.verifier.validation.certificates import Certificate, read_certificate
from services.verifier.validation.crl import Crl, Listed, joined
from services.verifier.validation.der import Malformed
from services.verifier.validation.ocsp import Response
from services.verifier.validation.path import Paths
from services.verifier.validation.statements import Rejected, Statement

SKEW = timedelta(minutes=5)
"""Clocks of honest parties differ by no more than this."""
MOST_OCSPS = 2_000
MOST_CRLS = 500


@dataclass(frozen=True)
class Status:
    """What the evidence says of one certificate at one moment."""

    certificate: Certificate
    evidence: Statement | None = None
    """The statement that decides; none when the status is unknown."""
    rejected: str | None = None
    """Why the best evidence there was does not count."""

    @property
    def known(self) -> bool:
        """Whether anything that counts speaks of it."""
        return self.evidence is not None

    @property
    def revoked_at(self) -> datetime | None:
        """From when on it is revoked or suspended."""
        return self.evidence.revoked_at if self.evidence else None


class Standing:
    """Judges the certificates of one file. Times are aware; `now` is injected."""

    def __init__(self, anchors: Iterable[Certificate], now: datetime) -> None:
        self.paths = Paths(anchors)
        self.now = now
        self._ocsps: dict[str, Response] = {}
        self._crls: dict[str, Crl] = {}
        self._names: dict[bytes, str] = {}
        self._evidence: dict[tuple[bytes, bytes], tuple[list[Statement], str | None]] = {}

    def add(self, certificates: Iterable[bytes] = (), ocsps: Iterable[bytes] = (), crls: Iterable[bytes] = ()) -> None:
        """Keep what can be parsed (DER, CRLs also PEM); the rest serves nobody."""
        for raw in certificates:
            try:
                self.paths.add(read_certificate(raw))
            except Malformed:
                continue
        for raw in ocsps:
            if raw not in self._names and len(self._ocsps) < MOST_OCSPS:
                self._add_ocsp(raw)
        for raw in crls:
            if raw not in self._names and len(self._crls) < MOST_CRLS:
                self._add_crl(raw)

    def add_certificates(self, certificates: Iterable[Certificate]) -> None:
        """Keep certificates that were parsed elsewhere."""
        for certificate in certificates:
            self.paths.add(certificate)

    def _add_ocsp(self, raw: bytes) -> None:
        try:
            response = Response(raw)
        except Malformed:
            return
        self.add_certificates(response.certificates)
        self._ocsps[response.sha256] = response
        self._names[raw] = response.sha256
        self._evidence.clear()

    def _add_crl(self, raw: bytes) -> None:
        try:
            listed = Crl(raw)
        except Malformed:
            return
        self._crls[listed.sha256] = listed
        self._names[raw] = listed.sha256
        self._evidence.clear()

    def status(self, certificate: Certificate, issuer: Certificate, at: datetime) -> Status:
        """The certificate's status at the moment.

        Evidence from before the moment counts until its nextUpdate (EN 319 102-1 clause 5.2.5), evidence from after it
        counts while the issuer still answers for the certificate. An authentic revocation from before always counts.
        """
        evidence, rejected = self._authentic(certificate, issuer)
        usable: list[Statement] = []
        for one in evidence:
            if one.weak:
                rejected = "evidence-weak-algorithm"
            elif one.this_update > self.now + SKEW:
                rejected = "evidence-from-the-future"
            elif one.this_update < certificate.not_before - SKEW:
                rejected = "evidence-before-certificate"
            elif one.revoked_at is not None and one.revoked_at <= at:
                usable.append(one)
            elif one.this_update < at and (one.next_update is None or one.next_update < at):
                rejected = "evidence-stale"
            elif one.this_update > certificate.not_after and (
                one.answers_back_to is None or one.answers_back_to > certificate.not_after
            ):
                rejected = "evidence-after-expiry"
            else:
                usable.append(one)
        if not usable:
            return Status(certificate, rejected=rejected)
        return Status(
            certificate,
            min(usable, key=lambda one: (one.revoked_at is None or one.revoked_at > at, -one.this_update.timestamp())),
        )

    def has_evidence(self, certificate: Certificate, ocsps: Iterable[bytes], crls: Iterable[bytes]) -> bool:
        """Whether these alone hold authentic status data for the certificate that do not predate it."""
        issuer = self.paths.issuer(certificate)
        if issuer is None:
            return False
        held = {self._names.get(raw) for raw in (*ocsps, *crls)}
        evidence, _ = self._authentic(certificate, issuer)
        return any(one.sha256 in held and one.this_update >= certificate.not_before for one in evidence)

    def _authentic(self, certificate: Certificate, issuer: Certificate) -> tuple[list[Statement], str | None]:
        key = (certificate.sha256, issuer.sha256)
        if key not in self._evidence:
            found: list[Statement] = []
            rejected: str | None = None
            for response in self._ocsps.values():
                try:
                    found += response.statements(certificate, issuer, self.paths, self._good_then, SKEW)
                except Rejected as why:
                    rejected = why.reason
                except Malformed:
                    rejected = "evidence-unreadable"
            listed, why_not = self._from_lists(certificate, issuer)
            statements, left_out = joined(listed)
            self._evidence[key] = (found + statements, why_not or left_out or rejected)
        return self._evidence[key]

    def _from_lists(self, certificate: Certificate, issuer: Certificate) -> tuple[list[Listed], str | None]:
        found: list[Listed] = []
        rejected: str | None = None
        for each in self._crls.values():
            try:
                listed = each.statement(certificate, issuer, self.paths)
            except Rejected as why:
                rejected = why.reason
                continue
            except Malformed:
                rejected = "evidence-unreadable"
                continue
            if listed is not None:
                found.append(listed)
        return found, rejected

    def _good_then(self, certificate: Certificate, issuer: Certificate, at: datetime) -> bool:
        """Whether a CRL shows an OCSP responder's certificate to be good at the moment (RFC 6960 4.2.2.2.1)."""
        statements, _ = joined(self._from_lists(certificate, issuer)[0])
        return any(
            not one.weak
            and (one.this_update >= at or (one.next_update is not None and one.next_update >= at))
            and (one.revoked_at is None or one.revoked_at > at)
            for one in statements
        )
