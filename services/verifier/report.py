"""The report for people: one self-contained HTML page, Vietnamese first, English at a switch, without any script."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta, timezone
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.verifier import catalogue
from services.verifier.catalogue import LABELS, SENTENCES, Text
from services.verifier.model import (
    CheckFinding,
    FileReport,
    Integrity,
    NamedParty,
    SignatureReport,
    TimestampReport,
    Verdict,
)

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
    return SENTENCES[key].filled(detail)


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


def verdict_of(one: SignatureReport | TimestampReport) -> str:
    """The verdict's word in code."""
    return one.verdict.value


def html(report: FileReport) -> str:
    """The whole page."""
    style, policy = _style()
    template = _environment().get_template("report.html")
    return template.render(
        report=report,
        style=Markup(style),  # noqa: S704 - our own file
        policy=policy,
        labels=LABELS,
        verdicts=catalogue.VERDICTS,
        outcomes=catalogue.OUTCOMES,
        integrity=catalogue.INTEGRITY,
        kinds=catalogue.KINDS,
        icons=ICONS,
        sentence=sentence(report),
    )


def content_security_policy() -> str:
    """The header under which the page may be shown: nothing but its own style."""
    return _style()[1]


@cache
def _style() -> tuple[str, str]:
    style = resources.files("services.verifier").joinpath("templates/report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return style, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> Environment:
    folder = str(resources.files("services.verifier").joinpath("templates"))
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        local=local,
        check=catalogue.check,
        change=catalogue.change,
        why=why,
        signed=signed_sentence,
        people=_people,
        grouped=_grouped,
    )
    return environment


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
