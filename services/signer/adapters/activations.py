"""Activations by the e-identity authority (compact JWS, typ `sad+jwt`) as permits, each redeemed once."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.activation import LONGEST_LIFE, TYPE, Activation
from events.errors import Refused
from events.values import ContractId, Slot
from services.runtime.database import Database
from services.runtime.jwks import Jwks
from services.signer.adapters import store
from services.signer.model import Permit, Redemption


class SignedActivations:
    """`Permits` of one authority. `issuer` and `audience` are compared exactly."""

    def __init__(self, jwks: Jwks, database: Database, *, issuer: str, audience: str) -> None:
        self._jwks = jwks
        self._database = database
        self.issuer = issuer
        self.audience = audience

    async def verify(self, activation: bytes) -> Permit:
        """The permit in an activation.

        Raises:
            Refused: the signature, issuer, audience or a claim is wrong.
            Unavailable: the authority's keys cannot be had.
        """
        claims = await self.claims(activation)
        contract, _, slot = claims.txn.partition("/")
        try:
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
        except ValueError as fault:
            raise _refused("a transaction that names no contract and slot") from fault

    async def claims(self, activation: bytes) -> Activation:
        """The claims of an activation, whatever it is for.

        Raises:
            Refused: the signature, issuer, audience or a claim is wrong.
            Unavailable: the authority's keys cannot be had.
        """
        try:
            token = activation.decode("ascii").strip()
        except UnicodeDecodeError as fault:
            raise _refused("an activation that is no JWS") from fault
        claims = Activation.read(await self._jwks.claims(token, typ=TYPE))
        if claims.iss != self.issuer or claims.aud != self.audience:
            raise _refused("another issuer or audience")
        if not 0 < claims.exp - claims.iat <= LONGEST_LIFE.total_seconds():
            raise _refused(f"an activation that lives longer than {LONGEST_LIFE}")
        return claims

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
