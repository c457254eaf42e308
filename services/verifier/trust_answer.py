"""Which anchor set answers for each signature and timestamp; an anchor counts only for its purpose and time.

The judge is given bare certificates. Here the anchor that each path ended in is looked up by its key. One that was not
granted then, or not for this, takes the trust away again: never more than undetermined, and never green. Pure.
"""

from __future__ import annotations

from datetime import datetime

from services.verifier.model import (
    CheckFinding,
    FileReport,
    Indication,
    SignatureReport,
    Sub,
    TimestampReport,
    TrustedBy,
    doubtful,
    notice,
    numbered,
)
from services.verifier.trust_store import Answer, Purpose, Trusted

CLAUSE = "Decree 23/2025/ND-CP Art 16; ETSI TS 119 612 5.5.4"


def answered(report: FileReport, trusted: Trusted) -> FileReport:
    """The same report, each certificate with the set that answers for it."""
    stamps = tuple(_stamp(one, trusted, report.judged_at) for one in report.timestamps)
    lost = any(before.trusted and not after.trusted for before, after in zip(report.timestamps, stamps, strict=True))
    signatures = tuple(_signature(one, trusted, report.judged_at, lost) for one in report.signatures)
    findings = report.findings
    if trusted.stale:
        names = ", ".join(trusted.stale)
        findings = numbered([*findings, notice("trust", "ETSI TS 119 612 5.3.15", "set-stale", sets=names)])
    return report.model_copy(update={"signatures": signatures, "timestamps": stamps, "findings": findings})


def _signature(one: SignatureReport, trusted: Trusted, now: datetime, lost: bool) -> SignatureReport:
    own = tuple(_stamp(stamp, trusted, now) for stamp in one.timestamps)
    fewer = any(before.trusted and not after.trusted for before, after in zip(one.timestamps, own, strict=True))
    still = any(stamp.trusted for stamp in own)
    rows = list(one.findings)
    proven = one.proven_time
    if proven is not None and (fewer or (lost and not still)):
        proven = None
        rows.append(doubtful("trust", CLAUSE, "time-not-by-a-trusted-set", Sub.NO_POE))
    trusted_by = None
    if one.anchor is not None:
        found = trusted.answer(one.anchor, Purpose.SIGNATURES, one.proven_time or now)
        trusted_by = _by(found)
        if trusted_by is None:
            rows.append(_refusal(found))
    weaker = len(rows) > len(one.findings)
    update: dict[str, object] = {"timestamps": own, "trusted_by": trusted_by, "proven_time": proven}
    if weaker:
        update["findings"] = numbered(rows)
        if one.indication is Indication.PASSED:
            update |= {"indication": Indication.INDETERMINATE, "sub_indication": rows[-1].sub}
    return one.model_copy(update=update)


def _stamp(one: TimestampReport, trusted: Trusted, now: datetime) -> TimestampReport:
    if one.anchor is None:
        return one
    found = trusted.answer(one.anchor, Purpose.TIMESTAMPS, one.time or now)
    trusted_by = _by(found)
    if trusted_by is not None:
        return one.model_copy(update={"trusted_by": trusted_by})
    row = _refusal(found)
    update: dict[str, object] = {"trusted": False, "findings": numbered([*one.findings, row])}
    if one.indication is Indication.PASSED:
        update |= {"indication": Indication.INDETERMINATE, "sub_indication": row.sub}
    return one.model_copy(update=update)


def _by(found: Answer | None) -> TrustedBy | None:
    if found is None or found.refusal is not None:
        return None
    return TrustedBy(set=found.set.name, kind=found.set.kind.value, label=found.set.label, authority=found.anchor.name)


def _refusal(found: Answer | None) -> CheckFinding:
    if found is None:
        return doubtful("trust", CLAUSE, "anchor-unknown", Sub.NO_CERTIFICATE_CHAIN_FOUND)
    return doubtful(
        "trust",
        CLAUSE,
        found.refusal or "anchor-unknown",
        Sub.NO_CERTIFICATE_CHAIN_FOUND,
        set=found.set.label,
        anchor=found.anchor.name,
    )
