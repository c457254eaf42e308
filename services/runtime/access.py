"""Who may call: bearer keys with scopes, compared by digest in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused


class ApiKey(BaseModel):
    """One key as the settings know it: never the key itself, only its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Caller:
    """Who calls, as the bearer key says."""

    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class Public:
    """Anybody may call, by decision; says why that is right."""

    why: str


@dataclass(frozen=True)
class Scope:
    """Only a caller whose key carries this scope."""

    name: str


Access = Public | Scope

ANYBODY = Caller("anybody", frozenset())


def new_key() -> str:
    """A fresh bearer key: 256 random bits."""
    return "antin_" + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What the settings keep of a key."""
    # Octets of a header that are no UTF-8 come as lone surrogates.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class Keyring:
    """Knows the keys by their digests."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def admit(self, authorization: str | None, access: Access) -> Caller:
        """The caller behind an Authorization header.

        Raises:
            Refused: 401 without a known key, 403 when the key lacks the scope.
        """
        if isinstance(access, Public):
            return ANYBODY
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(
                "no-credentials",
                found="a request without a bearer key",
                expected=f"Authorization: Bearer <key> with the scope {access.name}",
                remedy="send the key that the operator gave you",
                status=401,
            )
        presented = digest_of(token.strip())
        caller: Caller | None = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, presented):
                caller = Caller(key.name, frozenset(key.scopes))
        if caller is None:
            raise Refused(
                "unknown-key",
                found="a bearer key that is not known here",
                expected="a key of this installation",
                remedy="check the key; keys of other installations do not work",
                status=401,
            )
        if access.name not in caller.scopes:
            raise Refused(
                "scope-missing",
                found=f"a key without the scope {access.name}",
                expected=f"a key with the scope {access.name}",
                remedy="ask the operator for a key with this scope",
                status=403,
            )
        return caller
