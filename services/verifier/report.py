"""The report for people: one HTML page, self-contained where it is kept as a file; both languages at a switch."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from services.runtime import face
from services.runtime.negotiation import Language
from services.verifier import appendix, catalogue
from services.verifier.catalogue import LABELS, SENTENCES, Text
from services.verifier.glossary import GLOSSARY
from services.verifier.model import (
    CheckFinding,
    FileReport,
    Integrity,
    LaterChange,
    NamedParty,
    SignatureReport,
    Stance,
    TrustedBy,
    Verdict,
)
from services.verifier.page_words import PAGE
from services.verifier.pictures import Pictures, Step

VIETNAM = timezone(timedelta(hours=7), "GMT+7")
ICONS = {"passed": "✓", "failed": "✕", "undetermined": "?", "notice": "!", "skipped": "–"}


def local(moment: datetime | None) -> str:
    """A moment as people in Vietnam read it: `23/11/2026 14:05 (GMT+7)`."""
    return moment.astimezone(VIETNAM).strftime("%d/%m/%Y %H:%M (GMT+7)") if moment else ""


def sentence(report: FileReport) -> Text:
    """The answer to "can I rely on this document?"."""
    many = len(report.signatures)
    failing = sum(one.verdict is Verdict.FAILED for one in report.signatures)
    detail = {"signatures": many, "failing": failing or many}
    if report.integrity is Integrity.UNREADABLE:
        key = "unreadable"
    elif report.integrity is Integrity.UNSIGNED or not report.signatures:
        key = "unsigned"
    elif report.verdict is Verdict.PASSED:
        key = "passed" if many > 1 else "passed-one"
    elif report.verdict is Verdict.FAILED:
        key = {Integrity.CHANGED: "failed-changed", Integrity.BROKEN: "failed-broken"}.get(report.integrity, "failed")
    else:
        key = "undetermined"
    said = SENTENCES[key].filled(detail)
    if key == "unreadable" and report.findings:
        reason = why(report.findings[0])
        return Text(f"{said.vi} {reason.vi}", f"{said.en} {reason.en}")
    return said


def signed_sentence(one: SignatureReport) -> Text:
    """Who signed and when."""
    if one.certificate is None:
        return SENTENCES["signed-by-nobody"]
    subject = one.certificate.subject
    name = (
        subject.name
        if not subject.organisation or subject.organisation == subject.name
        else (f"{subject.name} ({subject.organisation})")
    )
    if one.proven_time:
        return SENTENCES["signed-proven"].filled({"name": name, "time": local(one.proven_time)})
    if one.claimed_time:
        return SENTENCES["signed-claimed"].filled({"name": name, "time": local(one.claimed_time)})
    return SENTENCES["signed"].filled({"name": name})


def why(finding: CheckFinding) -> Text:
    """The sentence of a check: its reason, or what it found."""
    if finding.reason is not None:
        return catalogue.reason(finding.reason, _readable(finding.detail))
    known = [
        finding.detail[key]
        for key in ("algorithm", "anchor", "name", "certificate", "level", "policy", "found")
        if finding.detail.get(key)
    ]
    if source := finding.detail.get("source"):
        known.append(source)
    text = ", ".join(known)
    return Text(text, text)


def agreement(report: FileReport) -> Text | None:
    """One line about the engines that were asked; none when only engine one was."""
    found = report.agreement
    if found is None:
        return None
    label = LABELS[
        {Stance.AGREES: "engines-agree", Stance.DIFFERS: "engines-differ"}.get(found.stance, "engines-silent")
    ]
    absent = [
        Text(f"{name} {LABELS['engine-absent'].vi}", f"{name} {LABELS['engine-absent'].en}") for name in found.absent
    ]
    return Text(
        f"{label.vi}: {', '.join([*report.engines, *(one.vi for one in absent)])}",
        f"{label.en}: {', '.join([*report.engines, *(one.en for one in absent)])}",
    )


def differences(report: FileReport) -> list[Text]:
    """On what another engine does not agree and what is known of it; what is common to several signatures once."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in report.agreement.rows if report.agreement else ():
        # What an engine that knows values alone cannot say is no news.
        if row.stance is not Stance.AGREES and row.why != "value-only":
            groups.setdefault((row.engine, row.on, row.one, row.other, row.why or ""), []).append(row.field or "")
    return [_difference(*group, fields=", ".join(filter(None, fields))) for group, fields in groups.items()]


def _difference(engine: str, on: str, one: str, other: str, why: str, *, fields: str) -> Text:
    point, mine, theirs, known = LABELS[f"on-{on}"], _word(one), _word(other), catalogue.explanation(why)
    where = f"{engine}, {fields}" if fields else engine
    return Text(
        f"{where}: {point.vi}: {mine.vi} ≠ {theirs.vi}. {known.vi}",
        f"{where}: {point.en}: {mine.en} ≠ {theirs.en}. {known.en}",
    )


def _word(name: str) -> Text:
    return catalogue.INTEGRITY.get(name) or catalogue.VERDICTS.get(name) or LABELS.get(name) or LABELS["cannot-say"]


def html(
    report: FileReport, *, pictures: Pictures | None = None, language: Language = "vi", served: bool = False
) -> str:
    """The whole page. Unless `served`, it needs no other file and no host; both languages are in it, one is shown."""
    style, policy = _style()
    return (
        _environment()
        .get_template("verify/report.html")
        .render(
            report=report,
            pictures=pictures,
            language=language,
            served=served,
            style=Markup(style),  # noqa: S704 - our own file
            policy=policy,
            labels=LABELS,
            page=PAGE,
            verdicts=catalogue.VERDICTS,
            outcomes=catalogue.OUTCOMES,
            integrity=catalogue.INTEGRITY,
            kinds=catalogue.KINDS,
            icons=ICONS,
            sentence=sentence(report),
            agreement=agreement(report),
            differences=differences(report),
            glossary=GLOSSARY,
        )
    )


def content_security_policy() -> str:
    """The header under which a page that is not `served` may be shown: nothing but its own style and images."""
    return _style()[1]


@cache
def _style() -> tuple[str, str]:
    style = face.enclosed("static/tokens.css", "static/parts.css", "static/report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return style, policy


@cache
def _environment() -> Environment:
    environment = face.environment()
    environment.filters.update(
        local=local,
        check=catalogue.check,
        change=catalogue.change,
        why=why,
        signed=signed_sentence,
        people=_people,
        grouped=_grouped,
        appendix=appendix.rows,
        chain=chain,
        signer=_signers,
        refused=_refused,
        unit=_unit,
    )
    return environment


@dataclass(frozen=True)
class Link:
    """One certificate of a chain, as a reader sees it. `role`: `root`, `issuer` or `signer`."""

    role: str
    name: str
    until: datetime | None = None
    status: str | None = None


def chain(one: SignatureReport) -> list[Link]:
    """The certificates from the trusted root down to the signer; it begins with the issuer where there is no root."""
    certificate = one.certificate
    if certificate is None:
        return []
    known = {found.subject: found.status for found in one.evidence}
    own = next((found.status for found in one.evidence if found.role == "signer"), None)
    links = []
    root = certificate.managed_by
    if root is not None:
        links.append(Link("root", root.name))
    if root is None or root.name != certificate.issuer.name:
        links.append(Link("issuer", certificate.issuer.name, status=known.get(certificate.issuer.name)))
    links.append(Link("signer", certificate.subject.name, certificate.not_after, own))
    return links


def _signers(step: Step, report: FileReport) -> str:
    """Who signed the earlier state of a step."""
    found = [one for one in report.signatures if one.signed_octets == step.earlier]
    return ", ".join(one.certificate.subject.name if one.certificate else one.field for one in found) or "?"


def _refused(report: FileReport) -> list[LaterChange]:
    """What was changed without permission, said once though it came after several signatures."""
    each = [change for one in report.signatures for change in one.changes if not change.allowed]
    each += [change for stamp in report.timestamps for change in stamp.changes if not change.allowed]
    return list(dict.fromkeys(each))


def _unit(found: TrustedBy) -> str:
    return " · ".join(dict.fromkeys(part for part in (found.label, found.set) if part))


def _people(party: NamedParty) -> list[str]:
    """The parts of a party that say something, none twice."""
    parts = [party.name, party.title, party.unit, party.organisation, *party.identifiers]
    return list(dict.fromkeys(part for part in parts if part))


def _grouped(number: int | None) -> str:
    return f"{number:,}".replace(",", ".") if number is not None else ""


def _readable(detail: dict[str, Any]) -> dict[str, Any]:
    """Times in a detail as people read them."""
    found = dict(detail)
    for key in ("since", "not_before", "not_after", "time"):
        if key in found:
            try:
                found[key] = local(datetime.fromisoformat(str(found[key])))
            except ValueError:
                continue
    return found
