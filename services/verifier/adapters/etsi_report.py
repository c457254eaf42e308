"""The report as ETSI TS 119 102-2 V1.2.1 XML, for machines that read the standard form; made from our own verdict.

Covered: one SignatureValidationReport per signature with its constraints, times, attributes, signer, process and
status; certificates, status data and timestamps as validation objects, each by its digest. Not covered: the signature
values, the octets of the objects, signature quality (a qualification after TS 119 615), and a signature on the report.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

from services.verifier.model import (
    CheckFinding,
    FileReport,
    Indication,
    Integrity,
    Outcome,
    SignatureReport,
    Sub,
    TimestampReport,
)

VR = "http://uri.etsi.org/19102/v1.2.1#"
DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
URN = "urn:etsi:019102"

_MAIN = {
    Indication.PASSED: "total-passed",
    Indication.FAILED: "total-failed",
    Indication.INDETERMINATE: "indeterminate",
}
_OUTCOMES = {
    Outcome.PASSED: "passed",
    Outcome.NOTICE: "passed",
    Outcome.FAILED: "failed",
    Outcome.UNDETERMINED: "indeterminate",
}
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def etsi_xml(report: FileReport) -> bytes:
    """The whole report, UTF-8. A file without signatures has one entry that says so: the schema wants one."""
    root = etree.Element(f"{{{VR}}}ValidationReport", nsmap={"vr": VR, "ds": DS, "XAdES": XADES})
    objects = _Objects()
    for number, one in enumerate(report.signatures):
        _signature(root, report, number, one, objects)
    if not report.signatures:
        _nothing(root, report)
    for number, stamp in enumerate(report.timestamps):
        objects.stamp(f"document-{number}", stamp, report)
    objects.write(root)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


class _Objects:
    """The validation objects, each once, by its id."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def digest(self, kind: str, sha256: str) -> str:
        """An object known by its digest. Returns its id."""
        name = f"{kind}-{sha256}"
        if name not in self._made:
            made = self._begin(name, kind)
            _digest(_add(_add(made, "ValidationObjectRepresentation"), "DigestAlgAndValue"), sha256)
        return name

    def stamp(self, name: str, one: TimestampReport, report: FileReport) -> str:
        """A timestamp, with the report on it."""
        made = self._begin(f"timestamp-{name}", "timestamp")
        _add(_add(made, "ValidationObjectRepresentation"), "URI", f"urn:antin:timestamp:{name}")
        if one.time is not None and one.trusted:
            _poe(made, "POE", one.time)
        inner = _add(made, "ValidationReport")
        _constraints(inner, one.findings)
        _times(inner, report.judged_at, one.time if one.trusted else None)
        status = _status(inner, one.indication, one.sub_indication, plain=True)
        if one.anchor is not None:
            data = _add(status, "AssociatedValidationReportData")
            _refer(data, "TrustAnchor", self.digest("certificate", one.anchor))
        return f"timestamp-{name}"

    def write(self, root: Any) -> None:
        """Put them into the report, if there are any."""
        if self._made:
            _add(root, "SignatureValidationObjects").extend(self._made.values())

    def _begin(self, name: str, kind: str) -> Any:
        made = etree.Element(f"{{{VR}}}ValidationObject", id=name)
        self._made[name] = made
        _add(made, "ObjectType", f"{URN}:validationObject:{kind}")
        return made


def _signature(root: Any, report: FileReport, number: int, one: SignatureReport, objects: _Objects) -> None:
    made = _add(root, "SignatureValidationReport")
    _identifier(made, one.field)
    _constraints(made, one.findings)
    _times(made, report.judged_at, one.proven_time)
    if report.sha256 is not None:
        _digest(_add(_add(made, "SignersDocument"), "DigestAlgAndValue"), report.sha256)
    _attributes(made, one)
    certificate = None
    if one.certificate is not None:
        certificate = objects.digest("certificate", one.certificate.sha256)
        signer = _add(made, "SignerInformation")
        _refer(signer, "SignerCertificate", certificate)
        _add(signer, "Signer", one.certificate.subject.name)
    process = "LTA" if report.timestamps else "LTVM" if one.timestamps else "Basic"
    _add(_add(made, "SignatureValidationProcess"), "SignatureValidationProcessID", f"{URN}:validationprocess:{process}")
    status = _status(made, one.indication, one.sub_indication)
    data = _add(status, "AssociatedValidationReportData")
    anchor = objects.digest("certificate", one.anchor) if one.anchor is not None else None
    if anchor is not None:
        _refer(data, "TrustAnchor", anchor)
    if certificate is not None:
        chain = _add(data, "CertificateChain")
        _refer(chain, "SigningCertificate", certificate)
        if anchor is not None:
            _refer(chain, "TrustAnchor", anchor)
    names = [objects.stamp(f"{number}-{index}", stamp, report) for index, stamp in enumerate(one.timestamps)]
    names += [
        objects.digest({"ocsp": "OCSPResponse", "crl": "CRL"}[found.source], found.sha256)
        for found in one.evidence
        if found.sha256 is not None and found.source in ("ocsp", "crl")
    ]
    for name in dict.fromkeys(names):
        _refer(data, "RelatedValidationObject", name)
    for found in one.evidence:
        if found.role == "signer" and found.revoked_at is not None and certificate is not None:
            revoked = _add(data, "RevocationStatusInformation")
            _refer(revoked, "ValidationObjectId", certificate)
            _add(revoked, "RevocationTime", _time(found.revoked_at))
            break
    if not len(data):
        status.remove(data)


def _nothing(root: Any, report: FileReport) -> None:
    made = _add(root, "SignatureValidationReport")
    _constraints(made, report.findings)
    _times(made, report.judged_at, None)
    if report.sha256 is not None:
        _digest(_add(_add(made, "SignersDocument"), "DigestAlgAndValue"), report.sha256)
    unreadable = report.integrity is Integrity.UNREADABLE
    sub = Sub.FORMAT_FAILURE if unreadable else Sub.SIGNED_DATA_NOT_FOUND
    _status(made, Indication.INDETERMINATE, sub)


def _identifier(parent: Any, field: str) -> None:
    made = _add(parent, "SignatureIdentifier")
    _add(made, "HashOnly", "false")
    _add(made, "DocHashOnly", "false")
    _add(made, "DAIdentifier", field)


def _constraints(parent: Any, findings: tuple[CheckFinding, ...]) -> None:
    if not findings:
        return
    made = _add(parent, "ValidationConstraintsEvaluationReport")
    for one in findings:
        row = _add(made, "ValidationConstraint")
        _add(row, "ValidationConstraintIdentifier", f"urn:antin:check:{one.code}")
        clause = _add(row, "ValidationConstraintParameter")
        _add(clause, "Type", "urn:antin:clause")
        _add(clause, "Value", one.clause)
        if one.reason is not None:
            reason = _add(row, "ValidationConstraintParameter")
            _add(reason, "Type", "urn:antin:reason")
            _add(reason, "Value", one.reason)
        applied = one.outcome is not Outcome.SKIPPED
        _add(_add(row, "ConstraintStatus"), "Status", f"{URN}:constraintStatus:{'applied' if applied else 'disabled'}")
        if applied:
            status = _add(row, "ValidationStatus")
            _add(status, "MainIndication", f"{URN}:mainindication:{_OUTCOMES[one.outcome]}")
            if one.sub is not None:
                _add(status, "SubIndication", f"{URN}:subindication:{one.sub.value}")


def _times(parent: Any, judged: datetime, proven: datetime | None) -> None:
    """The best signature time is the proven one, else the time of validation (EN 319 102-1 clause 5.5.4)."""
    made = _add(parent, "ValidationTimeInfo")
    _add(made, "ValidationTime", _time(judged))
    _poe(made, "BestSignatureTime", proven or judged)


def _poe(parent: Any, name: str, moment: datetime) -> None:
    made = _add(parent, name)
    _add(made, "POETime", _time(moment))
    _add(made, "TypeOfProof", f"{URN}:poetype:validation")


def _attributes(parent: Any, one: SignatureReport) -> None:
    made = etree.Element(f"{{{VR}}}SignatureAttributes")
    if one.claimed_time is not None:
        _add(_add(made, "SigningTime", Signed="true"), "Time", _time(one.claimed_time))
    if one.certificate is not None:
        listed = _add(_add(made, "SigningCertificate", Signed="true"), "CertID")
        _digest(listed, one.certificate.sha256)
    for stamp in one.timestamps:
        if stamp.time is not None:
            name = "AllDataObjectsTimeStamp" if stamp.kind == "content" else "SignatureTimeStamp"
            signed = "true" if stamp.kind == "content" else "false"
            _add(_add(made, name, Signed=signed), "TimeStampValue", _time(stamp.time))
    if one.reason:
        _add(_add(made, "Reason", Signed="true"), "ReasonElement", one.reason)
    if one.sub_filter:
        _add(_add(made, "SubFilter", Signed="true"), "SubFilterElement", one.sub_filter)
    if len(made):
        parent.append(made)


def _status(parent: Any, indication: Indication, sub: Sub | None, *, plain: bool = False) -> Any:
    """Timestamps and other parts have the plain indications: passed, failed, indeterminate."""
    made = _add(parent, "SignatureValidationStatus")
    _add(made, "MainIndication", f"{URN}:mainindication:{_MAIN[indication].removeprefix('total-' if plain else '-')}")
    if sub is not None:
        _add(made, "SubIndication", f"{URN}:subindication:{sub.value}")
    return made


def _refer(parent: Any, name: str, reference: str) -> None:
    _add(parent, name, VOReference=reference)


def _digest(parent: Any, sha256: str) -> None:
    etree.SubElement(parent, f"{{{DS}}}DigestMethod", Algorithm=SHA256)
    etree.SubElement(parent, f"{{{DS}}}DigestValue").text = base64.b64encode(bytes.fromhex(sha256)).decode()


def _add(parent: Any, name: str, text: str | None = None, **attributes: str) -> Any:
    made = etree.SubElement(parent, f"{{{VR}}}{name}", **attributes)
    if text is not None:
        made.text = _NOT_XML.sub("\ufffd", text)
    return made


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
