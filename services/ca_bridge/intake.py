"""Decides on identity events in the authority's order: what is taken in, what is passed over, what must wait.

Every authentic event has a place in the order of its identity. An event that is refused for what it says is passed
over: its place counts, so that it never holds back the ones behind it. One that comes before its turn waits, unless it
takes rights away (docs/adr/0005). Sources: Decree 69/2024/ND-CP (locks), Law 91/2025/QH15 (consent).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from events.errors import Refused
from events.fact import Moment
from events.identity import (
    Consent,
    ConsentWithdrawn,
    IdentityEnded,
    IdentityFact,
    IdentityLocked,
    IdentityUnlocked,
    IdentityUpdated,
    IdentityVerified,
    OrganisationDissolved,
    OrganisationVerified,
    RepresentativeChanged,
)
from events.values import Code, Digest, IdentityId, SubjectKind


class _Tolerant(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AuthorityConsent(_Tolerant):
    """Consent as the authority states it."""

    id: Annotated[str, Field(max_length=64)]
    purpose: Code = Code("unstated")
    text_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = "0" * 64
    obtained_at: Moment | None = None
    expires_at: Moment | None = None


class AuthorityOrganisation(_Tolerant):
    """Organisation data are not personal."""

    tax_code: Annotated[str, Field(max_length=20)]
    name: Annotated[str, Field(max_length=300)]
    representative: IdentityId
    authority_expires_at: Moment | None = None


class AuthorityData(_Tolerant):
    """The data of an identity event; members this version does not know are ignored."""

    subject_kind: SubjectKind = SubjectKind.CITIZEN
    account_level: Annotated[int, Field(ge=1, le=2)] = 1
    auth_level: Annotated[int, Field(ge=1, le=4)] = 1
    valid_until: Moment | None = None
    transaction_id: Annotated[str, Field(max_length=64)] = ""
    consent: AuthorityConsent | None = None
    identifier_enc: Annotated[str, Field(max_length=8192)] | None = None
    identifier_commitment: Digest | None = None
    org: AuthorityOrganisation | None = None
    effective_at: Moment | None = None
    reason_code: Code = Code("unstated")


class AuthorityEvent(_Tolerant):
    """The envelope of an identity event whose signature was verified; `data` is judged in its turn."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(min_length=1, max_length=64)]
    source: Annotated[str, Field(max_length=300)]
    type: Annotated[str, Field(max_length=100)]
    subject: IdentityId
    time: Moment
    sequence: Annotated[int, Field(ge=1, le=1 << 31)]
    data: dict[str, Any] = {}

    @property
    def what(self) -> str:
        """The type without its frame: `identity.locked`."""
        return self.type.removeprefix("vn.eid.").removesuffix(".v1")


# --- the identity as known here


class IdentityState(StrEnum):
    """How an identity stands. `ended` is for good."""

    ACTIVE = "active"
    LOCKED = "locked"
    ENDED = "ended"


class Identity(BaseModel):
    """What is known of one identity. Name and number are only in `identifier_enc`, encrypted.

    `sequence` is the highest place taken; `missing` are the places below it that nothing was heard of, as ranges.
    `locked_at` and `represented_at` are the places of the last lock and of the last word on who represents.
    """

    model_config = ConfigDict(frozen=True)

    id: IdentityId
    kind: SubjectKind
    state: IdentityState = IdentityState.ACTIVE
    sequence: int = 0
    missing: tuple[tuple[int, int], ...] = ()
    locked_at: int = 0
    represented_at: int = 0
    account_level: int = 1
    auth_level: int = 1
    valid_until: Moment | None = None
    consent: Consent | None = None
    identifier_enc: str | None = None
    identifier_commitment: Digest | None = None
    tax_code: str | None = None
    organisation_name: str | None = None
    representative: IdentityId | None = None
    authority_expires_at: Moment | None = None

    @property
    def expected(self) -> int:
        """The place that must be heard of next."""
        return self.missing[0][0] if self.missing else self.sequence + 1

    def lacks(self, place: int) -> bool:
        """Whether this place was jumped over and may still be taken."""
        return any(first <= place <= last for first, last in self.missing)


@dataclass(frozen=True)
class Accepted:
    """An event taken in: the identity afterwards, what to say, and how many events are missing before it."""

    identity: Identity
    fact: IdentityFact
    missing: int


@dataclass(frozen=True)
class Passed:
    """An authentic event, refused for what it says; its place in the order is taken all the same."""

    identity: Identity
    fault: Refused


TAKES = frozenset(
    {"identity.locked", "identity.ended", "org.dissolved", "org.representative_changed", "consent.withdrawn"}
)
"""These take rights away: applied in spite of a gap, at any age, also after the end."""

VERIFIES = frozenset({"identity.verified", "org.verified"})
"""These must be fresh and are for one transaction."""


def take_in(
    event: AuthorityEvent,
    known: Identity | None,
    *,
    evidence: Digest,
    now: datetime,
    issuer: str,
    freshness: timedelta,
    skew: timedelta,
) -> Accepted | Passed:
    """Decide on one event, in the authority's order.

    Raises:
        Refused: another issuer, from the future, replayed or late, or before its turn. Its place is not taken.
    """
    if event.source != issuer:
        raise _refused("issuer-unknown", "another issuer", "the configured authority", status=401)
    if event.time > now + skew:
        raise _refused("from-the-future", f"a time {int((event.time - now).total_seconds())} s ahead", "a time by now")
    before = known or Identity(id=event.subject, kind=_kind(event))
    place = event.sequence
    if place <= before.sequence and not before.lacks(place):
        raise _refused("late-or-replayed", f"sequence {place}", f"{before.expected} or more", status=409)
    if place != before.expected and event.what not in TAKES:
        raise _refused(
            "out-of-order", f"sequence {place}", f"{before.expected}: deliver what is missing first", status=409
        )
    identity = take_place(before, place)
    try:
        fact, identity = _judge(event, identity, evidence, now, freshness)
    except Refused as fault:
        return Passed(identity, fault)
    return Accepted(identity, fact, max(0, place - before.sequence - 1))


def take_place(identity: Identity, place: int) -> Identity:
    """The identity after its place was heard of: places jumped over are missing, a missing one is found."""
    ranges: list[tuple[int, int]] = []
    for first, last in identity.missing:
        if first <= place <= last:
            ranges += [(a, b) for a, b in ((first, place - 1), (place + 1, last)) if a <= b]
        else:
            ranges.append((first, last))
    if place > identity.sequence + 1:
        ranges.append((identity.sequence + 1, place - 1))
    return identity.model_copy(update={"missing": tuple(ranges), "sequence": max(identity.sequence, place)})


def _kind(event: AuthorityEvent) -> SubjectKind:
    said = event.data.get("subject_kind")
    return SubjectKind.ORGANISATION if event.what.startswith("org.") or said == "organisation" else SubjectKind.CITIZEN


def _judge(
    event: AuthorityEvent, identity: Identity, evidence: Digest, now: datetime, freshness: timedelta
) -> tuple[IdentityFact, Identity]:
    apply = _RULES.get(event.what)
    if apply is None or event.type != f"vn.eid.{event.what}.v1":
        raise _refused("type-unknown", "a type that is not known here", "vn.eid.identity.*.v1 or vn.eid.org.*.v1")
    if identity.state is IdentityState.ENDED and event.what not in TAKES:
        raise _refused("ended", "an event for an identity that has ended", "none: an end is final", status=409)
    if event.what in VERIFIES and event.time < now - freshness:
        raise _refused("stale", f"an event {int((now - event.time).total_seconds())} s old", f"at most {freshness}")
    data = _data(event)
    place: dict[str, Any] = {
        "identity": event.subject,
        "sequence": event.sequence,
        "effective_at": data.effective_at or event.time,
        "evidence": evidence,
    }
    return apply(data, identity, place, now)


def _data(event: AuthorityEvent) -> AuthorityData:
    try:
        return AuthorityData.model_validate(event.data)
    except ValidationError as fault:
        if event.what in ("identity.locked", "identity.ended", "org.dissolved"):
            # Rights are taken away whatever else the event may say.
            return AuthorityData(reason_code=Code("unreadable"))
        where = ", ".join(".".join(str(part) for part in error["loc"]) for error in fault.errors()[:5])
        raise _refused("unreadable", f"data that do not fit ({where[:200]})", "data as agreed", status=400) from fault


# --- one rule for each type; each answers the fact and the identity afterwards

_Rule = Callable[[AuthorityData, Identity, dict[str, Any], datetime], tuple[IdentityFact, Identity]]


def _locked(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    at = max(identity.locked_at, place["sequence"])
    after = _state(identity, IdentityState.LOCKED).model_copy(update={"locked_at": at})
    return IdentityLocked(**place, reason=data.reason_code), after


def _unlocked(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    if identity.locked_at > place["sequence"]:
        raise _refused("overtaken", "an unlock from before the last lock", "an unlock after it", status=409)
    return IdentityUnlocked(**place, reason=data.reason_code), _state(identity, IdentityState.ACTIVE)


def _ended(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    reason: Literal["deceased", "missing"] = "missing" if data.reason_code == "missing" else "deceased"
    return IdentityEnded(**place, reason=reason), _state(identity, IdentityState.ENDED)


def _dissolved(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    reason: Literal["dissolved", "bankrupt"] = "bankrupt" if data.reason_code == "bankrupt" else "dissolved"
    return OrganisationDissolved(**place, reason=reason), _state(identity, IdentityState.ENDED)


def _represented(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    org = _organisation(data)
    _not_overtaken(identity, place)
    after = identity.model_copy(
        update={
            "representative": org.representative,
            "authority_expires_at": org.authority_expires_at,
            "represented_at": place["sequence"],
        }
    )
    return RepresentativeChanged(**place, representative=org.representative), after


def _withdrawn(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    gone = data.consent.id if data.consent else ""
    if identity.consent is not None and identity.consent.id == gone:
        identity = identity.model_copy(update={"consent": None})
    return ConsentWithdrawn(**place, consent=gone), identity


def _updated(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    fact = IdentityUpdated(**place, account_level=data.account_level)
    return fact, identity.model_copy(update=_person(data, identity))


def _verified(data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime) -> tuple[Any, Identity]:
    until, consent = _valid(data, now), _consent(data, now)
    fact = IdentityVerified(
        **place,
        account_level=data.account_level,
        auth_level=data.auth_level,
        valid_until=until,
        transaction=data.transaction_id,
        consent=consent,
    )
    return fact, identity.model_copy(
        update=_person(data, identity) | {"kind": SubjectKind.CITIZEN, "consent": consent, "valid_until": until}
    )


def _organisation_verified(
    data: AuthorityData, identity: Identity, place: dict[str, Any], now: datetime
) -> tuple[Any, Identity]:
    org, until, consent = _organisation(data), _valid(data, now), _consent(data, now)
    _of_kind(SubjectKind.ORGANISATION, data, identity)
    _not_overtaken(identity, place)
    fact = OrganisationVerified(
        **place,
        representative=org.representative,
        account_level=data.account_level,
        auth_level=data.auth_level,
        valid_until=until,
        authority_expires_at=org.authority_expires_at,
        transaction=data.transaction_id,
        consent=consent,
    )
    return fact, identity.model_copy(
        update={
            "kind": SubjectKind.ORGANISATION,
            "account_level": data.account_level,
            "auth_level": data.auth_level,
            "valid_until": until,
            "consent": consent,
            "tax_code": org.tax_code,
            "organisation_name": org.name,
            "representative": org.representative,
            "authority_expires_at": org.authority_expires_at,
            "represented_at": place["sequence"],
        }
    )


_RULES: dict[str, _Rule] = {
    "identity.verified": _verified,
    "identity.updated": _updated,
    "identity.locked": _locked,
    "identity.unlocked": _unlocked,
    "identity.ended": _ended,
    "org.verified": _organisation_verified,
    "org.representative_changed": _represented,
    "org.dissolved": _dissolved,
    "consent.withdrawn": _withdrawn,
}


def _state(identity: Identity, state: IdentityState) -> Identity:
    """An end is final: nothing that comes later changes it."""
    if identity.state is IdentityState.ENDED:
        return identity
    return identity.model_copy(update={"state": state})


def _person(data: AuthorityData, identity: Identity) -> dict[str, Any]:
    _of_kind(SubjectKind.CITIZEN, data, identity)
    if data.identifier_enc is None or data.identifier_commitment is None:
        raise _refused("identifier-missing", "no encrypted identifier", "identifier_enc and identifier_commitment")
    return {
        "account_level": data.account_level,
        "auth_level": data.auth_level,
        "identifier_enc": data.identifier_enc,
        "identifier_commitment": data.identifier_commitment,
    }


def _of_kind(kind: SubjectKind, data: AuthorityData, identity: Identity) -> None:
    """What was verified as one kind stays that kind; before that the kind is only a guess."""
    verified = identity.valid_until is not None
    if data.subject_kind is not kind or (verified and identity.kind is not kind):
        raise _refused("kind-mismatch", "an event of one kind for a subject of the other", "one kind for one subject")


def _organisation(data: AuthorityData) -> AuthorityOrganisation:
    if data.org is None:
        raise _refused("organisation-missing", "no organisation data", "data.org")
    return data.org


def _not_overtaken(identity: Identity, place: dict[str, Any]) -> None:
    if identity.represented_at > place["sequence"]:
        raise _refused("overtaken", "a representative from before the last change", "the last word", status=409)


def _valid(data: AuthorityData, now: datetime) -> datetime:
    if data.valid_until is None or data.valid_until <= now:
        raise _refused("no-longer-valid", "a verification whose validity has ended", "valid_until in the future")
    return data.valid_until


def _consent(data: AuthorityData, now: datetime) -> Consent | None:
    given = data.consent
    if given is None:
        return None
    if given.obtained_at is None or given.expires_at is None or given.expires_at <= now:
        raise _refused("consent-expired", "a consent without life left", "expires_at in the future (Law 91/2025/QH15)")
    return Consent(
        id=given.id,
        purpose=given.purpose,
        text=Digest(f"sha256:{given.text_sha256}"),
        obtained_at=given.obtained_at,
        expires_at=given.expires_at,
    )


def _refused(code: str, found: str, expected: str, status: int = 422) -> Refused:
    return Refused(
        f"identity-{code}",
        found=found,
        expected=expected,
        remedy="correct it at the source and deliver again; certificates are as they were",
        status=status,
    )
