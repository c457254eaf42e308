"""What the bridge decides without touching anything: intake of identity events, and what they do to certificates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.assurance import NEEDED, Act, enough
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
from events.values import (
    ApplicationId,
    CertificateProfile,
    Code,
    CredentialId,
    Digest,
    IdentityId,
    KeyAlgorithm,
    SubjectKind,
)

ISSUANCE = "certificate-issuance"
"""The consent's purpose under which certificates are issued."""


# --- what the authority sends (WIRE: CloudEvents 1.0 with a detached JWS); unknown members are tolerated


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
    """The data of an identity event."""

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
    """An identity event whose signature was verified."""

    id: Annotated[str, Field(max_length=64)]
    source: Annotated[str, Field(max_length=300)]
    type: Annotated[str, Field(max_length=100)]
    subject: IdentityId
    time: Moment
    sequence: Annotated[int, Field(ge=1)]
    data: AuthorityData


# --- the identity as known here


class IdentityState(StrEnum):
    """How an identity stands. `ended` is for good."""

    ACTIVE = "active"
    LOCKED = "locked"
    ENDED = "ended"


class Identity(BaseModel):
    """What is known of one identity. Name and number are only in `identifier_enc`, encrypted."""

    model_config = ConfigDict(frozen=True)

    id: IdentityId
    kind: SubjectKind
    state: IdentityState = IdentityState.ACTIVE
    sequence: int = 0
    gaps: int = 0
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


@dataclass(frozen=True)
class Accepted:
    """An event taken in: the identity afterwards, what to say, and how many events are missing before it."""

    identity: Identity
    fact: IdentityFact
    missing: int


# An event that takes rights away is applied in spite of a gap; one that gives waits for what is missing.
_TAKES = frozenset({"identity.locked", "identity.ended", "org.dissolved", "org.representative_changed"})
_GIVES = frozenset({"identity.verified", "identity.updated", "identity.unlocked", "org.verified"})
_OTHER = frozenset({"consent.withdrawn"})


def take_in(
    event: AuthorityEvent,
    known: Identity | None,
    *,
    evidence: Digest,
    now: datetime,
    issuer: str,
    freshness: timedelta,
    skew: timedelta,
) -> Accepted:
    """Decide on one event, in the authority's order.

    Raises:
        Refused: another issuer, unknown type, stale, from the future, replayed or late, out of order, or incomplete.
    """
    what = event.type.removeprefix("vn.eid.").removesuffix(".v1")
    if event.source != issuer:
        raise _refused("issuer-unknown", "another issuer", "the configured authority", status=401)
    if what not in _TAKES | _GIVES | _OTHER or event.type != f"vn.eid.{what}.v1":
        raise _refused("type-unknown", "a type that is not known here", "vn.eid.identity.*.v1 or vn.eid.org.*.v1")
    if event.time > now + skew:
        raise _refused("from-the-future", f"a time {int((event.time - now).total_seconds())} s ahead", "a time by now")
    if what in _GIVES and event.time < now - freshness:
        raise _refused("stale", f"an event {int((now - event.time).total_seconds())} s old", f"at most {freshness}")
    last = known.sequence if known is not None else 0
    if event.sequence <= last:
        raise _refused("late-or-replayed", f"sequence {event.sequence}", f"{last + 1} or more", status=409)
    missing = event.sequence - last - 1
    if missing and what not in _TAKES:
        raise _refused(
            "out-of-order", f"sequence {event.sequence}", f"{last + 1}: deliver the {missing} missing first", status=409
        )
    identity = known or Identity(id=event.subject, kind=event.data.subject_kind)
    if identity.state is IdentityState.ENDED and what not in _TAKES:
        raise _refused("identity-ended", "an event for an identity that has ended", "none: an end is final", status=409)
    identity = identity.model_copy(update={"sequence": event.sequence, "gaps": identity.gaps + missing})
    base: dict[str, Any] = {
        "identity": event.subject,
        "sequence": event.sequence,
        "effective_at": event.data.effective_at or event.time,
        "evidence": evidence,
    }
    identity, fact = _apply(what, event.data, identity, base, now)
    return Accepted(identity, fact, missing)


def _apply(
    what: str, data: AuthorityData, identity: Identity, base: dict[str, Any], now: datetime
) -> tuple[Identity, IdentityFact]:
    match what:
        case "identity.locked":
            return _state(identity, IdentityState.LOCKED), IdentityLocked(**base, reason=data.reason_code)
        case "identity.unlocked":
            return _state(identity, IdentityState.ACTIVE), IdentityUnlocked(**base, reason=data.reason_code)
        case "identity.ended":
            reason: Literal["deceased", "missing"] = "missing" if data.reason_code == "missing" else "deceased"
            return _state(identity, IdentityState.ENDED), IdentityEnded(**base, reason=reason)
        case "org.dissolved":
            end: Literal["dissolved", "bankrupt"] = "bankrupt" if data.reason_code == "bankrupt" else "dissolved"
            return _state(identity, IdentityState.ENDED), OrganisationDissolved(**base, reason=end)
        case "org.representative_changed":
            org = _organisation(data)
            changed = identity.model_copy(
                update={"representative": org.representative, "authority_expires_at": org.authority_expires_at}
            )
            return changed, RepresentativeChanged(**base, representative=org.representative)
        case "consent.withdrawn":
            gone = data.consent.id if data.consent else ""
            if identity.consent is not None and identity.consent.id == gone:
                identity = identity.model_copy(update={"consent": None})
            return identity, ConsentWithdrawn(**base, consent=gone)
        case "identity.updated":
            _complete(data, identity)
            updated = identity.model_copy(update=_verified(data))
            return updated, IdentityUpdated(**base, account_level=data.account_level)
        case "org.verified":
            return _organisation_verified(data, identity, base, now)
        case _:
            return _citizen_verified(data, identity, base, now)


def _citizen_verified(
    data: AuthorityData, identity: Identity, base: dict[str, Any], now: datetime
) -> tuple[Identity, IdentityFact]:
    _complete(data, identity)
    until = _valid(data, now)
    consent = _consent(data, now)
    verified = identity.model_copy(update=_verified(data) | {"consent": consent, "valid_until": until})
    fact = IdentityVerified(
        **base,
        account_level=data.account_level,
        auth_level=data.auth_level,
        valid_until=until,
        transaction=data.transaction_id,
        consent=consent,
    )
    return verified, fact


def _organisation_verified(
    data: AuthorityData, identity: Identity, base: dict[str, Any], now: datetime
) -> tuple[Identity, IdentityFact]:
    org = _organisation(data)
    until = _valid(data, now)
    consent = _consent(data, now)
    if identity.kind is not SubjectKind.ORGANISATION:
        raise _refused("kind-mismatch", "an organisation's event for a citizen", "one kind for one subject")
    verified = identity.model_copy(
        update={
            "account_level": data.account_level,
            "auth_level": data.auth_level,
            "valid_until": until,
            "consent": consent,
            "tax_code": org.tax_code,
            "organisation_name": org.name,
            "representative": org.representative,
            "authority_expires_at": org.authority_expires_at,
        }
    )
    fact = OrganisationVerified(
        **base,
        representative=org.representative,
        account_level=data.account_level,
        auth_level=data.auth_level,
        valid_until=until,
        authority_expires_at=org.authority_expires_at,
        transaction=data.transaction_id,
        consent=consent,
    )
    return verified, fact


def _state(identity: Identity, state: IdentityState) -> Identity:
    """An end is final: nothing that comes later changes it."""
    if identity.state is IdentityState.ENDED:
        return identity
    return identity.model_copy(update={"state": state})


def _verified(data: AuthorityData) -> dict[str, Any]:
    return {
        "account_level": data.account_level,
        "auth_level": data.auth_level,
        "identifier_enc": data.identifier_enc,
        "identifier_commitment": data.identifier_commitment,
    }


def _complete(data: AuthorityData, identity: Identity) -> None:
    if identity.kind is not SubjectKind.CITIZEN or data.subject_kind is not SubjectKind.CITIZEN:
        raise _refused("kind-mismatch", "a citizen's event for an organisation", "one kind for one subject")
    if data.identifier_enc is None or data.identifier_commitment is None:
        raise _refused("identifier-missing", "no encrypted identifier", "identifier_enc and identifier_commitment")


def _organisation(data: AuthorityData) -> AuthorityOrganisation:
    if data.org is None:
        raise _refused("organisation-missing", "no organisation data", "data.org")
    return data.org


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


# --- applications


class ApplicationState(StrEnum):
    """The life of an application."""

    OPENED = "opened"
    FROZEN = "frozen"
    ISSUED = "issued"
    BOUND = "bound"
    REFUSED = "refused"
    CANCELLED = "cancelled"


MOVES: dict[ApplicationState, frozenset[ApplicationState]] = {
    ApplicationState.OPENED: frozenset(
        {ApplicationState.ISSUED, ApplicationState.FROZEN, ApplicationState.REFUSED, ApplicationState.CANCELLED}
    ),
    ApplicationState.FROZEN: frozenset({ApplicationState.OPENED, ApplicationState.CANCELLED}),
    ApplicationState.ISSUED: frozenset({ApplicationState.BOUND, ApplicationState.CANCELLED}),
    ApplicationState.BOUND: frozenset(),
    ApplicationState.REFUSED: frozenset(),
    ApplicationState.CANCELLED: frozenset(),
}
"""The one table of an application's life; what is not in it cannot happen."""

PENDING = frozenset({ApplicationState.OPENED, ApplicationState.FROZEN, ApplicationState.ISSUED})


class Application(BaseModel):
    """One application for one certificate."""

    model_config = ConfigDict(frozen=True)

    id: ApplicationId
    identity: IdentityId
    profile: CertificateProfile
    key_algorithm: KeyAlgorithm
    credential: CredentialId
    challenge: str
    state: ApplicationState = ApplicationState.OPENED
    representative: IdentityId | None = None
    certificate: Digest | None = None
    chain: Digest | None = None
    serial: str | None = None
    not_before: Moment | None = None
    not_after: Moment | None = None
    reason: str | None = None

    def to(self, state: ApplicationState, **changes: Any) -> Application:
        """The application after a move of the table.

        Raises:
            Refused: the table has no such move; nothing has changed.
        """
        if state not in MOVES[self.state]:
            raise Refused(
                "application-state",
                found=f"an application that is {self.state}",
                expected=f"one that may become {state}",
                remedy="look at the application and open a new one if needed",
                status=409,
            )
        return self.model_copy(update={"state": state, **changes})


def may_apply(identity: Identity, representative: Identity | None, now: datetime) -> None:
    """Whether a certificate may be issued to this identity now (Decree 23/2025/ND-CP Art 34).

    Raises:
        Refused: locked or ended, levels too low, no consent, or no representative with authority.
    """
    needed = NEEDED[Act.APPLY]
    if identity.state is not IdentityState.ACTIVE:
        raise _refused("identity-not-active", f"an identity that is {identity.state}", "an active one", status=409)
    if identity.valid_until is None or identity.valid_until <= now:
        raise _refused("no-longer-valid", "a verification whose validity has ended", "a new verification")
    if identity.consent is None or identity.consent.purpose != ISSUANCE or identity.consent.expires_at <= now:
        raise _refused("no-consent", "no living consent to issue a certificate", f"consent with purpose {ISSUANCE}")
    if not enough(Act.APPLY, identity.account_level, identity.auth_level):
        raise _refused(
            "level-too-low",
            f"account level {identity.account_level}, authentication level {identity.auth_level}",
            f"at least {needed.account_level} and {needed.auth_level} ({needed.source})",
        )
    if identity.kind is SubjectKind.CITIZEN:
        return
    if representative is None or representative.state is not IdentityState.ACTIVE:
        raise _refused("representative-not-verified", "no active identity of the representative", "a verified one")
    if representative.account_level < 2:
        raise _refused("representative-level", "a representative at level 1", "level 2 (Decree 69/2024/ND-CP Art 12)")
    if identity.authority_expires_at is not None and identity.authority_expires_at <= now:
        raise _refused("authority-expired", "an authority to represent that has ended", "a living one")


def check_registry(identity: Identity, entry: RegistryEntry) -> None:
    """The enterprise registry must confirm the firm and its representative.

    Raises:
        Refused: not active, or represented by somebody else.
    """
    if entry.tax_code != identity.tax_code:
        raise _refused("registry-mismatch", "another tax code in the registry's answer", "the one asked for")
    if entry.status != "active":
        raise _refused("enterprise-not-active", f"an enterprise that is {entry.status}", "an active one")
    if entry.representative != identity.representative:
        raise _refused("representative-not-confirmed", "another representative in the registry", "the one who acts")


class RegistryEntry(_Tolerant):
    """What the enterprise registry says."""

    tax_code: Annotated[str, Field(max_length=20)]
    name: Annotated[str, Field(max_length=300)]
    status: Literal["active", "suspended", "dissolved", "bankrupt"]
    representative: IdentityId


# --- certificates and what identities do to them


class CertificateState(StrEnum):
    """How a bound certificate stands."""

    GOOD = "good"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Certificate(BaseModel):
    """A bound certificate. It may sign while there is no hold on it and it is not revoked."""

    model_config = ConfigDict(frozen=True)

    digest: Digest
    serial: str
    credential: CredentialId
    identity: IdentityId
    application: ApplicationId
    profile: CertificateProfile
    representative: IdentityId | None = None
    holds: tuple[str, ...] = ()
    revoked: str | None = None
    not_after: Moment

    @property
    def state(self) -> CertificateState:
        """Revoked for good, held, or good."""
        if self.revoked is not None:
            return CertificateState.REVOKED
        return CertificateState.SUSPENDED if self.holds else CertificateState.GOOD


@dataclass(frozen=True)
class Hold:
    """Put this hold on the certificate."""

    certificate: Certificate
    name: str
    reason: str


@dataclass(frozen=True)
class Release:
    """Take this hold, and only this, off the certificate."""

    certificate: Certificate
    name: str
    reason: str
    representative: IdentityId | None = None


@dataclass(frozen=True)
class Revoke:
    """End the certificate for good."""

    certificate: Certificate
    reason: str


@dataclass(frozen=True)
class Effects:
    """What a fact about an identity does."""

    certificates: tuple[Hold | Release | Revoke, ...] = ()
    freeze: bool = False
    resume: bool = False
    cancel: bool = False
    reapply: bool = field(default=False)


def effects(fact: IdentityFact, certificates: Iterable[Certificate]) -> Effects:
    """What the fact does to certificates and applications: the propagation table.

    `certificates`: every certificate of the identity, and every one it represents. Holds are named after who caused
    them, so that one lock's end never releases another's hold. Grounds: Decree 69/2024/ND-CP (locks), Decree
    23/2025/ND-CP (suspension, revocation), RFC 5280 clause 5.3.1 (reasons).
    """
    living = [one for one in certificates if one.revoked is None]
    own = [one for one in living if one.identity == fact.identity]
    represented = [one for one in living if one.identity != fact.identity and one.representative == fact.identity]
    lock = f"lock/{fact.identity}"
    match fact:
        case IdentityLocked():
            return Effects(tuple(Hold(one, lock, "identity-locked") for one in own + represented), freeze=True)
        case IdentityUnlocked():
            held = [one for one in own + represented if lock in one.holds]
            return Effects(tuple(Release(one, lock, "identity-unlocked") for one in held), resume=True)
        case IdentityEnded():
            seals = tuple(Hold(one, f"ended/{fact.identity}", "representative-ended") for one in represented)
            return Effects(tuple(Revoke(one, "cessation-of-operation") for one in own) + seals, cancel=True)
        case OrganisationDissolved():
            return Effects(tuple(Revoke(one, "cessation-of-operation") for one in own), cancel=True)
        case RepresentativeChanged():
            changed = [one for one in own if one.representative != fact.representative]
            return Effects(tuple(Hold(one, "representative", "representative-changed") for one in changed))
        case IdentityUpdated(account_level=level):
            if level < 2:
                return Effects(tuple(Hold(one, "level", "level-below-2") for one in own + represented), freeze=True)
            return Effects(reapply=bool(own))
        case IdentityVerified(account_level=level) | OrganisationVerified(account_level=level):
            return _verified_again(fact, own, level)
        case ConsentWithdrawn():
            return Effects(cancel=True)
    return Effects()


def _verified_again(fact: IdentityFact, own: list[Certificate], level: int) -> Effects:
    if level < 2:
        return Effects(tuple(Hold(one, "level", "level-below-2") for one in own), freeze=True)
    releases = [Release(one, "level", "level-restored") for one in own if "level" in one.holds]
    if isinstance(fact, OrganisationVerified):
        names = ("representative",)
        for one in own:
            gone = [hold for hold in one.holds if hold in names or hold.startswith("ended/")]
            releases += [
                Release(one, hold, "representative-confirmed", representative=fact.representative) for hold in gone
            ]
    return Effects(tuple(releases))


def held(certificate: Certificate, name: str) -> Certificate:
    """With this hold."""
    return certificate.model_copy(update={"holds": tuple(sorted({*certificate.holds, name}))})


def released(certificate: Certificate, name: str, representative: IdentityId | None = None) -> Certificate:
    """Without this hold."""
    update: dict[str, Any] = {"holds": tuple(hold for hold in certificate.holds if hold != name)}
    if representative is not None:
        update["representative"] = representative
    return certificate.model_copy(update=update)


def _refused(code: str, found: str, expected: str, status: int = 422) -> Refused:
    return Refused(
        f"identity-{code}" if not code.startswith("identity") else code,
        found=found,
        expected=expected,
        remedy="correct it at the source and deliver again; nothing has changed here",
        status=status,
    )
