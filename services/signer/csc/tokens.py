"""Who calls: access tokens, and how a client comes by one (`oauth2/token`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from events.errors import Refused
from services.runtime.clock import Clock
from services.signer.csc import shapes
from services.signer.csc.model import SAD_LIFE, TOKEN_LIFE, AccessToken, Client, challenge_fits, new_secret, refused
from services.signer.csc.ports import Books


@dataclass(frozen=True)
class Tokens:
    """Gives out access tokens and knows them again. `clients` are those of the settings."""

    clients: Mapping[str, Client]
    books: Books
    clock: Clock

    async def caller(self, authorization: str | None) -> AccessToken:
        """The token of a call.

        Raises:
            Refused: none, unknown or over.
        """
        scheme, _, token = (authorization or "").partition(" ")
        found = None
        if scheme.lower() == "bearer" and token.strip():
            async with self.books.read() as book:
                found = await book.token(token.strip(), self.clock.now())
        if found is None or found.client not in self.clients:
            raise Refused(
                "oauth-invalid-token",
                found="no living access token",
                expected="Authorization: Bearer with a token of oauth2/token",
                remedy="ask oauth2/token for one",
                status=401,
            )
        return found

    async def token(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> shapes.TokenAnswer:
        """`oauth2/token`: client credentials for the service scope, authorization code for the credential scope.

        Raises:
            Refused: unknown client, wrong secret, code or verifier.
        """
        name, secret = basic or (form.get("client_id", ""), form.get("client_secret"))
        client = self.clients.get(name)
        grant = form.get("grant_type")
        if grant == "client_credentials":
            if client is None or not client.knows(secret):
                raise _client_unknown()
            token = new_secret()
            async with self.books.write() as book:
                await book.sweep(self.clock.now())
                await book.grant(token, client.id, None, self.clock.now() + TOKEN_LIFE)
            return shapes.TokenAnswer(
                access_token=token,
                token_type="Bearer",  # noqa: S106
                expires_in=int(TOKEN_LIFE.total_seconds()),
            )
        if grant == "authorization_code":
            if client is None or (client.secret_sha256 is not None and not client.knows(secret)):
                raise _client_unknown()
            return await self._redeem_code(client, form)
        raise refused("oauth-unsupported-grant-type", "another grant_type", "client_credentials or authorization_code")

    async def _redeem_code(self, client: Client, form: Mapping[str, str]) -> shapes.TokenAnswer:
        """The access token of the credential scope is the SAD (CSC API v2.0 clause 8.4.4)."""
        now = self.clock.now()
        async with self.books.write() as book:
            code = await book.take_code(form.get("code", ""), now)
        fits = (
            code is not None
            and code.client == client.id
            and code.redirect_uri == form.get("redirect_uri")
            and challenge_fits(code.challenge, form.get("code_verifier", ""))
        )
        if code is None or not fits:
            raise refused(
                "oauth-invalid-grant",
                "a code that is unknown, over or used, or another redirect_uri or code_verifier",
                "the code as it was given, once",
                remedy="let the holder approve again",
            )
        async with self.books.write() as book:
            authorization = await book.by_id(code.authorization)
            if authorization is None:
                raise refused("oauth-invalid-grant", "an approval that is over", "a fresh one")
            token, ends = new_secret(), min(now + SAD_LIFE, authorization.expires_at)
            await book.renew(authorization, token, ends)
            await book.grant(token, client.id, authorization.id, ends)
        return shapes.TokenAnswer(
            access_token=token,
            token_type="SAD",  # noqa: S106
            expires_in=int((ends - now).total_seconds()),
            credential=str(authorization.credential),
        )


def _client_unknown() -> Refused:
    return Refused(
        "oauth-invalid-client",
        found="an unknown client or a wrong secret",
        expected="a client of the settings (ANTIN_SIGNER__CSC_CLIENTS)",
        remedy="check client_id and client_secret",
        status=401,
    )
