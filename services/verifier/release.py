"""What speaks against releasing a signed file: the report held against what the signer claims. Pure."""

from __future__ import annotations

from services.verifier.agreement import DISAGREE, alone
from services.verifier.model import FileReport, Frozen, Integrity, Outcome, Stance, Verdict


class Claim(Frozen):
    """What the signer says, so that it can be held against what the file says."""

    starts_right: bool
    """The file begins with the octets of the base revision."""
    base_size: int
    certificate: str
    """SHA-256 of the certificate, hexadecimal."""
    field: str
    level: str


LEVELS = ("PAdES-BASELINE-B", "PAdES-BASELINE-T", "PAdES-BASELINE-LT", "PAdES-BASELINE-LTA")
_ADDITIONS = frozenset(
    {
        "signature-added",
        "signature-field-added",
        "document-timestamp-added",
        "validation-data-added",
        "metadata",
        "form-field",
    }
)


def objection(report: FileReport, claim: Claim) -> str | None:
    """Why the file must not be released, as a kebab-case code; none when nothing speaks against it.

    The file must begin with the base revision, hold exactly one new approval signature, by the expected certificate in
    the expected field, at the level claimed; everything in it must pass, and nothing but signatures, timestamps and
    validation data may have been added. A second engine must agree on every point: what it cannot say, or says
    otherwise, is not released, whether or not the difference is understood.
    """
    if not claim.starts_right:
        return "not-what-was-agreed"
    if report.integrity is Integrity.UNREADABLE:
        return "cannot-be-verified"
    fresh = [
        one for one in report.signatures if (one.signed_octets or 0) > claim.base_size or one.signed_octets is None
    ]
    if not fresh:
        return "no-new-signature"
    if len(fresh) > 1:
        return "several-new-signatures"
    new = fresh[0]
    if new.kind != "approval":
        return "not-an-approval"
    if new.certificate is None or new.certificate.sha256 != claim.certificate:
        return "wrong-certificate"
    if new.field != claim.field:
        return "wrong-field"
    if report.integrity is Integrity.BROKEN:
        return "signature-broken"
    if report.integrity is Integrity.CHANGED:
        return "changed-after-signing"
    if report.since_base is None or any(
        finding.code == "since-base" and finding.outcome is not Outcome.PASSED for finding in report.findings
    ):
        return "more-than-a-signature"
    after = [change for one in report.signatures for change in one.changes]
    after += [change for stamp in report.timestamps for change in stamp.changes]
    if any(not change.allowed or change.what not in _ADDITIONS for change in (*report.since_base, *after)):
        return "more-than-a-signature"
    verdict = alone(report).verdict
    if verdict is Verdict.FAILED:
        return "failed"
    if verdict is not Verdict.PASSED:
        return "undetermined"
    if new.level is None or LEVELS.index(new.level) < LEVELS.index(claim.level):
        return "level-not-reached"
    if report.agreement is None or report.agreement.stance is not Stance.AGREES:
        return DISAGREE
    return None


def lowest_level(report: FileReport) -> str | None:
    """The lowest level among the signatures; none when one of them has no level."""
    levels = [one.level for one in report.signatures]
    if not levels or any(level is None for level in levels):
        return None
    return min((level for level in levels if level is not None), key=LEVELS.index)
