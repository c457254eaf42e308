"""The national hub of remote signing services (the shape of VNeID's, partner interface 1.2) as a provider of keys."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from events.errors import Refused, Unavailable
from services.runtime.clock import Clock
from services.runtime.hub import Hub, NotLoggedIn, members, nonsense, text
from services.runtime.json_reading import object_of
from services.signer.adapters.remote_keys import LIFE, Answer, NotAsked, Operation, RemoteKey, State
from services.signer.model import SigningAlgorithm

_STATES = {0: State.DONE, 1: State.FAILED, 2: State.WAITING, 3: State.REFUSED}
"""Status of `signings/polling`: done, failed, in progress, refused by the citizen."""

WEBHOOK_LIMIT = 64_000


@dataclass(frozen=True)
class Told:
    """What a webhook says: about our request id or the hub's handle, with an answer."""

    id: str | None
    handle: str | None
    answer: Answer


class HubProvider:
    """`Provider` by the hub: the citizen approves each signature on the phone, within 300 s. `originator`: the code in
    whose name is signed.

    The hub's public sources do not say that a repeated X-Request-Id finds the same transaction; that is assumed here.
    """

    same_again = True

    def __init__(self, hub: Hub, originator: str, clock: Clock) -> None:
        self._hub = hub
        self._originator = originator
        self._clock = clock

    async def offer(self, algorithm: SigningAlgorithm, taken: Collection[str]) -> tuple[str, bytes]:
        """Never: the hub lists certificates by personal number, which the signer never sees.

        Raises:
            Refused: always.
        """
        raise Refused(
            "remote-key-unlinked",
            found="a credential behind which no key of the hub stands",
            expected="the hub's credentialID and certificate, told beforehand by who knows the holder",
            remedy="link it: PUT /v1/credentials/{id}/remote",
            status=409,
        )

    async def start(self, key: RemoteKey, operation: Operation) -> Answer:
        """`signings/hash` with the operation's id as request id.

        Raises:
            NotAsked: the hub has not taken it.
            Unavailable: perhaps taken, perhaps not.
        """
        asked = {
            "credentialID": key.remote,
            "originatorCode": self._originator,
            "documents": [
                {
                    "documentName": f"antin-{operation.digest.short}",
                    "digestValue": base64.b64encode(operation.digest.raw).decode(),
                }
            ],
        }
        try:
            reply = await self._hub.post("/api/v1/signings/hash", asked, request=operation.id)
        except NotLoggedIn as fault:
            raise _not_asked(fault) from fault
        if reply.status != 200:
            raise _not_asked(nonsense(f"HTTP status {reply.status}"))
        return self._waiting(members(reply.body))

    async def look(self, key: RemoteKey, operation: Operation) -> Answer:
        """`signings/polling`.

        Raises:
            Unavailable: no answer.
        """
        reply = await self._hub.post("/api/v1/signings/polling", {"handle": operation.handle})
        if reply.status != 200:
            raise nonsense(f"HTTP status {reply.status}")
        return _result(members(reply.body))

    def webhook(self, body: bytes, signature: str) -> Told | None:
        """What a webhook says, or none where it speaks of something else; members that are not known are passed over.

        Raises:
            Refused: not signed with our secret, or not readable.
        """
        expected = "sha256=" + self._hub.signed(body)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
            raise Refused(
                "webhook-signature",
                found="a webhook that is not signed with our secret",
                expected="X-Webhook-Signature: sha256= and HMAC-SHA256 of the body, hexadecimal",
                remedy="send it as the hub does",
                status=401,
            )
        try:
            said = object_of(body)
        except ValueError as fault:
            raise Refused(
                "webhook-unreadable",
                found="a webhook that is no JSON object",
                expected="id, type, attempt and data",
                remedy="send it as the hub does",
                status=400,
            ) from fault
        data = said.get("data")
        if not isinstance(data, dict):
            return None
        request, handle = text(data, "requestId"), text(data, "handle")
        if said.get("type") == "SIGNHASH_WEBHOOK_TRANSCODE" and handle:
            return Told(request, handle, self._waiting(data))
        if said.get("type") == "SIGNHASH_WEBHOOK_RESULT":
            return Told(request, handle, _result(data))
        return None

    def _waiting(self, found: Mapping[str, Any]) -> Answer:
        handle, seconds = text(found, "handle"), found.get("expiresIn")
        if not handle:
            raise nonsense("no handle")
        life = timedelta(seconds=seconds) if isinstance(seconds, int) and 0 < seconds <= 3600 else LIFE
        return Answer(State.WAITING, handle, expires_at=self._clock.now() + life)


def _result(found: Mapping[str, Any]) -> Answer:
    state = _STATES.get(found.get("status", -1)) if isinstance(found.get("status"), int) else None
    if state is None:
        raise nonsense("a status that is not 0 to 3")
    if state is not State.DONE:
        return Answer(state)
    match found.get("signatures"):
        case [{"signatureValue": str(value)}]:
            pass
        case _:
            raise nonsense("a result without one signature")
    try:
        return Answer(State.DONE, signature=base64.b64decode(value, validate=True))
    except ValueError as fault:
        raise nonsense("a signature that is not base64") from fault


def _not_asked(fault: Unavailable) -> NotAsked:
    return NotAsked(
        fault.code, found=fault.found, expected=fault.expected, remedy=fault.remedy, retry_after=fault.retry_after
    )
