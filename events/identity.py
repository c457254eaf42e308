"""Facts of the identity family: what the e-identity authority signed and the intake accepted.

Said by the intake of `ca_bridge`, keyed by the pseudonym. Sources: Decree 69/2024/ND-CP (levels Art 20, locks Art 15,
29, 30). The person's number and name stay encrypted in the intake's own store.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from events.fact import Fact, Moment, Value
from events.values import Code, Digest, IdentityId, SubjectKind

AccountLevel = Annotated[int, Field(ge=1, le=2, description="Account level, Decree 69/2024/ND-CP")]
AuthLevel = Annotated[int, Field(ge=1, le=4, description="Authentication level, Decree 69/2024/ND-CP Art 20")]


class Consent(Value):
    """Consent of the holder to one purpose (Law 91/2025/QH15): what was agreed to, when, until when."""

    id: Annotated[str, Field(max_length=64)]
    purpose: Code
    text: Digest
    obtained_at: Moment
    expires_at: Moment


class IdentityFact(Fact):
    """A fact about one e-identity. `sequence` counts the authority's events of this identity, from 1."""

    family: ClassVar[str] = "identity"
    ordered_by: ClassVar[str] = "identity"

    identity: IdentityId
    sequence: Annotated[int, Field(ge=1)]
    effective_at: Moment
    evidence: Annotated[Digest, Field(description="The authority's signed event, kept as a blob")]


class IdentityVerified(IdentityFact):
    """The authority authenticated this citizen."""

    kind: SubjectKind = SubjectKind.CITIZEN
    account_level: AccountLevel
    auth_level: AuthLevel
    valid_until: Moment
    transaction: Annotated[str, Field(max_length=64)]
    consent: Consent | None = None


class IdentityUpdated(IdentityFact):
    """The holder's name, number or level was corrected; certificates that carry the old data must be replaced."""

    account_level: AccountLevel


class IdentityLocked(IdentityFact):
    """The e-identity account was locked."""

    reason: Code


class IdentityUnlocked(IdentityFact):
    """The ground of the lock has ended."""

    reason: Code


class IdentityEnded(IdentityFact):
    """The holder died or was declared missing."""

    reason: Literal["deceased", "missing"]


class OrganisationVerified(IdentityFact):
    """The authority authenticated this organisation, acting through its representative."""

    kind: SubjectKind = SubjectKind.ORGANISATION
    representative: IdentityId
    account_level: AccountLevel
    auth_level: AuthLevel
    valid_until: Moment
    authority_expires_at: Moment | None = None
    transaction: Annotated[str, Field(max_length=64)]
    consent: Consent | None = None


class RepresentativeChanged(IdentityFact):
    """The organisation is represented by somebody else now."""

    representative: IdentityId


class OrganisationDissolved(IdentityFact):
    """The organisation was dissolved or went bankrupt."""

    reason: Literal["dissolved", "bankrupt"]


class ConsentWithdrawn(IdentityFact):
    """The holder withdrew a consent: no more data are pulled; certificates stand unless their end is asked for."""

    consent: Annotated[str, Field(max_length=64)]
