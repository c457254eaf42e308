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
