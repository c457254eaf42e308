"""HTTP in, for remote keys: link a provider's key to a credential, hear when a provider has an answer."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Annotated

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused
from events.values import CredentialId, KeyAlgorithm, Uuid
from services.runtime import certificates
from services.runtime.access import Public, Scope
from services.runtime.web import Call, Reply, Route
from services.signer.adapters.hub_keys import WEBHOOK_LIMIT, HubProvider
from services.signer.adapters.remote_keys import RemoteKeys
from services.signer.model import SigningAlgorithm


class RemoteLink(BaseModel):
    """A key at the provider. Who knows the holder by name and number finds it there; the signer does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remote: Annotated[str, Field(min_length=1, max_length=200, description="credentialID at the provider")]
    certificate: Annotated[str, Field(max_length=16_000, description="its certificate, PEM")]
    key_algorithm: KeyAlgorithm


class RemoteLinked(BaseModel):
    """The key that stands behind the credential from now on."""

    model_config = ConfigDict(frozen=True)

    credential: CredentialId
    key_algorithm: KeyAlgorithm
    public_key: Annotated[str, Field(description="SubjectPublicKeyInfo, DER, base64")]


class Heard(BaseModel):
    """The call was heard; what it says is looked at by ourselves."""

    model_config = ConfigDict(frozen=True)

    heard: bool = True


def remote_routes(keys: RemoteKeys) -> list[Route]:
    """The operations of every remote store."""

    async def link(call: Call) -> Reply:
        asked: RemoteLink = call.body
        try:
            credential = CredentialId(call.path["id"])
            key = certificates.key_of(certificates.from_pem(asked.certificate.encode()))
        except ValueError as fault:
            raise Refused(
                "remote-link-unreadable",
                found="a credential id or a certificate that cannot be read",
                expected="a UUID and one certificate in PEM",
                remedy="send what the provider gave out",
                status=400,
            ) from fault
        public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        linked = await keys.link(credential, asked.remote, SigningAlgorithm.of(asked.key_algorithm), public)
        return Reply(
            RemoteLinked(
                credential=credential,
                key_algorithm=asked.key_algorithm,
                public_key=base64.b64encode(linked).decode(),
            )
        )

    async def called_back(call: Call) -> Reply:
        with suppress(ValueError):
            await keys.told(id=Uuid(call.path["id"]))
        return Reply(Heard())

    return [
        Route(
            "PUT",
            "/v1/credentials/{id}/remote",
            link,
            "Put a provider's key behind a credential",
            "credentials",
            Scope("credentials:write"),
            RemoteLinked,
            body=RemoteLink,
            problems=("credential-exists", "remote-key-taken", "key-algorithm", "remote-link-unreadable"),
            internal=True,
        ),
        Route(
            "POST",
            "/v1/remote/csc/{id}",
            called_back,
            "A provider says that an operation has ended",
            "credentials",
            Public("a hint without content: the provider is asked how the operation stands"),
            Heard,
            internal=True,
        ),
    ]


def hub_route(keys: RemoteKeys, hub: HubProvider) -> Route:
    """The hub's webhook."""

    async def heard(call: Call) -> Reply:
        named = {name.lower(): value for name, value in call.headers.items()}
        told = hub.webhook(call.raw, named.get("x-webhook-signature", ""))
        if told is not None:
            await keys.told(id=told.id, handle=told.handle, answer=told.answer)
        return Reply(Heard())

    return Route(
        "POST",
        "/v1/remote/hub",
        heard,
        "The hub tells how a signing stands",
        "credentials",
        Public("signed by the hub with the secret that we share"),
        Heard,
        raw=("application/json",),
        limit=WEBHOOK_LIMIT,
        problems=("webhook-signature", "webhook-unreadable"),
        internal=True,
    )
