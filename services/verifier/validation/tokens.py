"""Timestamp tokens judged: what they stamp, who signed them, and whether their time fits (RFC 3161, EN 319 422)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from domain import trust
from services.verifier.model import (
    CheckFinding,
    Indication,
    MissingStatus,
    NamedParty,
    StatusEvidence,
    Sub,
    conclude,
    doubtful,
    failed,
    notice,
    passed,
)
from services.verifier.validation import cms, people
from services.verifier.validation.algorithms import CryptoFault, digest_name, digest_of, same
from services.verifier.validation.certificates import EXTENDED_KEY_USAGE, Certificate
from services.verifier.validation.cms import Cms, CmsFault
from services.verifier.validation.der import Malformed, dotted, parse
from services.verifier.validation.path import Paths
from services.verifier.validation.revocation import SKEW, Standing, Status

RFC3161 = "RFC 3161 2.4.2"
ETSI_TIME = "ETSI EN 319 102-1 5.4"
APP_II_TIME = "Circular 15/2025/TT-BKHCN Art 6 (V5)"
BAD = (trust.Grade.FORBIDDEN, trust.Grade.UNLISTED)

Stamped = Callable[[str], bytes | None]
"""The digest of what a token must stamp, by algorithm; none when the algorithm is not known."""


@dataclass
class Token:
    """One token, judged."""

    time: datetime | None = None
    imprint_ok: bool = False
    """It stamps these very bytes and its own signature fits: what its level may count on, whoever is trusted."""
    trusted: bool = False
    authority: NamedParty | None = None
    anchor: str | None = None
    signer: Certificate | None = None
    chain: tuple[Certificate, ...] = ()
    findings: list[CheckFinding] = field(default_factory=list)
    evidence: list[StatusEvidence] = field(default_factory=list)
    needs: list[MissingStatus] = field(default_factory=list)

    def conclusion(self) -> tuple[Indication, Sub | None]:
        """(indication, sub-indication)."""
        return conclude(self.findings)

    def distrust(self, why: CheckFinding) -> None:
        """It cannot prove anything after all."""
        self.findings.append(why)
        self.trusted = False


@dataclass(frozen=True)
class TokenInfo:
    """What a token states (TSTInfo, RFC 3161 clause 2.4.2)."""

    algorithm: str
    imprint: bytes
    time: datetime


def read_info(found: Cms) -> TokenInfo:
    """The TSTInfo of a timestamp token.

    Raises:
        CmsFault: it is not a token.
    """
    if found.content_type != cms.TST_INFO:
        raise CmsFault("not-a-timestamp-token", found=dotted(found.content_type))
    try:
        fields = parse(found.encapsulated or b"").sequence(5)
        algorithm, imprint = fields[2].sequence(2)[:2]
        return TokenInfo(digest_name(algorithm.sequence(1)[0].oid()), imprint.octets(), fields[4].time())
    except Malformed as fault:
        raise CmsFault("token-unreadable", fault=fault.reason) from fault


def judge_token(found: Cms | CmsFault | None, stamped: Stamped, standing: Standing, control: datetime) -> Token:
    """Judge a token over bytes; none stands for one that cannot be used.

    `control` is the moment at which the token is known to have existed: the time of a later trusted document timestamp,
    else now (EN 319 102-1 clause 5.6.3).
    """
    token = Token()
    rows = token.findings
    if found is None:
        rows.append(failed("token-format", RFC3161, "contents-unusable", Sub.FORMAT_FAILURE))
        return token
    try:
        if isinstance(found, CmsFault):
            raise found
        info = read_info(found)
    except CmsFault as fault:
        rows.append(failed("token-format", RFC3161, fault.reason, Sub.FORMAT_FAILURE, **fault.detail))
        return token
    try:
        _judge(token, found, info, stamped, standing, control)
    except Malformed as fault:
        # A certificate of its authority cannot be read.
        token.trusted = False
        rows.append(
            doubtful(
                "token-path", ETSI_TIME, "path-unreadable", Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE, fault=str(fault)
            )
        )
    return token


def _judge(token: Token, found: Cms, info: TokenInfo, stamped: Stamped, standing: Standing, control: datetime) -> None:
    rows = token.findings
    # A token may come without its authority's certificate (RFC 3161 clause 2.4.1, certReq); the DSS may hold it.
    found.adopt(standing.paths.everybody())
    token.time, token.signer = info.time, found.signer
    if found.signer is not None:
        token.authority = people.party(found.signer.subject)
    stamps = same(stamped(info.algorithm), info.imprint)
    rows.append(
        passed("token-imprint", RFC3161, algorithm=info.algorithm)
        if stamps
        else failed("token-imprint", RFC3161, "imprint-differs", Sub.HASH_FAILURE, algorithm=info.algorithm)
    )
    signed = _signature(found, rows)
    token.imprint_ok = stamps and signed
    if found.signer is None:
        _algorithms(found, info, (), standing.paths, rows)
        return
    token.chain = standing.paths.chain(found.signer)
    _algorithms(found, info, token.chain, standing.paths, rows)
    ess = found.ess_fault
    rows.append(
        passed("token-ess", "RFC 5816 2.2.1")
        if ess is None
        else doubtful("token-ess", "RFC 5816 2.2.1", ess, Sub.NO_SIGNING_CERTIFICATE_FOUND)
    )
    _purpose(found.signer, rows)
    _time(info.time, control, standing.now, rows)
    _authority(token, found.signer, info.time, standing, control)
    token.trusted = token.imprint_ok and token.conclusion()[0] is Indication.PASSED


def _signature(found: Cms, rows: list[CheckFinding]) -> bool:
    own = digest_of(found.digest_algorithm, found.encapsulated or b"")
    if not same(own, found.message_digest):
        rows.append(failed("token-signature", "RFC 5652 11.2", "message-digest-differs", Sub.HASH_FAILURE))
        return False
    try:
        fits = found.fits()
    except (CmsFault, CryptoFault) as fault:
        rows.append(doubtful("token-signature", "RFC 5652 5.4", fault.reason, Sub.NO_SIGNING_CERTIFICATE_FOUND))
        return False
    if not fits:
        rows.append(failed("token-signature", "RFC 5652 5.4", "signature-does-not-fit", Sub.SIG_CRYPTO_FAILURE))
    elif not found.states_its_content_type:
        rows.append(failed("token-signature", "RFC 5652 11.1", "content-type-differs", Sub.FORMAT_FAILURE))
    else:
        rows.append(passed("token-signature", "RFC 5652 5.4"))
    return fits and found.states_its_content_type


def _algorithms(
    found: Cms, info: TokenInfo, chain: tuple[Certificate, ...], paths: Paths, rows: list[CheckFinding]
) -> None:
    """Weak ones of the token itself or of its authority's chain leave a doubt (EN 319 102-1 clause 5.2.8)."""
    own = trust.worst(one.at(info.time) for one in (*found.algorithms(), trust.digest(info.algorithm)))
    above = trust.worst(one.at(info.time) for one in chain_acceptances(chain, paths))
    for worst, reason in ((own, None), (above, "algorithm-in-chain")):
        if worst is not None and worst.grade in BAD:
            rows.append(
                doubtful(
                    "token-algorithms",
                    worst.clause,
                    reason or f"algorithm-{worst.grade.value}",
                    Sub.CRYPTO_CONSTRAINTS_FAILURE,
                    algorithm=worst.algorithm,
                )
            )
            return
    rows.append(
        passed("token-algorithms", trust.APPENDIX_I, algorithm=f"{found.digest_algorithm}, {found.scheme.family}")
    )


def chain_acceptances(chain: tuple[Certificate, ...], paths: Paths) -> list[trust.Acceptance]:
    """How the algorithms stand with which a chain was signed, up to what nobody but itself answers for.

    Raises:
        Malformed: a certificate's signature algorithm cannot be read.
    """
    return [
        one
        for certificate in chain
        if not certificate.self_issued and not paths.is_anchor(certificate)
        for one in cms.acceptances(certificate.scheme)
        if one.grade is not trust.Grade.NOTICE
    ]


def _purpose(signer: Certificate, rows: list[CheckFinding]) -> None:
    """RFC 3161 clause 2.3: extended key usage timeStamping, alone and critical."""
    purposes = signer.purposes or ()
    if "time_stamping" not in purposes:
        rows.append(doubtful("token-purpose", "RFC 3161 2.3", "not-for-timestamps", Sub.CHAIN_CONSTRAINTS_FAILURE))
    elif len(purposes) > 1 or not signer.critical(EXTENDED_KEY_USAGE):
        rows.append(notice("token-purpose", "RFC 3161 2.3", "purpose-not-sole-or-critical"))
    else:
        rows.append(passed("token-purpose", "RFC 3161 2.3"))


def _time(time: datetime, control: datetime, now: datetime, rows: list[CheckFinding]) -> None:
    if time > now + SKEW:
        rows.append(doubtful("token-time", ETSI_TIME, "time-in-the-future", Sub.TIMESTAMP_ORDER_FAILURE))
    elif time > control + SKEW:
        rows.append(doubtful("token-time", ETSI_TIME, "later-than-what-covers-it", Sub.TIMESTAMP_ORDER_FAILURE))
    else:
        rows.append(passed("token-time", APP_II_TIME))


def _authority(token: Token, signer: Certificate, time: datetime, standing: Standing, control: datetime) -> None:
    """The authority's path and status at the token's own time, and its life until something later proves the token."""
    rows = token.findings
    path = standing.paths.find(signer, time)
    if not path.whole:
        sub = Sub.NO_CERTIFICATE_CHAIN_FOUND if path.fault == "no-path" else Sub.CERTIFICATE_CHAIN_GENERAL_FAILURE
        if path.fault in ("expired", "not-yet-valid"):
            sub = Sub.OUT_OF_BOUNDS_NO_POE
        rows.append(
            doubtful("token-path", ETSI_TIME, path.fault or "no-path", sub, issuer=people.party(signer.issuer).name)
        )
        return
    anchor = path.certificates[-1]
    rows.append(passed("token-path", ETSI_TIME, anchor=people.party(anchor.subject).name))
    token.chain, token.anchor = path.certificates, anchor.sha256.hex()
    clause = "ETSI EN 319 102-1 5.6.3"
    if control > signer.not_after:
        rows.append(doubtful("token-validity", clause, "authority-expired-since", Sub.OUT_OF_BOUNDS_NO_POE))
    else:
        rows.append(passed("token-validity", clause))
    for certificate, issuer in pairwise(path.certificates):
        status = standing.status(certificate, issuer, time)
        leaf = certificate is signer
        rows.append(status_row("token-status", status, leaf, control, Sub.REVOKED_NO_POE))
        token.evidence.append(evidence_of(status, "timestamp" if leaf else "issuer"))
        if not status.known:
            token.needs.append(need_of(certificate, issuer))


def status_row(code: str, status: Status, leaf: bool, at: datetime, revoked: Sub) -> CheckFinding:
    """One check of one certificate's status at a moment (Circular 15/2025/TT-BKHCN App. II 1.2)."""
    clause = "Circular 15/2025/TT-BKHCN App. II 1.2; ETSI EN 319 102-1 5.2.5"
    who = people.party(status.certificate.subject).name
    evidence = status.evidence
    if evidence is None:
        return doubtful(code, clause, status.rejected or "no-evidence", Sub.TRY_LATER, certificate=who)
    since = evidence.revoked_at
    if since is not None and since <= at:
        reason = "suspended-then" if evidence.reason == "certificate_hold" else "revoked-then"
        sub = revoked if leaf else Sub.REVOKED_CA_NO_POE
        return doubtful(code, clause, reason, sub, certificate=who, since=since.isoformat())
    source = evidence.source.upper()
    if since is not None:
        return notice(code, clause, "revoked-later", certificate=who, since=since.isoformat(), source=source)
    return passed(code, clause, certificate=who, source=source)


def evidence_of(status: Status, role: str) -> StatusEvidence:
    """The status as the report keeps it (Circular 15/2025/TT-BKHCN Art 6, V6)."""
    subject = people.party(status.certificate.subject).name
    named = status.certificate.sha256.hex()
    evidence = status.evidence
    if evidence is None:
        return StatusEvidence(certificate=named, subject=subject, role=role, status="unknown")
    return StatusEvidence(
        certificate=named,
        subject=subject,
        role=role,
        status="revoked" if evidence.revoked_at is not None else "good",
        source=evidence.source,
        this_update=evidence.this_update,
        next_update=evidence.next_update,
        revoked_at=evidence.revoked_at,
        sha256=evidence.sha256,
    )


def need_of(certificate: Certificate, issuer: Certificate) -> MissingStatus:
    """What could be fetched for a certificate whose status is unknown."""
    return MissingStatus(
        certificate=base64.b64encode(certificate.der).decode(),
        issuer=base64.b64encode(issuer.der).decode(),
        ocsp=certificate.ocsp_addresses,
        crl=certificate.crl_addresses,
    )
