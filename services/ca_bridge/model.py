"""What the bridge decides on applications and certificates without touching anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.assurance import NEEDED, Act, enough
from domain.identifiers import TaxCode, TaxCodeKind, tax_code
from events.errors import Refused
from events.fact import Moment
from events.identity import (
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
    CredentialId,
    Digest,
    IdentityId,
    KeyAlgorithm,
    SubjectKind,
)
from services.ca_bridge.intake import Identity, IdentityState

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


def consents(identity: Identity, now: datetime) -> bool:
    """Whether there is a living consent to issue a certificate."""
    consent = identity.consent
    return consent is not None and consent.purpose == ISSUANCE and consent.expires_at > now


def may_apply(identity: Identity, representative: Identity | None, now: datetime) -> None:
    """Whether a certificate may be issued to this identity now (Decree 23/2025/ND-CP Art 34).

    Raises:
        Refused: locked or ended, levels too low, no consent, or no representative with authority.
    """
    needed = NEEDED[Act.APPLY]
    if identity.state is not IdentityState.ACTIVE:
        raise _refused("not-active", f"an identity that is {identity.state}", "an active one", status=409)
    if identity.valid_until is None or identity.valid_until <= now:
        raise _refused("no-longer-valid", "a verification whose validity has ended", "a new verification")
    if not consents(identity, now):
        raise _refused("no-consent", "no living consent to issue a certificate", f"consent with purpose {ISSUANCE}")
    if not enough(Act.APPLY, identity.account_level, identity.auth_level):
        raise _refused(
            "level-too-low",
            f"account level {identity.account_level}, authentication level {identity.auth_level}",
            f"at least {needed.account_level} and {needed.auth_level} ({needed.source})",
        )
    if identity.kind is SubjectKind.ORGANISATION:
        may_represent(identity, representative, now)


def may_represent(organisation: Identity, representative: Identity | None, now: datetime) -> None:
    """Whether this representative may act for the organisation now, as far as the authority says.

    Raises:
        Refused: not known, locked or ended, at level 1, or the authority has expired.
    """
    if (
        representative is None
        or representative.id != organisation.representative
        or representative.state is not IdentityState.ACTIVE
        or representative.valid_until is None
    ):
        raise _refused("representative-not-verified", "no active identity of the representative", "a verified one")
    if representative.account_level < 2:
        raise _refused("representative-level", "a representative at level 1", "level 2 (Decree 69/2024/ND-CP Art 12)")
    if organisation.authority_expires_at is not None and organisation.authority_expires_at <= now:
        raise _refused("authority-expired", "an authority to represent that has ended", "a living one")


def may_confirm(application: Application, identity: Identity, representative: Identity | None, now: datetime) -> None:
    """Whether the issued certificate may be confirmed now.

    Raises:
        Refused: the identity or its representative may not hold it, or the certificate's life is over.
    """
    if identity.state is not IdentityState.ACTIVE:
        raise _refused("not-active", f"an identity that is {identity.state}", "an active one", status=409)
    if identity.account_level < 2:
        raise _refused("level-too-low", "an account at level 1", "level 2")
    if application.not_after is None or application.not_after <= now:
        raise _refused("certificate-expired", "a certificate whose life is over", "a new application", status=409)
    if application.profile is CertificateProfile.ORGANISATION:
        may_represent(identity, representative, now)
        if application.representative != identity.representative:
            raise _refused("representative-changed", "a certificate asked for by the former one", "a new application")


def same_subject(one: Identity, other: Identity) -> bool:
    """Whether both would be named the same way in a certificate, by the same person acting."""
    return (one.identifier_commitment, one.tax_code, one.organisation_name, one.representative) == (
        other.identifier_commitment,
        other.tax_code,
        other.organisation_name,
        other.representative,
    )


def organisation_code(identity: Identity) -> TaxCode:
    """The organisation's tax code.

    Raises:
        Refused: invalid, or a personal number, which would name a person in addresses and certificates of firms.
    """
    code = tax_code(identity.tax_code or "")
    if code.kind is TaxCodeKind.INDIVIDUAL:
        raise _refused("tax-code-of-a-person", "an organisation under a personal number", "a code of 10 or 13 digits")
    return code


class RegistryEntry(BaseModel):
    """What the enterprise registry says; members this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tax_code: Annotated[str, Field(max_length=20)]
    name: Annotated[str, Field(max_length=300)]
    status: Literal["active", "suspended", "dissolved", "bankrupt"]
    representative: IdentityId


def check_registry(identity: Identity, entry: RegistryEntry) -> None:
    """The enterprise registry must confirm the firm and its representative.

    Raises:
        Refused: another firm, not active, or represented by somebody else.
    """
    if tax_code(entry.tax_code) != organisation_code(identity):
        raise _refused("registry-mismatch", "another tax code in the registry's answer", "the one asked for")
    if entry.status != "active":
        raise _refused("enterprise-not-active", f"an enterprise that is {entry.status}", "an active one")
    if entry.representative != identity.representative:
        raise _refused("representative-not-confirmed", "another representative in the registry", "the one who acts")


# --- certificates and what identities do to them


class CertificateState(StrEnum):
    """How a certificate stands."""

    GOOD = "good"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Certificate(BaseModel):
    """An issued certificate. It may sign while there is no hold on it and it is not revoked.

    `replace_by`: what it says of its holder was corrected; it is revoked then, unless a new one has come before.
    """

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
    replace_by: Moment | None = None
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
    """Take this hold, and only this, off the certificate; `representative` acts for it from now on."""

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
class Replace:
    """The certificate's content is no longer right: a new one must come."""

    certificate: Certificate


class Pending(StrEnum):
    """What becomes of applications under way."""

    STAY = "stay"
    FREEZE = "freeze"
    RESUME = "resume"
    RECHECK = "recheck"
    """What was issued on the old data is given up; what is still open reads the new data when its turn comes."""
    CANCEL = "cancel"


@dataclass(frozen=True)
class Effects:
    """What a fact about an identity does. `reapply`: a new application is opened where one served before."""

    certificates: tuple[Hold | Release | Revoke | Replace, ...] = ()
    pending: Pending = Pending.STAY
    reapply: bool = False


_CHANGED = "representative"
"""The hold on a seal whose representative has changed."""


def effects(fact: IdentityFact, certificates: Iterable[Certificate]) -> Effects:
    """What the fact does to certificates and applications: the propagation table.

    `certificates`: every certificate of the identity, and every one it represents. Holds are named after who caused
    them, so that the end of one ground never lifts another's hold. Grounds: Decree 69/2024/ND-CP (locks), Decree
    23/2025/ND-CP (suspension, revocation), RFC 5280 clause 5.3.1 (reasons).
    """
    living = [one for one in certificates if one.revoked is None]
    own = [one for one in living if one.identity == fact.identity]
    represented = [one for one in living if one.identity != fact.identity and one.representative == fact.identity]
    touched = own + represented
    lock = f"lock/{fact.identity}"
    match fact:
        case IdentityLocked():
            return Effects(tuple(Hold(one, lock, "identity-locked") for one in touched), Pending.FREEZE)
        case IdentityUnlocked():
            held = [one for one in touched if lock in one.holds]
            return Effects(tuple(Release(one, lock, "identity-unlocked") for one in held), Pending.RESUME)
        case IdentityEnded():
            seals = tuple(Hold(one, f"ended/{fact.identity}", "representative-ended") for one in represented)
            ends = tuple(Revoke(one, "cessation-of-operation") for one in own)
            return Effects(ends + seals, Pending.CANCEL)
        case OrganisationDissolved():
            return Effects(tuple(Revoke(one, "cessation-of-operation") for one in own), Pending.CANCEL)
        case RepresentativeChanged():
            changed = [one for one in own if one.representative != fact.representative]
            return Effects(tuple(Hold(one, _CHANGED, "representative-changed") for one in changed), Pending.RECHECK)
        case IdentityUpdated() | IdentityVerified() | OrganisationVerified():
            return _levelled(fact, own, touched)
        case ConsentWithdrawn():
            return Effects(pending=Pending.CANCEL)
    return Effects()


def _levelled(
    fact: IdentityUpdated | IdentityVerified | OrganisationVerified, own: list[Certificate], touched: list[Certificate]
) -> Effects:
    level = f"level/{fact.identity}"
    if fact.account_level < 2:
        return Effects(tuple(Hold(one, level, "level-below-2") for one in touched), Pending.FREEZE)
    releases = tuple(Release(one, level, "level-restored") for one in touched if level in one.holds)
    match fact:
        case IdentityUpdated():
            return Effects((*releases, *(Replace(one) for one in own)), Pending.RECHECK, reapply=bool(own))
        case OrganisationVerified(representative=now):
            # Holds for what befell a representative fall when one who may act is confirmed; see `handlers`.
            people = tuple(
                Release(one, name, "representative-confirmed", representative=now)
                for one in own
                for name in one.holds
                if name == _CHANGED or _about(name) not in (None, fact.identity)
            )
            changed = tuple(Hold(one, _CHANGED, "representative-changed") for one in own if one.representative != now)
            return Effects((*changed, *releases, *people), Pending.RESUME)
        case _:
            return Effects(releases, Pending.RESUME)


def _about(hold: str) -> str | None:
    """Whose ground a hold is."""
    return hold.partition("/")[2] or None


def held(certificate: Certificate, name: str) -> Certificate:
    """With this hold."""
    return certificate.model_copy(update={"holds": tuple(sorted({*certificate.holds, name}))})


def released(certificate: Certificate, name: str, representative: IdentityId | None = None) -> Certificate:
    """Without this hold."""
    update: dict[str, Any] = {"holds": tuple(hold for hold in certificate.holds if hold != name)}
    if representative is not None:
        update["representative"] = representative
    return certificate.model_copy(update=update)


def revoked(certificate: Certificate, reason: str) -> Certificate:
    """Ended for good; the first reason stands."""
    return certificate if certificate.revoked is not None else certificate.model_copy(update={"revoked": reason})


def _refused(code: str, found: str, expected: str, status: int = 422) -> Refused:
    return Refused(
        f"identity-{code}",
        found=found,
        expected=expected,
        remedy="correct it at the source and apply again; certificates are as they were",
        status=status,
    )
