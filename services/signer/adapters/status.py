"""How certificates stand: OCSP first, the CRL where it fails; every answer is checked before it is believed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from events.errors import Refused, Unavailable
from events.values import Digest
from services.runtime import certificates
from services.runtime.clock import Clock
from services.runtime.outbound import Outbound
from services.signer.adapters import chains
from services.signer.adapters.answers import Checks, Unusable, is_ca, judge_crl, judge_ocsp, put
from services.signer.adapters.fetching import Copy, ask, fetch_if_changed
from services.signer.model import Evidence, PreSignCheck, Role, Standing, StatusRow

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class _Known:
    row: StatusRow
    evidence: Evidence
    until: datetime | None


@dataclass(frozen=True)
class _Path:
    """A path that was built: it holds as long as all its certificates are valid."""

    certificates: tuple[x509.Certificate, ...]
    ders: tuple[bytes, ...]
    since: datetime
    until: datetime


_PATHS_MOST, _CRLS_MOST = 2_000, 32


class OnlineStatus:
    """A `StatusSource` that asks the addresses in the certificates themselves, after their path was verified.

    `timeout` is in seconds per request; `limit` in octets per answer; `oldest` is how old an answer without
    nextUpdate may be. Issuers' and timestamp authorities' answers are kept until their nextUpdate; a signer's own
    status is asked each time (Decree 23/2025/ND-CP Art 15), a CRL by a conditional request. A CRL above `embedded`
    octets stands in for no OCSP responder that the certificate names: such files would grow by it at each signature.
    """

    def __init__(
        self,
        outbound: Outbound,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        *,
        pool: Sequence[x509.Certificate] = (),
        timeout: float = 5.0,
        limit: int = 4_000_000,
        embedded: int = 500_000,
        oldest: timedelta = timedelta(hours=24),
    ) -> None:
        self._outbound = outbound
        self._anchors = tuple(anchors)
        self._pool = tuple(pool)
        self._clock = clock
        self._timeout = timeout
        self._limit = limit
        self._embedded = embedded
        self._oldest = oldest
        self._kept: dict[tuple[Role, bytes], _Known] = {}
        self._paths: dict[tuple[bytes, ...], _Path] = {}
        self._vouched: dict[tuple[bytes, ...], tuple[datetime, Evidence]] = {}
        self._crls: dict[str, Copy] = {}
        self._checks = Checks()

    async def check(self, chain: tuple[bytes, ...]) -> PreSignCheck:
        """Check a signer's certificate and its issuers (DER, signer first).

        Sources: Decree 23/2025/ND-CP Art 15; Circular 15/2025/TT-BKHCN Art 5 (S1, S9).

        Raises:
            Refused: expired, not yet valid, not for signing, malformed, or no path to a trusted root.
        """
        now = self._clock.now()
        path = self._path(chain, now)
        rows: list[StatusRow] = []
        evidence = Evidence(certificates=path.ders)
        for place, (certificate, issuer) in enumerate(pairwise(path.certificates)):
            role = Role.SIGNER if place == 0 else Role.ISSUER
            known = await self._status(certificate, issuer, role, now, keep=place > 0)
            rows.append(known.row)
            evidence += known.evidence
        if len(path.ders) == 1:
            rows.append(_anchored(path.certificates[0], now))
        return PreSignCheck(checked_at=now, path=path.ders, rows=tuple(rows), evidence=evidence)

    async def evidence(self, path: tuple[bytes, ...]) -> Evidence:
        """Status material for a timestamp authority's path (DER, leaf first, root last).

        Raises:
            Unavailable: a status is not good, or cannot be had.
        """
        now = self._clock.now()
        vouched = self._vouched.get(path)
        if vouched is not None and now < vouched[0]:
            return vouched[1]
        evidence = Evidence(certificates=path)
        ends: list[datetime] = []
        for certificate, issuer in pairwise([certificates.from_der(item) for item in path]):
            known = await self._status(certificate, issuer, Role.TIMESTAMP, now, keep=True)
            if known.row.standing is not Standing.GOOD:
                raise Unavailable(
                    "timestamp-authority-status",
                    found=f"the timestamp authority's certificate {known.row.standing.value}"
                    + (f": {known.row.why_unknown}" if known.row.why_unknown else ""),
                    expected="a certificate in good standing, with evidence",
                    remedy="nothing was released; it is tried again, or choose another timestamp authority",
                )
            evidence += known.evidence
            ends.append(known.until or now)
        put(self._vouched, path, (min(ends, default=now), evidence), _PATHS_MOST)
        return evidence

    def _path(self, chain: tuple[bytes, ...], now: datetime) -> _Path:
        """The path of a signer's certificate to a trusted root, built once while its certificates last."""
        known = self._paths.get(chain)
        if known is not None and known.since <= now <= known.until:
            return known
        try:
            leaf, *issuers = [certificates.from_der(item) for item in chain]
        except ValueError as fault:
            raise Refused(
                "certificate-malformed",
                found="a chain that holds no readable certificate",
                expected="X.509 certificates, the signer's first",
                remedy="bind the credential anew",
            ) from fault
        path = chains.build_path(leaf, (*issuers, *self._pool), self._anchors, now)
        _may_sign(leaf)
        built = _Path(path, tuple(chains.der(one) for one in path), *chains.lifetime(path))
        put(self._paths, chain, built, _PATHS_MOST)
        return built

    async def _status(
        self, certificate: x509.Certificate, issuer: x509.Certificate, role: Role, now: datetime, *, keep: bool
    ) -> _Known:
        key = (role, certificate.fingerprint(hashes.SHA256()))
        kept = self._kept.get(key)
        if keep and kept is not None and kept.until is not None and now < kept.until:
            return kept
        known = await self._ask(certificate, issuer, role, now)
        if keep and known.row.standing is Standing.GOOD:
            self._kept[key] = known
        return known

    async def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate, role: Role, now: datetime) -> _Known:
        blank = StatusRow(role, Digest.of(chains.der(certificate)), Standing.UNKNOWN, "none", now)
        faults: list[str] = []
        responders = _ocsp_urls(certificate)
        for url in responders:
            try:
                return await self._ask_ocsp(url, certificate, issuer, blank)
            except Unusable as fault:
                faults.append(f"OCSP: {fault}")
            except Unavailable as fault:
                faults.append(f"OCSP: {fault.found}")
        for url in _crl_urls(certificate):
            try:
                return await self._ask_crl(url, certificate, issuer, blank, stands_in=bool(responders))
            except Unusable as fault:
                faults.append(f"CRL: {fault}")
            except Unavailable as fault:
                faults.append(f"CRL: {fault.found}")
        why = "; ".join(faults)[:300] or "the certificate names neither an OCSP responder nor a CRL"
        return _Known(replace(blank, why_unknown=why), Evidence(), None)

    async def _ask_ocsp(
        self, url: str, certificate: x509.Certificate, issuer: x509.Certificate, blank: StatusRow
    ) -> _Known:
        nonce = os.urandom(16)
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - a name, not a signature (RFC 5019)
            .add_extension(x509.OCSPNonce(nonce), critical=False)
            .build()
        )
        body, _ = await ask(
            self._outbound,
            url,
            request.public_bytes(Encoding.DER),
            what="OCSP responder",
            code="ocsp",
            content_type="application/ocsp-request",
            accept="application/ocsp-response",
            timeout=self._timeout,
            limit=min(self._limit, 100_000),
        )
        row = judge_ocsp(body, certificate, issuer, blank, nonce=nonce, oldest=self._oldest, checks=self._checks)
        return _Known(row, Evidence(ocsps=(body,)), row.next_update)

    async def _ask_crl(
        self, url: str, certificate: x509.Certificate, issuer: x509.Certificate, blank: StatusRow, *, stands_in: bool
    ) -> _Known:
        copy = await fetch_if_changed(
            self._outbound, url, self._crls.get(url), what="CRL", code="crl", timeout=self._timeout, limit=self._limit
        )
        row, der = judge_crl(copy.body, certificate, issuer, blank, checks=self._checks)
        put(self._crls, url, copy, _CRLS_MOST)
        if stands_in and row.standing is Standing.GOOD and len(der) > self._embedded:
            raise Unusable(
                f"{len(der)} octets, too large to be put into a file whose certificate names an OCSP responder"
            )
        return _Known(row, Evidence(crls=(der,)), row.next_update)


def _may_sign(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        allowed = usage.digital_signature or usage.content_commitment
    except x509.ExtensionNotFound:
        allowed = True
    if not allowed or is_ca(leaf):
        raise Refused(
            "certificate-usage",
            found="a certificate that is not for signing documents",
            expected="key usage digitalSignature or nonRepudiation, and not a CA",
            remedy="bind a signing certificate to the credential",
        )


def _anchored(certificate: x509.Certificate, now: datetime) -> StatusRow:
    return StatusRow(Role.SIGNER, Digest.of(chains.der(certificate)), Standing.GOOD, "anchor", now)


def _ocsp_urls(certificate: x509.Certificate) -> list[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    return _web(
        item.access_location.value
        for item in access
        if item.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(item.access_location, x509.UniformResourceIdentifier)
    )


def _crl_urls(certificate: x509.Certificate) -> list[str]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    return _web(
        name.value
        for point in points
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or []
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _web(urls: Iterable[str]) -> list[str]:
    return [url for url in urls if url.lower().startswith(("http://", "https://"))][:3]
