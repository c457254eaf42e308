"""HTTP in, for the registration side: make a key and its proof of possession, see how a credential stands."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused
from events.values import CredentialId, Digest, KeyAlgorithm
from services.runtime.access import Scope
from services.runtime.web import Call, Reply, Route
from services.signer.model import SigningAlgorithm
from services.signer.ports import Credential, CredentialState, KeyStore

Find = Callable[[CredentialId], Awaitable[Credential | None]]


class CredentialRequest(BaseModel):
    """Ask for a key under an id of the caller's choosing; the challenge is the application's nonce."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    credential: CredentialId
    key_algorithm: KeyAlgorithm
    challenge: Annotated[str, Field(min_length=1, max_length=255)]


class CredentialMade(BaseModel):
    """The public half, and a PKCS#10 request that proves possession of the private one."""

    model_config = ConfigDict(frozen=True)

    credential: CredentialId
    key_algorithm: KeyAlgorithm
    public_key: Annotated[str, Field(description="SubjectPublicKeyInfo, DER, base64")]
    csr: Annotated[str, Field(description="PKCS#10, PEM; empty subject, challengePassword = challenge")]


class CredentialStanding(BaseModel):
    """How the signer knows a credential."""

    model_config = ConfigDict(frozen=True)

    credential: CredentialId
    key_algorithm: SigningAlgorithm
    state: CredentialState
    certificate: Digest | None = None
    not_after: datetime | None = None


@dataclass(frozen=True)
class Handlers:
    """The routes' handlers over the key store and the projection of the bindings."""

    keys: KeyStore
    find: Find

    async def make(self, call: Call) -> CredentialMade:
        """Before the transaction: making a key takes a second."""
        asked: CredentialRequest = call.body
        public = await self.keys.create(asked.credential, SigningAlgorithm.of(asked.key_algorithm))
        request = await self.keys.csr(asked.credential, asked.challenge)
        return CredentialMade(
            credential=asked.credential,
            key_algorithm=asked.key_algorithm,
            public_key=base64.b64encode(public).decode(),
            csr=request.decode("ascii"),
        )

    async def made(self, call: Call) -> Reply:
        """Answer with what was made."""
        return Reply(call.prepared, 201)

    async def standing(self, call: Call) -> Reply:
        """How the credential stands."""
        try:
            credential = CredentialId(call.path["id"])
        except ValueError as fault:
            raise _unknown() from fault
        known = await self.find(credential)
        if known is not None:
            return Reply(
                CredentialStanding(
                    credential=credential,
                    key_algorithm=known.algorithm,
                    state=known.state,
                    certificate=known.certificate,
                    not_after=known.not_after,
                )
            )
        algorithm = await self.keys.algorithm(credential)
        if algorithm is None:
            raise _unknown()
        return Reply(CredentialStanding(credential=credential, key_algorithm=algorithm, state=CredentialState.KEY_MADE))


def routes(keys: KeyStore, find: Find) -> list[Route]:
    """The signer's operations."""
    handlers = Handlers(keys, find)
    return [
        Route(
            "POST",
            "/v1/credentials",
            handlers.made,
            "Make a key and prove possession of it",
            "credentials",
            Scope("credentials:write"),
            CredentialMade,
            status=201,
            body=CredentialRequest,
            writes=True,
            prepare=handlers.make,
            problems=("credential-exists",),
            internal=True,
        ),
        Route(
            "GET",
            "/v1/credentials/{id}",
            handlers.standing,
            "How a credential stands",
            "credentials",
            Scope("credentials:write"),
            CredentialStanding,
            problems=("credential-unknown",),
            internal=True,
        ),
    ]


def _unknown() -> Refused:
    return Refused(
        "credential-unknown",
        found="no credential of this id",
        expected="one that was made here",
        remedy="create the credential first",
        status=404,
    )
