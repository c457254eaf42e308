"""Who calls: access tokens, and how a client comes by one (`oauth2/token`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

import structlog

from events.errors import Refused
from services.runtime.clock import Clock
from services.signer.csc import shapes
from services.signer.csc.guesses import Guesses, Tries
from services.signer.csc.model import (
    SAD_LIFE,
    TOKEN_LIFE,
    AccessToken,
    Client,
    challenge_fits,
    new_secret,
    refused,
    secret_fits,
)
from services.signer.csc.ports import Books

log = structlog.get_logger()


def metadata(issuer: str) -> shapes.Metadata:
    """The OAuth 2.0 server's description of itself. `issuer`: base URL of the API's version."""
    return shapes.Metadata(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/oauth2/authorize",
        token_endpoint=f"{issuer}/oauth2/token",
        scopes_supported=["service", "credential"],
        response_types_supported=["code"],
        grant_types_supported=["authorization_code", "client_credentials"],
        token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post", "none"],
        code_challenge_methods_supported=["S256"],
        ui_locales_supported=["vi", "en"],
        authorization_response_iss_parameter_supported=True,
    )


@dataclass(frozen=True)
class Tokens:
    """Gives out access tokens and knows them again. `clients` are those of the settings."""

    clients: Mapping[str, Client]
    books: Books
    clock: Clock
    guesses: Guesses

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

    async def token(self, form: Mapping[str, str], basic: tuple[str, str] | None, address: str) -> shapes.TokenAnswer:
        """`oauth2/token`: client credentials for the service scope, authorization code for the credential scope.

        `address`: who calls, as `services.runtime.door.client` has it.

        Raises:
            Refused: unknown client, wrong secret, code or verifier; 429 after too many of them.
        """
        name, secret = basic or (form.get("client_id", ""), form.get("client_secret"))
        grant = form.get("grant_type")
        if grant not in ("client_credentials", "authorization_code"):
            raise refused(
                "oauth-unsupported-grant-type", "another grant_type", "client_credentials or authorization_code"
            )
        client = self.clients.get(name)
        if grant == "authorization_code" and client is not None and client.is_app:
            self.guesses.of_address(address).admit()
            return await self._redeem_code(client, form, self.guesses.at_code(name, address))
        tries = self.guesses.at_secret(name, address)
        tries.admit()
        # RFC 6749 clause 2.3.1 wants the secret form-encoded within Basic; many clients send it as it is.
        spellings = (secret,) if basic is None else (secret, unquote_plus(basic[1]))
        if not any(secret_fits(client, one) for one in spellings) or client is None:
            tries.wrong()
            log.warning("csc-wrong-secret", client=client.id if client is not None else None)
            raise _client_unknown()
        self.guesses.proven(name, address)
        if grant == "authorization_code":
            return await self._redeem_code(client, form, self.guesses.at_code(name, None))
        token = new_secret()
        async with self.books.write() as book:
            await book.sweep(self.clock.now())
            await book.grant(token, client.id, None, self.clock.now() + TOKEN_LIFE)
        return shapes.TokenAnswer(
            access_token=token,
            token_type="Bearer",  # noqa: S106
            expires_in=int(TOKEN_LIFE.total_seconds()),
        )

    async def _redeem_code(self, client: Client, form: Mapping[str, str], tries: Tries) -> shapes.TokenAnswer:
        """The access token of the credential scope is the SAD (CSC API v2.0 clause 8.4.4).

        After too many wrong codes a right one is still taken: it is 256 random bits that live for a minute and for one
        try, so nobody has guessed it, and who sends wrong ones must not keep the holders of right ones out.
        """
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
            tries.admit()
            tries.wrong()
            log.warning("csc-wrong-code", client=client.id)
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
