"""Timestamp tokens judged: what they stamp, who signed them, and whether their time fits (RFC 3161, EN 319 422)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from domain import trust
from services.verifier.adapters import cms, people
from services.verifier.adapters.cms import CmsFault
from services.verifier.adapters.standing import SKEW, Standing, Status, validity
from services.verifier.model import (
    CheckFinding,
    MissingStatus,
    NamedParty,
    StatusEvidence,
    Sub,
    conclude,
    doubtful,
    failed,
    notice,
    numbered,
    passed,
)

RFC3161 = "RFC 3161 2.4.2"
ETSI_TIME = "ETSI EN 319 102-1 5.4"
APP_II_TIME = "Circular 15/2025/TT-BKHCN Art 6 (V5)"


@dataclass
class Token:
    """One token, judged."""

    time: datetime | None = None
    imprint_ok: bool = False
    """It stamps these very bytes and its own signature fits: what its level may count on, whoever is trusted."""
    trusted: bool = False
    authority: NamedParty | None = None
    anchor: str | None = None
    signer: Any | None = None
    chain: list[Any] = field(default_factory=list)
    findings: list[CheckFinding] = field(default_factory=list)
    evidence: list[StatusEvidence] = field(default_factory=list)
    needs: list[MissingStatus] = field(default_factory=list)
    certificates: list[Any] = field(default_factory=list)

    def conclusion(self) -> tuple[Any, Sub | None]:
        """(indication, sub-indication)."""
        return conclude(self.findings)

    def rows(self) -> tuple[CheckFinding, ...]:
        """The findings, numbered."""
        return numbered(self.findings)


def open_token(raw: bytes) -> cms.Cms:
    """Parse a token. Raises CmsFault."""
    found = cms.read(raw)
    cms.tst_info(found)
    return found


async def judge_token(
    raw: bytes,
    stamped: Callable[[str], bytes | None],
    standing: Standing,
    control: datetime,
) -> Token:
    """Judge a token over bytes.

    `stamped` gives the digest of what it must stamp, by algorithm; `control` is the moment at which the token is known
    to have existed: the time of a later trusted document timestamp, else now (EN 319 102-1 clause 5.6.3).
    """
    token = Token()
    rows = token.findings
    try:
        found = open_token(raw)
        info = cms.tst_info(found)
    except CmsFault as fault:
        rows.append(failed("token-format", RFC3161, fault.reason, Sub.FORMAT_FAILURE, **fault.detail))
        return token
    token.certificates = found.certificates
    token.time = info["gen_time"].native
    token.signer = found.signer
    if found.signer is not None:
        token.authority = people.party(found.signer.subject)
    imprint = info["message_imprint"]
    algorithm = str(imprint["hash_algorithm"]["algorithm"].native)
    stamps = cms.same(stamped(algorithm), bytes(imprint["hashed_message"].native))
    rows.append(
        passed("token-imprint", RFC3161, algorithm=algorithm)
        if stamps
        else failed("token-imprint", RFC3161, "imprint-differs", Sub.HASH_FAILURE, algorithm=algorithm)
    )
    signed = _signature(found, rows)
    token.imprint_ok = stamps and signed
    _algorithms(found, algorithm, rows)
    if found.signer is None:
        return token
    ess = cms.ess_fault(found)
    rows.append(
        passed("token-ess", "RFC 5816 2.2.1")
        if ess is None
        else doubtful("token-ess", "RFC 5816 2.2.1", ess, Sub.NO_SIGNING_CERTIFICATE_FOUND)
    )
    _purpose(found.signer, rows)
    _time(token.time, control, standing.now, rows)
    await _authority(token, found, standing, control)
    indication, _ = token.conclusion()
    token.trusted = token.imprint_ok and indication.value == "TOTAL-PASSED"
    return token


def _signature(found: cms.Cms, rows: list[CheckFinding]) -> bool:
    own = cms.digest_of(found.digest_algorithm, found.encapsulated or b"")
    if not cms.same(own, cms.message_digest(found)):
        rows.append(failed("token-signature", "RFC 5652 11.2", "message-digest-differs", Sub.HASH_FAILURE))
        return False
    try:
        fits = cms.signature_fits(found)
    except CmsFault as fault:
        rows.append(doubtful("token-signature", "RFC 5652 5.4", fault.reason, Sub.NO_SIGNING_CERTIFICATE_FOUND))
        return False
    rows.append(
        passed("token-signature", "RFC 5652 5.4")
        if fits
        else failed("token-signature", "RFC 5652 5.4", "signature-does-not-fit", Sub.SIG_CRYPTO_FAILURE)
    )
    return fits


def _algorithms(found: cms.Cms, imprint: str, rows: list[CheckFinding]) -> None:
    worst = trust.worst([*cms.algorithms(found), trust.digest(imprint)])
    if worst is not None and worst.grade in (trust.Grade.FORBIDDEN, trust.Grade.UNLISTED):
        rows.append(
            doubtful(
                "token-algorithms",
                worst.clause,
                f"algorithm-{worst.grade.value}",
                Sub.CRYPTO_CONSTRAINTS_FAILURE,
                algorithm=worst.algorithm,
            )
        )
    else:
        rows.append(passed("token-algorithms", trust.APPENDIX_I, algorithm=f"{found.digest_algorithm}, {found.scheme}"))


def _purpose(signer: Any, rows: list[CheckFinding]) -> None:
    """RFC 3161 clause 2.3: extended key usage timeStamping, alone and critical."""
    usages = signer.extended_key_usage_value
    names = list(usages.native) if usages is not None else []
    if "time_stamping" not in names:
        rows.append(doubtful("token-purpose", "RFC 3161 2.3", "not-for-timestamps", Sub.CHAIN_CONSTRAINTS_FAILURE))
    elif len(names) > 1 or "extended_key_usage" not in signer.critical_extensions:
        rows.append(notice("token-purpose", "RFC 3161 2.3", "purpose-not-sole-or-critical"))
    else:
        rows.append(passed("token-purpose", "RFC 3161 2.3"))


def _time(time: datetime | None, control: datetime, now: datetime, rows: list[CheckFinding]) -> None:
    if time is None or time.tzinfo is None:
        rows.append(failed("token-time", RFC3161, "time-missing", Sub.FORMAT_FAILURE))
    elif time > now + SKEW:
        rows.append(doubtful("token-time", ETSI_TIME, "time-in-the-future", Sub.TIMESTAMP_ORDER_FAILURE))
    elif time > control + SKEW:
        rows.append(doubtful("token-time", ETSI_TIME, "later-than-what-covers-it", Sub.TIMESTAMP_ORDER_FAILURE))
    else:
        rows.append(passed("token-time", APP_II_TIME))


async def _authority(token: Token, found: cms.Cms, standing: Standing, control: datetime) -> None:
    rows, signer, time = token.findings, found.signer, token.time
    if signer is None:
        return
    token.chain = standing.chain(signer)
    if time is None:
        return
    path = await standing.path(signer, time)
    if not path.whole:
        sub = Sub.NO_CERTIFICATE_CHAIN_FOUND if path.fault == "no-path" else Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE
        if path.fault in ("expired", "not-yet-valid"):
            sub = Sub.OUT_OF_BOUNDS_NO_POE
        rows.append(
            doubtful("token-path", ETSI_TIME, path.fault or "no-path", sub, issuer=people.party(signer.issuer).name)
        )
        return
    rows.append(passed("token-path", ETSI_TIME, anchor=people.party(path.certificates[-1].subject).name))
    token.chain = list(path.certificates)
    token.anchor = path.certificates[-1].sha256.hex()
    _, not_after = validity(signer)
    if control > not_after:
        rows.append(
            doubtful("token-validity", "ETSI EN 319 102-1 5.6.3", "authority-expired-since", Sub.OUT_OF_BOUNDS_NO_POE)
        )
    else:
        rows.append(passed("token-validity", "ETSI EN 319 102-1 5.6.3"))
    for certificate, issuer in pairwise(path.certificates):
        status = standing.status(certificate, issuer, time)
        row = status_row("token-status", status, certificate is signer, control, Sub.REVOKED_NO_POE)
        rows.append(row)
        token.evidence.append(evidence_of(status, "timestamp" if certificate is signer else "issuer"))
        if not status.known:
            token.needs.append(need_of(certificate, issuer))


def status_row(code: str, status: Status, leaf: bool, at: datetime, revoked: Sub) -> CheckFinding:
    """One check of one certificate's status at a moment (Circular 15/2025/TT-BKHCN App. II 1.2)."""
    clause = "Circular 15/2025/TT-BKHCN App. II 1.2; ETSI EN 319 102-1 5.2.5"
    who = people.party(status.certificate.subject).name
    if not status.known:
        return doubtful(code, clause, status.rejected or "no-evidence", Sub.TRY_LATER, certificate=who)
    if status.revoked_at is not None and status.revoked_at <= at:
        reason = "suspended-then" if status.reason == "certificate_hold" else "revoked-then"
        sub = revoked if leaf else Sub.REVOKED_CA_NO_POE
        return doubtful(code, clause, reason, sub, certificate=who, since=status.revoked_at.isoformat())
    source = (status.source or "").upper()
    if status.revoked_at is not None:
        return notice(
            code, clause, "revoked-later", certificate=who, since=status.revoked_at.isoformat(), source=source
        )
    return passed(code, clause, certificate=who, source=source)


def evidence_of(status: Status, role: str) -> StatusEvidence:
    """The status as the report keeps it (Circular 15/2025/TT-BKHCN Art 6, V6)."""
    word = "unknown" if not status.known else "revoked" if status.revoked_at is not None else "good"
    return StatusEvidence(
        certificate=status.certificate.sha256.hex(),
        subject=people.party(status.certificate.subject).name,
        role=role,
        status=word,
        source=status.source,
        this_update=status.this_update,
        next_update=status.next_update,
        revoked_at=status.revoked_at,
        sha256=status.sha256,
    )


def need_of(certificate: Any, issuer: Any | None) -> MissingStatus:
    """What could be fetched for a certificate whose status is unknown."""
    crl_urls: list[str] = []
    ocsp_urls: list[str] = []
    try:
        ocsp_urls = [str(url) for url in certificate.ocsp_urls][:5]
        crl_urls = [str(point.url) for point in certificate.crl_distribution_points if point.url]
    except Exception:  # noqa: BLE001 - a malformed extension names no address
        crl_urls = []
    return MissingStatus(
        certificate=base64.b64encode(certificate.dump()).decode(),
        issuer=base64.b64encode(issuer.dump()).decode() if issuer is not None else None,
        ocsp=tuple(ocsp_urls),
        crl=tuple(crl_urls[:5]),
    )
