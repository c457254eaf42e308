"""Judges what the signer claims: the claim only tells where to look, the file itself is judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

from events.errors import Unavailable
from events.signing import DocumentSigned
from events.values import BaselineLevel, Code, Digest
from events.verification import SignatureRejected, SignatureVerified
from services.runtime.clock import Clock
from services.verifier.agreement import DISAGREE
from services.verifier.model import (
    FileReport,
    Integrity,
    Outcome,
    Sub,
)
from services.verifier.ports import Inspector, Register, Vault
from services.verifier.release import Claim, lowest_level, objection

_NOBODY_JUDGED = frozenset({"sandbox-unavailable", "judge-vanished", "took-too-long"})
"""Nothing is wrong with the file: no judge could be had, or the machine is too busy."""
QUARANTINED = Code("quarantined-before")
"""The reason when a file that was rejected is judged anew and would pass now."""
REJECTED = "rejected"
_COULD_BE_FETCHED = frozenset({"status", "issuer-status", "token-status"})


@dataclass(frozen=True)
class Ruling:
    """What came of one claim: the report's digest, and why the file is rejected, or at which level it passed."""

    report: Digest
    signatures: int
    level: BaselineLevel | None
    reason: Code | None
    at_verdict: str


async def judge(claim: DocumentSigned, *, vault: Vault, inspector: Inspector) -> Ruling:
    """Fetch, judge, keep the report, rule (Decree 23/2025/ND-CP Art 16; Circular 15/2025/TT-BKHCN Art 6).

    The report that is kept holds what every engine said, each signature on its own.

    Raises:
        Unavailable: the bytes are not there, or no judge can be had, or status data that the file does not carry
            cannot be fetched now, or a trusted set is stale. Tried again later; nothing is released meanwhile.
    """
    base = await vault.fetch(claim.base)
    signed = await vault.fetch(claim.signed)
    report = await inspector.inspect(signed, name=f"{claim.signed.short}.pdf", base_size=len(base))
    _somebody_judged(report)
    expected = Claim(
        starts_right=signed.startswith(base),
        base_size=len(base),
        certificate=claim.certificate.hex,
        field=claim.field,
        level=claim.level.value,
    )
    reason = objection(report, expected)
    if reason == "undetermined":
        _sets_are_fresh(report)
        _status_may_come(report)
    if reason == DISAGREE:
        _second_was_heard(report)
    kept = await vault.keep(report.model_dump_json().encode())
    level = lowest_level(report)
    return Ruling(
        report=kept,
        signatures=len(report.signatures),
        level=BaselineLevel(level) if level else None,
        reason=Code(reason) if reason else None,
        at_verdict=report.verdict.value,
    )


async def say(
    claim: DocumentSigned, ruling: Ruling, *, register: Register, clock: Clock
) -> list[SignatureVerified | SignatureRejected]:
    """Remember the ruling and say it. A rejected file stays in quarantine: nobody is ever told to release it.

    Not even when the same file is judged anew and would pass: what was rejected once is rejected again.
    """
    before = await register.find(claim.contract, claim.signed)
    if before is not None and before.verdict == REJECTED and ruling.reason is None:
        ruling = replace(ruling, reason=QUARANTINED, report=Digest(before.report))
    verdict = "verified" if ruling.reason is None else REJECTED
    await register.write(claim.contract, claim.slot, claim.signed, ruling.report, verdict, clock.now())
    if ruling.reason is not None or ruling.level is None:
        return [
            SignatureRejected(
                contract=claim.contract,
                slot=claim.slot,
                base=claim.base,
                signed=claim.signed,
                report=ruling.report,
                reason=ruling.reason or Code("level-not-reached"),
            )
        ]
    return [
        SignatureVerified(
            contract=claim.contract,
            slot=claim.slot,
            base=claim.base,
            signed=claim.signed,
            report=ruling.report,
            level=ruling.level,
            signatures=ruling.signatures,
        )
    ]


def _somebody_judged(report: FileReport) -> None:
    if report.integrity is not Integrity.UNREADABLE:
        return
    reasons = {finding.reason for finding in report.findings}
    if reasons & _NOBODY_JUDGED:
        raise Unavailable(
            "no-judge",
            found="no judgement of the file",
            expected="a judge process that answers in time",
            remedy="it is tried again; nothing is released meanwhile",
        )


def _second_was_heard(report: FileReport) -> None:
    """No answer for want of time or of a process is no disagreement; whatever the file itself brings about is one."""
    if any(one.reason in _NOBODY_JUDGED for one in report.opinions if one.integrity is None):
        raise Unavailable(
            "no-second-judge",
            found="no judgement of the file by the second engine",
            expected="a judge process that answers in time",
            remedy="it is tried again; nothing is released meanwhile",
        )


def _sets_are_fresh(report: FileReport) -> None:
    """A trusted set that was left out for its age may be the one that answers: no verdict on the file."""
    if any(finding.code == "trust" and finding.reason == "set-stale" for finding in report.findings):
        raise Unavailable(
            "trust-set-stale",
            found="a trusted set that was fetched too long ago",
            expected="a fresh one",
            remedy="run antin trust refresh; it is tried again, and nothing is released meanwhile",
        )


def _status_may_come(report: FileReport) -> None:
    """Undetermined for want of status data alone is no verdict on the file: the responder may be down."""
    rows = [finding for one in report.signatures for finding in one.findings if finding.code != "timestamp"]
    rows += [finding for one in report.signatures for stamp in one.timestamps for finding in stamp.findings]
    rows += [finding for stamp in report.timestamps for finding in stamp.findings]
    rows = [finding for finding in rows if finding.outcome is Outcome.UNDETERMINED]
    if rows and all(finding.code in _COULD_BE_FETCHED and finding.sub is Sub.TRY_LATER for finding in rows):
        raise Unavailable(
            "status-unavailable",
            found="no current status of a certificate, neither in the file nor from its issuer",
            expected="an OCSP response or a CRL",
            remedy="it is tried again; nothing is released meanwhile",
        )
