"""A holder approves hashes: `credentials/authorize`, the page of `oauth2/authorize`, `extendTransaction`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.activation import Purpose
from events.values import Digest
from services.runtime.clock import Clock
from services.runtime.outbox import new_id
from services.signer.approval import approved
from services.signer.csc import shapes
from services.signer.csc.credentials import Credentials
from services.signer.csc.model import (
    CODE_LIFE,
    SAD_LIFE,
    TRANSACTION_LIFE,
    AccessToken,
    Client,
    credential_of,
    digests_of,
    new_secret,
    refused,
    sad_unknown,
)
from services.signer.csc.ports import Books, Code
from services.signer.model import Authorization
from services.signer.ports import Approvals


@dataclass(frozen=True)
class Authorizations:
    """Turns a holder's activation into signature activation data (SAD). `clients` are those of the settings."""

    clients: Mapping[str, Client]
    credentials: Credentials
    books: Books
    approvals: Approvals
    clock: Clock

    async def authorize(self, caller: AccessToken, asked: shapes.AuthorizeRequest) -> shapes.Activated:
        """`credentials/authorize`: the activation must approve exactly these hashes, in this order.

        Raises:
            Refused: no activation, or one that says anything else.
        """
        token = next((one.value for one in asked.auth_data if one.id == "activation"), asked.otp)
        if not token:
            raise refused(
                "oauth-invalid-otp",
                "no activation",
                "authData with the id `activation` (v1: OTP), the activation by the holder's e-identity authority",
            )
        digests = digests_of(asked.hashes, asked.hash_algorithm)
        if len(digests) != asked.count:
            raise refused(
                "invalid-count", f"numSignatures {asked.count} for {len(digests)} hashes", "one for each hash"
            )
        sad = new_secret()
        now = self.clock.now()
        authorization = await self._approved(asked.credential, digests, token, documents=asked.documents)
        ends = min(now + SAD_LIFE, authorization.expires_at)
        async with self.books.write() as book:
            await book.sweep(now)
            await book.open(authorization, caller.client, sad, ends)
        return shapes.Activated(sad=sad, expires_in=int((ends - now).total_seconds()))

    async def _approved(
        self, credential: str, digests: Sequence[Digest], token: str, *, documents: bool
    ) -> Authorization:
        known = await self.credentials.find(credential)
        purpose = Purpose.SIGN_DOCUMENTS if documents else Purpose.SIGN_HASHES
        activation = await approved(token, known, digests, purpose, approvals=self.approvals, clock=self.clock)
        now = self.clock.now()
        return Authorization(
            id=new_id(),
            jti=activation.jti,
            purpose=purpose,
            credential=known.credential,
            identity=known.identity,
            digests=tuple(digests),
            signed=frozenset(),
            issued_at=now,
            expires_at=now + TRANSACTION_LIFE,
        )

    async def by_page(self, client: Client, asked: shapes.AuthorizeQuery, token: str) -> str:
        """`oauth2/authorize`, approved: the code for the client. No SAD is given out before the code is redeemed.

        Raises:
            Refused: the activation says anything else.
        """
        digests = digests_of(asked.hashes.split(","), asked.hashAlgorithmOID)
        if len(digests) != asked.numSignatures:
            raise refused("invalid-count", f"numSignatures {asked.numSignatures}", f"{len(digests)}, one a hash")
        authorization = await self._approved(asked.credentialID, digests, token, documents=asked.documents)
        code, ends = new_secret(), self.clock.now() + CODE_LIFE
        async with self.books.write() as book:
            await book.open(authorization, client.id, new_secret(), ends)
            await book.note_code(
                code, Code(client.id, asked.redirect_uri, asked.code_challenge, authorization.id), ends
            )
        return code

    def client_of(self, asked: shapes.AuthorizeQuery) -> Client:
        """The client that sends a holder here; its redirect URI must be one of its own, exactly.

        Raises:
            Refused: another.
        """
        client = self.clients.get(asked.client_id)
        if client is None or asked.redirect_uri not in client.redirect_uris:
            raise refused(
                "oauth-invalid-request",
                "an unknown client or a redirect_uri that is not registered",
                "a client of the settings and one of its redirect_uris, exactly",
            )
        return client

    async def extend(self, caller: AccessToken, asked: shapes.ExtendRequest) -> shapes.Activated:
        """`credentials/extendTransaction`: a new SAD while hashes of the approval are left to sign.

        Raises:
            Refused: nothing left, or too late: for this SAD, or in all.
            Unavailable: a call with this SAD is at work.
        """
        now = self.clock.now()
        async with self.books.write() as book:
            found = await book.by_sad(asked.sad, caller.client, credential_of(asked.credential), now)
            if found is None:
                raise sad_unknown()
            authorization = found.extendable(now)
            left = [digest for place, digest in enumerate(authorization.digests) if place not in authorization.signed]
            wanted = digests_of(asked.hashes, asked.hash_algorithm)
            if not left or now >= authorization.expires_at or any(digest not in left for digest in wanted):
                raise refused(
                    "nothing-left",
                    "no approved hash that is left to sign, or an approval whose time is over",
                    "hashes of the same approval",
                    remedy="let the holder approve again",
                )
            sad, ends = new_secret(), min(now + SAD_LIFE, authorization.expires_at)
            await book.renew(authorization, sad, ends)
        return shapes.Activated(sad=sad, expires_in=int((ends - now).total_seconds()))
