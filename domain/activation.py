"""Signature activation data: what the authority's step-up says, and the pure check of it against what is to be done.

An activation is bound to one purpose, one digest and one transaction, lives at most five minutes and is redeemed once
(EN 419241-1, SCAL2; Law 20/2023/QH15 Art 22: sole control at signing, approval bound to the content).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.assurance import NEEDED, Act, enough
from events.errors import Refused
from events.values import CredentialId, Digest, IdentityId, Uuid

AUDIENCE = "antin"
TYPE = "sad+jwt"
LONGEST_LIFE = timedelta(seconds=300)
SKEW = timedelta(seconds=30)
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999 as seconds since 1970: later times cannot be told."""


class Purpose(StrEnum):
    """What an activation may be used for."""

    SIGN = "sign"
    DECLINE = "decline"
    CONFIRM_CERTIFICATE = "confirm-certificate"
    SIGN_HASHES = "sign-hashes"
    """Several hashes, each to be signed as it is: `digest` is their Merkle root, `txn` is `hashes_txn`."""
    SIGN_DOCUMENTS = "sign-documents"
    """Several documents: `digest` is the Merkle root of their digests, `txn` is `hashes_txn`."""


def hashes_txn(credential: CredentialId, count: int) -> str:
    """The transaction of an approval of several at once: with which credential, and how many."""
    return f"{credential}/{count}"


class Activation(BaseModel):
    """The claims of an activation whose JWS was verified (the signature is the caller's to check first)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    iss: Annotated[str, Field(max_length=300)]
    aud: Annotated[str, Field(max_length=100)]
    sub: IdentityId
    act_for: IdentityId | None = None
    iat: Annotated[int, Field(ge=0, le=_LAST_SECOND)]
    exp: Annotated[int, Field(ge=0, le=_LAST_SECOND)]
    jti: Uuid
    account_level: Annotated[int, Field(ge=1, le=2)]
    auth_level: Annotated[int, Field(ge=1, le=4)]
    amr: tuple[str, ...] = ()
    purpose: Purpose
    digest: Digest
    txn: Annotated[str, Field(max_length=120)]

    @classmethod
    def read(cls, claims: dict[str, Any]) -> Activation:
        """The claims as an activation.

        Raises:
            Refused: `activation-malformed`.
        """
        try:
            return cls.model_validate(claims)
        except ValidationError as fault:
            where = ", ".join(".".join(str(part) for part in error["loc"]) for error in fault.errors()[:5])
            raise _refused("malformed", f"claims that do not fit ({where})", "the claims of an activation") from fault


def check_activation(
    activation: Activation,
    *,
    now: datetime,
    issuer: str,
    purpose: Purpose,
    digest: Digest,
    txn: str,
    subject: IdentityId,
    act_for: IdentityId | None = None,
    audience: str = AUDIENCE,
) -> None:
    """Compare an activation with what is to be done; the caller redeems its `jti` once.

    `subject` is who must approve; `act_for` is the organisation for which, if any.

    Raises:
        Refused: one code for each way it can be wrong.
    """
    issued = datetime.fromtimestamp(activation.iat, UTC)
    expires = datetime.fromtimestamp(activation.exp, UTC)
    if activation.iss != issuer or activation.aud != audience:
        raise _refused("not-for-us", "another issuer or audience", "ours")
    if not timedelta(0) < expires - issued <= LONGEST_LIFE:
        raise _refused(
            "too-long-lived", f"a life of {activation.exp - activation.iat} s", f"1 to {LONGEST_LIFE.seconds} s"
        )
    if issued > now + SKEW:
        raise _refused("not-yet-valid", "an activation from the future", "one issued by now")
    if expires <= now - SKEW:
        raise _refused("expired", f"one that ended {int((now - expires).total_seconds())} s ago", "a living one")
    if activation.purpose is not purpose:
        raise _refused("purpose-mismatch", f"the purpose {activation.purpose}", purpose.value)
    if activation.sub != subject or activation.act_for != act_for:
        raise _refused("not-yours", "the activation of somebody else", "one by the holder who must approve", status=403)
    if activation.txn != txn:
        raise _refused("transaction-mismatch", "an activation for another transaction", "one for this transaction")
    if activation.digest != digest:
        raise _refused("digest-mismatch", f"approval of {activation.digest.short}", f"approval of {digest.short}")
    check_levels(Act.SIGN if purpose is not Purpose.CONFIRM_CERTIFICATE else Act.APPLY, activation)


def check_levels(act: Act, activation: Activation) -> None:
    """The levels against what the act asks for (domain.assurance).

    Raises:
        Refused: `activation-level-too-low`.
    """
    needed = NEEDED[act]
    if not enough(act, activation.account_level, activation.auth_level):
        raise _refused(
            "level-too-low",
            f"account level {activation.account_level}, authentication level {activation.auth_level}",
            f"at least {needed.account_level} and {needed.auth_level} ({needed.source})",
            status=403,
        )


def _refused(what: str, found: str, expected: str, status: int = 422) -> Refused:
    return Refused(
        f"activation-{what}",
        found=found,
        expected=expected,
        remedy="ask the holder to approve again on the phone",
        status=status,
    )
