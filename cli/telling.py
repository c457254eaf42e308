"""Facts told to people at a terminal: one line per event as it happens, then a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from events.envelope import Event
from events.fact import Fact

VIETNAM = timezone(timedelta(hours=7))
"""Displayed times are Vietnam's (UTC+7, no daylight saving); stored ones are UTC."""

_COLOUR = {
    "identity": "cyan",
    "binding": "blue",
    "contract": "magenta",
    "signing": "yellow",
    "verification": "green",
    "notification": "bright_black",
}


def _who(fact: Any) -> str:
    return f"{str(fact.identity)[:8]}…"


_SAYS: dict[str, Callable[[Any], str]] = {
    "IdentityVerified": lambda f: f"{_who(f)} verified, account level {f.account_level}, authentication {f.auth_level}",
    "OrganisationVerified": lambda f: f"organisation {_who(f)} verified, acts through {str(f.representative)[:8]}…",
    "IdentityLocked": lambda f: f"{_who(f)} locked ({f.reason})",
    "IdentityUnlocked": lambda f: f"{_who(f)} unlocked",
    "IdentityEnded": lambda f: f"{_who(f)} ended ({f.reason})",
    "ApplicationOpened": lambda f: f"{_who(f)} applies for a certificate, key {f.key_algorithm}",
    "ApplicationRefused": lambda f: f"{_who(f)} refused: {f.reason}",
    "CertificateIssued": lambda f: f"{_who(f)} has certificate {f.certificate.short}, awaits confirmation",
    "CertificateBound": lambda f: f"{_who(f)} bound to certificate {f.certificate.short} until {f.not_after:%d/%m/%Y}",
    "CertificateSuspended": lambda f: f"{_who(f)} certificate {f.certificate.short} suspended ({f.reason})",
    "CertificateReleased": lambda f: f"{_who(f)} certificate {f.certificate.short} released",
    "CertificateRevoked": lambda f: f"{_who(f)} certificate {f.certificate.short} revoked ({f.reason})",
    "ContractSent": lambda f: f"document {f.document.short}, {f.pages} pages, {len(f.seats)} parties, {f.level}",
    "PartyConfirmed": lambda f: f"{f.slot} approved {f.shown.short}",
    "SigningRequested": lambda f: f"{f.slot} is to sign {f.base.short}",
    "DocumentSigned": lambda f: f"{f.slot} signed {f.base.short} -> {f.signed.short}, {f.level}",
    "SigningRefused": lambda f: f"{f.slot} refused: {f.reason}; {f.remedy}",
    "SignatureVerified": lambda f: f"{f.slot} verified: {f.signatures} signature(s), {f.level}",
    "SignatureRejected": lambda f: f"{f.slot} rejected: {f.reason}; the file is quarantined",
    "PartyDeclined": lambda f: f"{f.slot} declined ({f.reason})",
    "ContractVoided": lambda f: f"{f.slot} can no longer sign ({f.reason})",
    "ContractCompleted": lambda f: f"complete: {f.document.short}, {f.signatures} signatures, {f.level}",
    "NotificationDelivered": lambda f: f"event {str(f.event)[-8:]} delivered, attempt {f.attempts}",
}


def sentence(fact: Fact) -> str:
    """What happened, in one line, without personal data."""
    return _SAYS.get(fact.name(), lambda f: f"{f.key[:8]}…")(fact)


def line(event: Event[Fact], started: datetime) -> Text:
    """One event as one line: time since the start, family, fact, sentence."""
    after = (event.time - started).total_seconds()
    colour = _COLOUR.get(event.fact.family, "white")
    return Text.assemble(
        (f"{after:7.2f} s  ", "dim"),
        (f"{event.fact.family:<13}", colour),
        (f"{event.fact.name():<22}", "bold"),
        sentence(event.fact),
    )


@dataclass(frozen=True)
class SignerRow:
    """Who signed with which certificate, and what became of it."""

    slot: str
    signer: str
    certificate: str
    key: str
    level: str
    verdict: str
    signing_ms: float
    verifying_ms: float


def results(rows: Iterable[SignerRow]) -> Table:
    """The table at the end."""
    table = Table(title=None, show_lines=False)
    for heading in ("slot", "signer (from the certificate)", "certificate", "key", "level", "verdict"):
        table.add_column(heading, overflow="fold")
    for heading in ("signing ms", "verifying ms"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.slot,
            row.signer,
            row.certificate,
            row.key,
            row.level,
            row.verdict,
            f"{row.signing_ms:.0f}",
            f"{row.verifying_ms:.0f}",
        )
    return table


def stages(rows: Iterable[tuple[str, float]]) -> Table:
    """Milliseconds of each stage."""
    table = Table(title=None)
    table.add_column("stage")
    table.add_column("ms", justify="right")
    for name, ms in rows:
        table.add_row(name, f"{ms:.0f}")
    return table


def console() -> Console:
    """Colours on a terminal, plain lines elsewhere; NO_COLOR is respected by rich."""
    found = Console(highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(highlight=False, soft_wrap=True, width=160)
