"""What a judgement is made of: indications, findings, reports and the one summary verdict. Pure; no library, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field


class Indication(StrEnum):
    """Main status indication (ETSI EN 319 102-1 clause 5.1.3)."""

    PASSED = "TOTAL-PASSED"
    FAILED = "TOTAL-FAILED"
    INDETERMINATE = "INDETERMINATE"


class Sub(StrEnum):
    """Sub-indication (ETSI EN 319 102-1 clause 5.1.3, table 5)."""

    FORMAT_FAILURE = "FORMAT_FAILURE"
    HASH_FAILURE = "HASH_FAILURE"
    SIG_CRYPTO_FAILURE = "SIG_CRYPTO_FAILURE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    SIG_CONSTRAINTS_FAILURE = "SIG_CONSTRAINTS_FAILURE"
    CHAIN_CONSTRAINTS_FAILURE = "CHAIN_CONSTRAINTS_FAILURE"
    CERTIFICATE_CHAIN_GENERAL_FAILURE = "CERTIFICATE_CHAIN_GENERAL_FAILURE"
    CRYPTO_CONSTRAINTS_FAILURE = "CRYPTO_CONSTRAINTS_FAILURE"
    POLICY_PROCESSING_ERROR = "POLICY_PROCESSING_ERROR"
    SIGNATURE_POLICY_NOT_AVAILABLE = "SIGNATURE_POLICY_NOT_AVAILABLE"
    TIMESTAMP_ORDER_FAILURE = "TIMESTAMP_ORDER_FAILURE"
    NO_SIGNING_CERTIFICATE_FOUND = "NO_SIGNING_CERTIFICATE_FOUND"
    NO_CERTIFICATE_CHAIN_FOUND = "NO_CERTIFICATE_CHAIN_FOUND"
    REVOKED_NO_POE = "REVOKED_NO_POE"
    REVOKED_CA_NO_POE = "REVOKED_CA_NO_POE"
    OUT_OF_BOUNDS_NOT_REVOKED = "OUT_OF_BOUNDS_NOT_REVOKED"
    OUT_OF_BOUNDS_NO_POE = "OUT_OF_BOUNDS_NO_POE"
    REVOCATION_OUT_OF_BOUNDS_NO_POE = "REVOCATION_OUT_OF_BOUNDS_NO_POE"
    CRYPTO_CONSTRAINTS_FAILURE_NO_POE = "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"
    NO_POE = "NO_POE"
    TRY_LATER = "TRY_LATER"
    SIGNED_DATA_NOT_FOUND = "SIGNED_DATA_NOT_FOUND"
    CUSTOM = "CUSTOM"


class Verdict(StrEnum):
    """What a person reads: Đạt / Không đạt / Chưa đủ căn cứ (Circular 15/2025/TT-BKHCN Art 6, V7)."""

    PASSED = "passed"
    FAILED = "failed"
    UNDETERMINED = "undetermined"

    @classmethod
    def of(cls, indication: Indication) -> Verdict:
        """Only TOTAL-PASSED is passed."""
        return {
            Indication.PASSED: cls.PASSED,
            Indication.FAILED: cls.FAILED,
            Indication.INDETERMINATE: cls.UNDETERMINED,
        }[indication]


class Integrity(StrEnum):
    """What has become of the signed bytes, whoever signed them; trust plays no part."""

    INTACT = "intact"
    """The signed bytes are as signed, and whatever came after is permitted."""
    CHANGED = "changed"
    """The signed bytes are there, but what the file shows now is not proven to be what was signed."""
    BROKEN = "broken"
    """A signature does not fit the bytes, or cannot be used as one."""
    UNSIGNED = "unsigned"
    UNREADABLE = "unreadable"


class Outcome(StrEnum):
    """The result of one check."""

    PASSED = "passed"
    FAILED = "failed"
    UNDETERMINED = "undetermined"
    NOTICE = "notice"
    """Passed, but the reader is told something."""
    SKIPPED = "skipped"
    """Does not apply here, or an earlier failure made it pointless."""


class Frozen(BaseModel):
    """A part of a report. It is written with its summaries and read without them: those are always derived."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Moment = AwareDatetime


class CheckFinding(Frozen):
    """One numbered check with its clause. Its sentence comes from the catalogue by `code` and `reason`."""

    number: int = 0
    code: str
    outcome: Outcome
    clause: str
    reason: str | None = None
    """A kebab-case name of why, for the sentence; none when the check simply passed."""
    detail: dict[str, str] = {}
    """Values for the sentence."""
    sub: Sub | None = None
    """The sub-indication this check gives rise to when it does not pass."""
    weight: Indication | None = None
    """The indication this check gives rise to when it does not pass."""


class LaterChange(Frozen):
    """Something that a later revision did after this signature."""

    revision: int
    page: int | None = None
    what: str
    """A kebab-case name: `signature-added`, `validation-data-added`, `page-content`, ..."""
    detail: str = ""
    allowed: bool


class NamedParty(Frozen):
    """Whom a certificate names. Personal numbers are masked, tax codes are not personal."""

    name: str
    organisation: str | None = None
    unit: str | None = None
    title: str | None = None
    identifiers: tuple[str, ...] = ()
    country: str | None = None


class SeenCertificate(Frozen):
    """What a reader wants to know of a certificate (Decree 23/2025/ND-CP Art 5-6)."""

    sha256: str
    serial: str
    subject: NamedParty
    issuer: NamedParty
    managed_by: NamedParty | None = None
    """The trust anchor that answers for it, when a path to one was found."""
    not_before: Moment
    not_after: Moment
    key: str
    usages: tuple[str, ...] = ()


class TrustedBy(Frozen):
    """The named anchor set that answers for a certificate (V8 c: who manages it)."""

    set: str
    kind: str
    """`public`, `government`, `foreign`, `own` or `lab`"""
    label: str
    authority: str
    """Whom the anchor names, or the service's name in a trusted list."""


class StatusEvidence(Frozen):
    """Where the status of one certificate came from."""

    certificate: str
    subject: str
    role: str
    """`signer`, `issuer`, `timestamp`"""
    status: str
    """`good`, `revoked`, `unknown`"""
    source: str | None = None
    """`ocsp` or `crl`"""
    this_update: Moment | None = None
    next_update: Moment | None = None
    revoked_at: Moment | None = None
    sha256: str | None = None


class MissingStatus(Frozen):
    """Status data that the file lacks and that somebody with a network could fetch."""

    certificate: str
    """DER, base64."""
    issuer: str | None
    ocsp: tuple[str, ...] = ()
    crl: tuple[str, ...] = ()


class TimestampReport(Frozen):
    """One timestamp token: over a signature, or over the document."""

    kind: str
    """`signature`, `content` or `document`"""
    field: str | None = None
    revision: int | None = None
    time: Moment | None = None
    authority: NamedParty | None = None
    anchor: str | None = None
    """SHA-256 of the trusted certificate that the path ended in, hexadecimal."""
    trusted_by: TrustedBy | None = None
    imprint_ok: bool
    trusted: bool
    integrity: Integrity = Integrity.INTACT
    indication: Indication
    sub_indication: Sub | None = None
    findings: tuple[CheckFinding, ...] = ()
    evidence: tuple[StatusEvidence, ...] = ()
    changes: tuple[LaterChange, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The summary of the indication."""
        return Verdict.of(self.indication)


class SignatureReport(Frozen):
    """One signature, judged from its bytes."""

    field: str
    kind: str
    """`approval`, `certification` or `unsupported`"""
    sub_filter: str | None = None
    revision: int | None = None
    covers_whole_file: bool = False
    signed_octets: int | None = None
    """Where the signed bytes end."""
    integrity: Integrity
    indication: Indication
    sub_indication: Sub | None = None
    level: str | None = None
    certificate: SeenCertificate | None = None
    anchor: str | None = None
    """SHA-256 of the trusted certificate that the path ended in, hexadecimal."""
    trusted_by: TrustedBy | None = None
    claimed_time: Moment | None = None
    proven_time: Moment | None = None
    reason: str | None = None
    digest_algorithm: str | None = None
    signature_algorithm: str | None = None
    timestamps: tuple[TimestampReport, ...] = ()
    findings: tuple[CheckFinding, ...] = ()
    evidence: tuple[StatusEvidence, ...] = ()
    changes: tuple[LaterChange, ...] = ()
    needs: tuple[MissingStatus, ...] = ()
    parsing: str = "strict"
    """`strict`, or `tolerant` when the strict reading failed."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The summary of the indication."""
        return Verdict.of(self.indication)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def trusted(self) -> bool:
        """Whether everything about the signer's certificate held at the proven time."""
        return self.indication is Indication.PASSED

    @computed_field  # type: ignore[prop-decorator]
    @property
    def timestamp_trusted(self) -> bool | None:
        """Whether a signature timestamp is trusted; none when there is no timestamp."""
        own = [one.trusted for one in self.timestamps if one.kind == "signature"]
        return any(own) if own else None


class Scope(StrEnum):
    """What an opinion is about."""

    FILE = "file"
    """The file as a whole: no signature could be named."""
    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"
    VALUE = "value"
    """Digest and signature value only: neither later changes nor trust."""


class Opinion(Frozen):
    """What another engine says of one signature; it never decides, it agrees or does not."""

    engine: str
    scope: Scope
    field: str | None = None
    signed_octets: int | None = None
    """Where the signed bytes end."""
    integrity: Integrity | None = None
    """None: the engine cannot say."""
    verdict: Verdict | None = None
    """None: the engine cannot say, or was not asked."""
    indication: Indication | None = None
    sub_indication: str | None = None
    reason: str | None = None
    """A kebab-case name of why it is not simply good."""
    detail: dict[str, str] = {}
    parsing: str = "strict"
    """`strict`, or `tolerant` when the strict reading failed."""


class Heard(Frozen):
    """What an engine that was asked answered."""

    engine: str
    version: str | None
    """None: it is not installed."""
    opinions: tuple[Opinion, ...] = ()


class Stance(StrEnum):
    """How another engine stands to what engine one found."""

    AGREES = "agrees"
    DIFFERS = "differs"
    CANNOT_SAY = "cannot-say"


class AgreementRow(Frozen):
    """One point on which two engines were compared."""

    engine: str
    field: str | None
    on: str
    """`signatures` (which there are), `integrity` or `verdict`"""
    stance: Stance
    one: str
    """What engine one says, in a word."""
    other: str
    """What the other says, in a word."""
    stricter: bool = False
    """Whether the other accepts less than engine one."""
    why: str | None = None
    """A named, known reason (services.verifier.agreement.KNOWN); none when the difference is not understood."""


class Agreement(Frozen):
    """Whether the engines agree on a file, point by point."""

    stance: Stance
    rows: tuple[AgreementRow, ...] = ()
    absent: tuple[str, ...] = ()
    """Engines that could have been asked and are not installed."""


class FileReport(Frozen):
    """One file, judged."""

    file: str
    sha256: str | None = None
    size: int | None = None
    judged_at: Moment
    revisions: int = 0
    pages: int | None = None
    integrity: Integrity
    signatures: tuple[SignatureReport, ...] = ()
    timestamps: tuple[TimestampReport, ...] = ()
    findings: tuple[CheckFinding, ...] = ()
    since_base: tuple[LaterChange, ...] | None = None
    """What came after the first `base_size` octets, when the caller asked."""
    anchors: int = 0
    engines: tuple[str, ...] = ()
    """Those that were asked, engine one first; it alone decides."""
    opinions: tuple[Opinion, ...] = ()
    """What the other engines say, each signature on its own."""
    agreement: Agreement | None = None
    """None when only engine one was asked."""
    milliseconds: Annotated[float, Field(ge=0)] = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """One word for the file: the worst of everything in it."""
        return summary(self)

    def line(self) -> dict[str, Any]:
        """The short form for machines (`antin verify --json`)."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "integrity": self.integrity.value,
            "verdict": self.verdict.value,
            "signatures": [
                {
                    "field": one.field,
                    "integrity": one.integrity.value,
                    "verdict": one.verdict.value,
                    "indication": one.indication.value,
                    "sub_indication": one.sub_indication.value if one.sub_indication else None,
                    "level": one.level,
                    "signer": one.certificate.subject.name if one.certificate else None,
                    "claimed_time": _iso(one.claimed_time),
                    "proven_time": _iso(one.proven_time),
                    "trusted": one.trusted,
                    "timestamp_trusted": one.timestamp_trusted,
                    "trusted_by": one.trusted_by.model_dump() if one.trusted_by else None,
                    "changes": [_change(change) for change in one.changes],
                    "findings": [_brief(finding) for finding in one.findings if _worth_telling(finding)],
                }
                for one in self.signatures
            ],
            "timestamps": [
                {
                    "field": one.field,
                    "integrity": one.integrity.value,
                    "verdict": one.verdict.value,
                    "indication": one.indication.value,
                    "sub_indication": one.sub_indication.value if one.sub_indication else None,
                    "time": _iso(one.time),
                    "trusted": one.trusted,
                    "changes": [_change(change) for change in one.changes],
                    "findings": [_brief(finding) for finding in one.findings if _worth_telling(finding)],
                }
                for one in self.timestamps
            ],
            "findings": [_brief(finding) for finding in self.findings if _worth_telling(finding)],
            "engines": {
                "asked": list(self.engines),
                "agreement": self.agreement.stance.value if self.agreement else "not-asked",
                "differences": [
                    row.model_dump(mode="json")
                    for row in (self.agreement.rows if self.agreement else ())
                    if row.stance is not Stance.AGREES
                ],
            },
        }


def summary(report: FileReport) -> Verdict:
    """Failed beats undetermined beats passed; a file without a signature that can be judged is never passed."""
    if report.integrity in (Integrity.CHANGED, Integrity.BROKEN):
        return Verdict.FAILED
    if report.integrity in (Integrity.UNSIGNED, Integrity.UNREADABLE) or not report.signatures:
        return Verdict.UNDETERMINED
    each = [*(one.verdict for one in report.signatures), *(one.verdict for one in report.timestamps)]
    each += [Verdict.of(finding.weight) for finding in report.findings if finding.weight and _counts(finding)]
    return _worst(each)


def conclude(findings: Iterable[CheckFinding]) -> tuple[Indication, Sub | None]:
    """The indication that the checks together give: a failure first, then a doubt, each by its first finding."""
    counting = [finding for finding in findings if _counts(finding)]
    for weight in (Indication.FAILED, Indication.INDETERMINATE):
        for finding in counting:
            if (finding.weight or Indication.INDETERMINATE) is weight:
                return weight, finding.sub
    return Indication.PASSED, None


def numbered(findings: Iterable[CheckFinding]) -> tuple[CheckFinding, ...]:
    """The same checks, numbered from 1 in their order."""
    return tuple(finding.model_copy(update={"number": number}) for number, finding in enumerate(findings, start=1))


def worst_integrity(each: Iterable[Integrity]) -> Integrity:
    """Broken beats changed beats intact."""
    order = (Integrity.INTACT, Integrity.CHANGED, Integrity.BROKEN)
    return max(each, key=order.index, default=Integrity.UNSIGNED)


def passed(code: str, clause: str, **detail: str) -> CheckFinding:
    """A check that holds."""
    return CheckFinding(code=code, outcome=Outcome.PASSED, clause=clause, detail=detail)


def notice(code: str, clause: str, reason: str, **detail: str) -> CheckFinding:
    """A check that holds, with something to tell."""
    return CheckFinding(code=code, outcome=Outcome.NOTICE, clause=clause, reason=reason, detail=detail)


def skipped(code: str, clause: str, reason: str, **detail: str) -> CheckFinding:
    """A check that was not made, and why."""
    return CheckFinding(code=code, outcome=Outcome.SKIPPED, clause=clause, reason=reason, detail=detail)


def failed(code: str, clause: str, reason: str, sub: Sub, **detail: str) -> CheckFinding:
    """A check that fails: TOTAL-FAILED."""
    return CheckFinding(
        code=code,
        outcome=Outcome.FAILED,
        clause=clause,
        reason=reason,
        sub=sub,
        weight=Indication.FAILED,
        detail=detail,
    )


def doubtful(code: str, clause: str, reason: str, sub: Sub, **detail: str) -> CheckFinding:
    """A check that cannot be decided: INDETERMINATE, shown as a warning."""
    return CheckFinding(
        code=code,
        outcome=Outcome.UNDETERMINED,
        clause=clause,
        reason=reason,
        sub=sub,
        weight=Indication.INDETERMINATE,
        detail=detail,
    )


def unreadable(
    file: str, reason: str, judged_at: datetime, clause: str = "ISO 32000-2 7.5", **detail: str
) -> FileReport:
    """The report of a file that cannot be verified at all."""
    return FileReport(
        file=file,
        judged_at=judged_at,
        integrity=Integrity.UNREADABLE,
        findings=numbered([doubtful("readable", clause, reason, Sub.FORMAT_FAILURE, **detail)]),
    )


def _worst(each: Iterable[Verdict]) -> Verdict:
    order = (Verdict.PASSED, Verdict.UNDETERMINED, Verdict.FAILED)
    return max(each, key=order.index, default=Verdict.UNDETERMINED)


def _counts(finding: CheckFinding) -> bool:
    return finding.outcome in (Outcome.FAILED, Outcome.UNDETERMINED)


def _worth_telling(finding: CheckFinding) -> bool:
    return finding.outcome not in (Outcome.PASSED, Outcome.SKIPPED)


def _brief(finding: CheckFinding) -> dict[str, Any]:
    return {
        "check": finding.code,
        "outcome": finding.outcome.value,
        "reason": finding.reason,
        "clause": finding.clause,
        "detail": finding.detail,
    }


def _change(change: LaterChange) -> dict[str, Any]:
    return {
        "revision": change.revision,
        "page": change.page,
        "what": change.what + (f": {change.detail}" if change.detail else ""),
        "allowed": change.allowed,
    }


def _iso(moment: datetime | None) -> str | None:
    from datetime import UTC

    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


class Brought(Frozen):
    """Certificates and status data that the caller adds to what the file holds (DER)."""

    certificates: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


class Judgement(Frozen):
    """Where the report of a judged revision is."""

    slot: str
    report: str
    verdict: str
    """`verified` or `rejected`"""
    at: Moment
