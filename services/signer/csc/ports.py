"""What the CSC API server needs besides the signer's own ports: what is remembered of who called for what."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events.values import CredentialId, IdentityId
from services.signer.csc.model import AccessToken, Attempt, Sad
from services.signer.model import Authorization
from services.signer.ports import Credential


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code as it was given out."""

    client: str
    redirect_uri: str
    challenge: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that is answered later."""

    id: str
    client: str
    kind: str
    request: str


class Book(Protocol):
    """What is remembered of tokens, approvals and answers, within one transaction. Secrets only by their digest."""

    async def grant(self, token: str, client: str, authorization: str | None, expires_at: datetime) -> None:
        """Remember a token."""
        ...

    async def token(self, token: str, now: datetime) -> AccessToken | None:
        """A living token."""
        ...

    async def note_code(self, code: str, found: Code, expires_at: datetime) -> None:
        """Remember an authorization code."""
        ...

    async def take_code(self, code: str, now: datetime) -> Code | None:
        """A living code, which ends here: it is for one use (RFC 6749 clause 4.1.2)."""
        ...

    async def open(self, authorization: Authorization, client: str, sad: str, sad_expires_at: datetime) -> None:
        """Redeem an activation: remember what it approved.

        Raises:
            Refused: the activation was redeemed before.
        """
        ...

    async def by_sad(self, sad: str, client: str, credential: CredentialId, now: datetime) -> Sad | None:
        """A client's SAD for a credential, held in a write; of an attempt that died, what `Attempt.again` says."""
        ...

    async def by_id(self, authorization: str) -> Authorization | None:
        """An approval, held in a write."""
        ...

    async def spend(self, authorization: Authorization, places: tuple[int, ...], attempt: Attempt | None) -> None:
        """These hashes are signed now, and the SAD is used; by an attempt, or later, by whoever answers."""
        ...

    async def hold_on(self, authorization: str, attempt: Attempt) -> None:
        """Keep an attempt alive until its new `until`, if it is still the one."""
        ...

    async def settle(self, authorization: str, attempt: Attempt) -> bool:
        """The attempt has come to its end, and what it signed is signed; false when it is not the one any more."""
        ...

    async def give_back(self, authorization: str, attempt: Attempt, places: tuple[int, ...]) -> None:
        """An attempt signed nothing after all: these hashes are free, and the SAD was not used."""
        ...

    async def renew(self, authorization: Authorization, sad: str, sad_expires_at: datetime) -> None:
        """Another SAD for the same approval; the former ends."""
        ...

    async def await_answer(self, waiting: Waiting, expires_at: datetime) -> None:
        """Remember a request to be answered later."""
        ...

    async def claim_waiting(self, owner: str, now: datetime, until: datetime) -> Waiting | None:
        """Take one request that nobody works on; it is the owner's until then."""
        ...

    async def hold(self, response: str, owner: str, until: datetime) -> None:
        """Keep a request, if it is still this owner's."""
        ...

    async def put_off(self, response: str, owner: str, until: datetime) -> None:
        """Have the request taken up again then, by whom it may be."""
        ...

    async def answered(self, response: str, owner: str, answer: str) -> bool:
        """Keep the answer, if the request is still this owner's; whether it was."""
        ...

    async def answer(self, response: str, client: str, now: datetime) -> tuple[bool, str | None]:
        """(whether there is such a request, its answer or none yet)."""
        ...

    async def credential(self, credential: CredentialId) -> Credential | None:
        """The credential as the bindings told."""
        ...

    async def credentials(self, holder: IdentityId, after: str, most: int) -> list[Credential]:
        """Credentials of a holder, by id."""
        ...

    async def sweep(self, now: datetime) -> None:
        """Forget what is over."""
        ...


class Books(Protocol):
    """Opens the book for one transaction."""

    def read(self) -> AbstractAsyncContextManager[Book]:
        """A consistent view; nothing can be changed through it."""
        ...

    def write(self) -> AbstractAsyncContextManager[Book]:
        """A write transaction; commits at the end of the block."""
        ...
