"""How a party stands: its e-identity and its certificates, as the facts about them have told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from events.fact import Moment, Value
from events.values import Code, CredentialId, Digest, IdentityId


class Holder(Value):
    """What the identity facts have told of one e-identity."""

    identity: IdentityId
    sequence: Annotated[int, Field(ge=0)] = 0
    account_level: Annotated[int, Field(ge=0, le=2)] = 0
    locks: tuple[Code, ...] = ()
    ended: Code | None = None
    representative: IdentityId | None = None


class BindingState(StrEnum):
    """How a certificate stands, as the binding facts have told."""

    BOUND = "bound"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Binding(Value):
    """A certificate bound to an e-identity."""

    credential: CredentialId
    identity: IdentityId
    certificate: Digest
    state: BindingState
    representative: IdentityId | None = None
    not_before: Moment
    not_after: Moment
    confirmed_at: Moment


class Standing(Value):
    """Whether a party can sign now, and if not, why and whether ever."""

    held: tuple[Code, ...] = ()
    ended: Code | None = None


LOCKED, LEVEL, SUSPENDED, REVOKED = (
    Code("identity-locked"),
    Code("account-level-too-low"),
    Code("certificate-suspended"),
    Code("certificate-revoked"),
)


def standing(holder: Holder | None, bindings: Iterable[Binding]) -> Standing:
    """How a party stands: its e-identity and its certificates together."""
    held: list[Code] = []
    states = {binding.state for binding in bindings}
    if holder is not None:
        if holder.ended is not None:
            return Standing(ended=holder.ended)
        held.extend(holder.locks)
        if holder.account_level == 1:
            held.append(LEVEL)
    if states and BindingState.BOUND not in states:
        if BindingState.SUSPENDED not in states:
            return Standing(ended=REVOKED)
        held.append(SUSPENDED)
    return Standing(held=tuple(held))


def usable(bindings: Iterable[Binding], now: datetime) -> Binding | None:
    """The certificate a party signs with: the one bound last among those that are good and within their validity."""
    good = [each for each in bindings if each.state is BindingState.BOUND and each.not_before <= now < each.not_after]
    return max(good, key=lambda each: (each.confirmed_at, each.credential), default=None)
