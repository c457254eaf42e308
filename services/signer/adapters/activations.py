"""Activations by the e-identity authority (compact JWS, typ `sad+jwt`) as permits, each redeemed once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from events.errors import Refused
from events.values import ContractId, Digest, IdentityId, Slot
from services.runtime.database import Database
from services.runtime.jwks import Jwks
from services.signer.adapters import store
from services.signer.model import Permit, Purpose, Redemption

LONGEST_LIFE = 300
"""Seconds an activation may live."""


class _Claims(BaseModel):
    """What must stand in an activation; other claims are tolerated."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    iss: str
    aud: str | list[str]
    sub: IdentityId
    act_for: IdentityId | None = None
    iat: Annotated[int, Field(ge=0, le=1 << 40)]
    exp: Annotated[int, Field(ge=0, le=1 << 40)]
    jti: Annotated[str, Field(min_length=8, max_length=100)]
    account_level: Literal[1, 2]
    auth_level: Annotated[int, Field(ge=1, le=4)]
    purpose: Purpose
    digest: Digest
    txn: Annotated[str, Field(max_length=100)]


class SignedActivations:
    """`Permits` of one authority. `issuer` and `audience` are compared exactly."""

    def __init__(self, jwks: Jwks, database: Database, *, issuer: str, audience: str) -> None:
        self._jwks = jwks
        self._database = database
        self._issuer = issuer
        self._audience = audience

    async def verify(self, activation: bytes) -> Permit:
        """The permit in an activation.

        Raises:
            Refused: the signature, issuer, audience or a claim is wrong.
            Unavailable: the authority's keys cannot be had.
        """
        try:
            token = activation.decode("ascii").strip()
        except UnicodeDecodeError as fault:
            raise _refused("an activation that is no JWS") from fault
        return self._permit(await self._jwks.claims(token, typ="sad+jwt"))

    def _permit(self, found: dict[str, Any]) -> Permit:
        try:
            claims = _Claims.model_validate(found)
            contract, _, slot = claims.txn.partition("/")
            audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
            if claims.iss != self._issuer or self._audience not in audiences:
                raise _refused("another issuer or audience")
            if not 0 < claims.exp - claims.iat <= LONGEST_LIFE:
                raise _refused(f"an activation that lives longer than {LONGEST_LIFE} s")
            return Permit(
                jti=claims.jti,
                purpose=claims.purpose,
                subject=claims.sub,
                act_for=claims.act_for,
                contract=ContractId(contract),
                slot=Slot(slot),
                shown=claims.digest,
                issued_at=datetime.fromtimestamp(claims.iat, UTC),
                expires_at=datetime.fromtimestamp(claims.exp, UTC),
                account_level=claims.account_level,
                auth_level=claims.auth_level,
            )
        except ValidationError as fault:
            wrong = ", ".join(sorted({str(error["loc"][0]) for error in fault.errors(include_input=False)}))
            raise _refused(f"wrong or missing claims: {wrong}") from None
        except ValueError as fault:
            raise _refused("a transaction that names no contract and slot") from fault

    async def redeem(self, redemption: Redemption) -> Redemption:
        """Redeem a permit, durably, before the key moves.

        Raises:
            Refused: it was redeemed for something else.
        """
        return await store.redeem(self._database, redemption)


def _refused(found: str) -> Refused:
    return Refused(
        "activation-invalid",
        found=found,
        expected="an activation of the e-identity authority for this signature",
        remedy="ask the party to approve again",
        status=401,
    )
