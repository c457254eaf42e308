"""The fold: from facts to what is shown. Pure and idempotent, so that replays and repeats change nothing.

Nothing is ever added up: a moment is kept by its name, a state by the event that set it, a count by the offset it
reaches to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from events.binding import (
    BindingFact,
    CertificateBound,
    CertificateIssued,
    CertificateReleased,
    CertificateRevoked,
    CertificateSuspended,
)
from events.contract import ContractFact
from events.envelope import Event
from events.fact import Fact
from events.signing import SigningFact
from events.verification import VerificationFact

ENDED = {
    "ContractCompleted": "completed",
    "ContractWithdrawn": "withdrawn",
    "ContractExpired": "expired",
    "ContractVoided": "voided",
    "PartyDeclined": "declined",
}
"""Facts that end a contract, and the state they leave it in."""

CERTIFICATE: dict[type[Fact], str] = {
    CertificateIssued: "issued",
    CertificateBound: "bound",
    CertificateSuspended: "suspended",
    CertificateReleased: "bound",
    CertificateRevoked: "revoked",
}

STAGES: tuple[tuple[str, str, str], ...] = (
    ("approval to request", "PartyConfirmed", "SigningRequested"),
    ("request to signature", "SigningRequested", "DocumentSigned"),
    ("signature to verification", "DocumentSigned", "SignatureVerified"),
    ("request to verification", "SigningRequested", "SignatureVerified"),
)
"""Stages of one slot: from one fact to another."""
WHOLE = "sent to completed"
KEPT = timedelta(hours=2)
"""How long counts of a minute are kept."""


class State(BaseModel):
    """Base of what the fold keeps."""

    model_config = ConfigDict(frozen=True)


class Step(State):
    """One fact of a contract: the first event that said it."""

    event: str
    at: datetime


class ContractLine(State):
    """A contract as the events tell it. `steps`: by fact, and by slot where there is one (`DocumentSigned/buyer`)."""

    contract: str
    state: str = "unknown"
    since: str = ""
    """The event that set the state."""
    changed: str = ""
    """The newest event seen."""
    steps: dict[str, Step] = {}


class CertificateState(State):
    """One certificate's state and the event that set it."""

    state: str
    event: str
    at: datetime


class IdentityLine(State):
    """The certificates of an identity, by digest."""

    identity: str
    certificates: dict[str, CertificateState] = {}


class Count(State):
    """Events of one family in one minute on one partition, counted up to an offset."""

    upto: int = -1
    events: int = 0


def contract_of(event: Event[Fact]) -> str | None:
    """The contract an event belongs to, if any."""
    fact = event.fact
    if isinstance(fact, ContractFact | SigningFact | VerificationFact):
        return str(fact.contract)
    return None


def identity_of(event: Event[Fact]) -> str | None:
    """The identity whose certificates an event changes, if any."""
    fact = event.fact
    return str(fact.identity) if isinstance(fact, BindingFact) and type(fact) in CERTIFICATE else None


def minute_of(moment: datetime) -> str:
    """The minute of a moment in UTC, as counts name it."""
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def fold_contract(line: ContractLine, event: Event[Fact]) -> ContractLine:
    """The contract after the event; the same event again, or an older one, changes nothing that is newer."""
    name, identifier = event.fact.name(), str(event.id)
    slot = getattr(event.fact, "slot", None)
    key = f"{name}/{slot}" if slot is not None else name
    steps = dict(line.steps)
    known = steps.get(key)
    if known is None or identifier < known.event:
        steps[key] = Step(event=identifier, at=event.time)
    state, since = line.state, line.since
    if name in ENDED:
        if state not in ENDED.values() or identifier < since:
            state, since = ENDED[name], identifier
    elif name == "ContractSent" and state == "unknown":
        state, since = "sent", identifier
    return ContractLine(
        contract=line.contract, state=state, since=since, changed=max(line.changed, identifier), steps=steps
    )


def fold_identity(line: IdentityLine, event: Event[Fact]) -> IdentityLine:
    """The identity's certificates after the event: set if newer."""
    certificate = str(getattr(event.fact, "certificate", ""))
    known = line.certificates.get(certificate)
    if known is not None and known.event >= str(event.id):
        return line
    state = CertificateState(state=CERTIFICATE[type(event.fact)], event=str(event.id), at=event.time)
    return IdentityLine(identity=line.identity, certificates={**line.certificates, certificate: state})


def fold_count(count: Count, offset: int) -> Count:
    """One more event, unless its offset was counted before."""
    return count if offset <= count.upto else Count(upto=offset, events=count.events + 1)


def stages_of(line: ContractLine) -> list[tuple[str, float]]:
    """Each stage of each slot that has come to its end, in milliseconds."""
    found: list[tuple[str, float]] = []
    slots = {key.partition("/")[2] for key in line.steps if "/" in key}
    for slot in sorted(slots):
        for stage, begin, end in STAGES:
            first, last = line.steps.get(f"{begin}/{slot}"), line.steps.get(f"{end}/{slot}")
            if first is not None and last is not None:
                found.append((stage, (last.at - first.at).total_seconds() * 1000))
    sent, completed = line.steps.get("ContractSent"), line.steps.get("ContractCompleted")
    if sent is not None and completed is not None:
        found.append((WHOLE, (completed.at - sent.at).total_seconds() * 1000))
    return found


def latencies(lines: Sequence[ContractLine]) -> dict[str, tuple[int, float, float]]:
    """By stage: how many, the median and the 99th percentile in milliseconds (nearest rank)."""
    by_stage: dict[str, list[float]] = {}
    for line in lines:
        for stage, took in stages_of(line):
            by_stage.setdefault(stage, []).append(took)
    order = [name for name, _, _ in STAGES] + [WHOLE]
    return {
        stage: (len(by_stage[stage]), percentile(by_stage[stage], 0.5), percentile(by_stage[stage], 0.99))
        for stage in order
        if stage in by_stage
    }


def per_minute(counts: Mapping[tuple[str, str], Sequence[Count]]) -> list[tuple[str, str, int]]:
    """Minute, family and events, newest minute first."""
    rows = [(minute, family, sum(one.events for one in found)) for (minute, family), found in counts.items()]
    return sorted(rows, key=lambda row: (row[0], row[1]), reverse=True)


def percentile(figures: Sequence[float], share: float) -> float:
    """The figure below which this share of all lies (nearest rank)."""
    ranked = sorted(figures)
    return ranked[min(len(ranked) - 1, max(0, round(share * len(ranked) + 0.5) - 1))]
