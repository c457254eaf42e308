"""Checks what the e-identity authority signed, by the keys it publishes (RFC 7515, RFC 7517)."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from events.errors import Refused, Unavailable
from services.runtime.clock import Clock
from services.runtime.json_reading import object_of, value_of
from services.runtime.outbound import Outbound

_ALGORITHMS = ["ES256", "ES384", "PS256"]
_LONGEST = 16 * 1024
_REFRESH_SECONDS = 300.0
_RETRY_SECONDS = 5.0


class Jwks:
    """The keys of one issuer, fetched when needed and again when a key is not known yet."""

    def __init__(self, outbound: Outbound, url: str, clock: Clock) -> None:
        self._outbound = outbound
        self._url = url
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._lock = asyncio.Lock()

    async def claims(self, token: str, *, typ: str) -> dict[str, Any]:
        """The claims of a compact JWS whose signature holds.

        Raises:
            Refused: malformed, of another type, by an unknown key, or the signature does not verify.
            Unavailable: the keys cannot be fetched.
        """
        return _claims(await self._open(token, typ))

    async def detached(self, proof: str, payload: bytes, *, typ: str) -> None:
        """Check a detached compact JWS (RFC 7515 appendix F) over `payload`.

        Raises:
            Refused: malformed, of another type, by an unknown key, or the signature does not verify.
            Unavailable: the keys cannot be fetched.
        """
        head, middle, tail = [*proof.split("."), "", ""][:3]
        if proof.count(".") != 2 or middle:
            raise _refused("a proof that is not a detached compact JWS")
        body = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
        await self._open(f"{head}.{body}.{tail}", typ, longest=_LONGEST + 2 * len(payload))

    async def _open(self, token: str, typ: str, *, longest: int = _LONGEST) -> bytes:
        if len(token) > longest:
            raise _refused(f"a token of {len(token)} characters")
        kid = _kid(token, typ)
        return _payload(token, await self._current(kid))

    async def _current(self, kid: str) -> KeySet:
        async with self._lock:
            now = self._clock.now().timestamp()
            known = self._keys is not None and any(key.kid == kid for key in self._keys.keys)
            age = now - self._fetched
            if self._keys is None or age > _REFRESH_SECONDS or (not known and age > _RETRY_SECONDS):
                try:
                    self._keys = await self._fetch()
                    self._fetched = now
                except Unavailable:
                    # Known keys stay good for a while when the authority does not answer; an unknown key does not.
                    if not known or self._keys is None or age > 12 * _REFRESH_SECONDS:
                        raise
            return self._keys

    async def _fetch(self) -> KeySet:
        answer = await self._outbound.call("GET", self._url, limit=256 * 1024)
        try:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            return KeySet.import_key_set(answer.json())
        except (ValueError, KeyError, TypeError, JoseError) as fault:
            raise Unavailable(
                "authority-keys-unavailable",
                found="no usable key set at the authority's address",
                expected="a JWK Set (RFC 7517)",
                remedy="it is tried again; check the authority",
            ) from fault


class KeysAtHand:
    """A JWK Set (RFC 7517, JSON) that somebody holds, to check what its issuer signed offline.

    Raises:
        ValueError: no such set.
    """

    def __init__(self, document: bytes) -> None:
        try:
            self._keys = KeySet.import_key_set(value_of(document))
        except (ValueError, KeyError, TypeError, AttributeError, JoseError) as fault:
            raise ValueError("found no JWK Set; expected the authority's published keys (RFC 7517), as JSON") from fault

    def claims(self, token: str, *, typ: str) -> dict[str, Any]:
        """The claims of a compact JWS whose signature holds.

        Raises:
            Refused: malformed, of another type, by an unknown key, or the signature does not verify.
        """
        if len(token) > _LONGEST:
            raise _refused(f"a token of {len(token)} characters")
        _kid(token, typ)
        return _claims(_payload(token, self._keys))


def _payload(token: str, keys: KeySet) -> bytes:
    try:
        return jws.deserialize_compact(token, keys, algorithms=_ALGORITHMS).payload
    except (JoseError, ValueError, TypeError) as fault:
        raise _refused(f"a signature that does not verify ({type(fault).__name__})") from fault


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        return object_of(payload)
    except ValueError as fault:
        raise _refused(f"claims that are {fault}") from fault


def _kid(token: str, typ: str) -> str:
    try:
        head = token.split(".", 1)[0]
        header = value_of(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        kid, found = header["kid"], header.get("typ")
    except (ValueError, KeyError, TypeError) as fault:
        raise _refused("no readable JWS header with a kid") from fault
    if found != typ or not isinstance(kid, str):
        raise _refused("a token of another type")
    return kid


def _refused(found: str) -> Refused:
    return Refused(
        "signature-of-authority-invalid",
        found=found,
        expected="a JWS by a published key of the e-identity authority",
        remedy="ask the authority for it again; unsigned or altered statements are never used",
        status=401,
    )
