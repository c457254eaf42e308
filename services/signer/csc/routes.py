"""HTTP in for the CSC API: its own bearer tokens, its own form of errors, the approval page; v1 paths beside v2."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ValidationError

from events.errors import AntinError, Refused
from services.runtime import door
from services.runtime.access import Public
from services.runtime.web import Call, Fault, Reply, Route
from services.signer.csc import shapes
from services.signer.csc.credentials import description
from services.signer.csc.handlers import Server
from services.signer.csc.model import AccessToken, digests_of, error_of, refused
from services.signer.csc.tokens import metadata

OWN_TOKENS = Public("authenticated by the API's own OAuth 2.0 tokens (RFC 6750), checked in the handler")
NEEDS_NOTHING = Public("the standard lets anybody ask what the service is")
TAG = "csc"
FORM = "application/x-www-form-urlencoded"
TEMPLATES = Path(__file__).parent / "templates"
DOCUMENTS = 48 * 1024 * 1024
"""Octets of a signDoc request."""
PAGE_CSP = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"

Operation = Callable[[Call], Awaitable[Any]]


def routes(server: Server, proxies: Sequence[door.Network] = ()) -> list[Route]:
    """Every operation under /csc/v2 and, for clients of the first version, under /csc/v1.

    `proxies`: networks of our own proxies; only what they say in X-Forwarded-For is believed.
    """
    return [*_routes(server, "v2", proxies, internal=False), *_routes(server, "v1", proxies, internal=True)]


def _routes(server: Server, version: str, proxies: Sequence[door.Network], *, internal: bool) -> list[Route]:
    base = f"/csc/{version}"
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )

    async def info(call: Call) -> Any:
        return description(f"{_origin(call)}{base}")

    async def about_tokens(call: Call) -> Any:
        return metadata(f"{_origin(call)}{base}")

    async def listed(call: Call) -> Any:
        await _caller(call)
        return await server.credentials.listed(call.body)

    async def described(call: Call) -> Any:
        await _caller(call)
        return await server.credentials.described(call.body)

    async def authorized(call: Call) -> Any:
        return await server.authorizations.authorize(await _caller(call), call.body)

    async def extended(call: Call) -> Any:
        return await server.authorizations.extend(await _caller(call), call.body)

    async def signed_hash(call: Call) -> Any:
        return await server.signatures.sign_hash(await _caller(call), call.body, _bearer(call))

    async def signed_doc(call: Call) -> Any:
        return await server.signatures.sign_doc(await _caller(call), call.body, _bearer(call))

    async def polled(call: Call) -> Any:
        answer = await server.answers.poll(await _caller(call), call.body)
        if answer is None:
            return Reply({}, 202, headers={"Retry-After": "1"})
        status = int(json.loads(answer).pop("status", 200))
        return Reply(answer.encode(), status)

    async def timestamped(call: Call) -> Any:
        await _caller(call)
        return await server.signatures.timestamp(call.body)

    async def token(call: Call) -> Any:
        address = door.client(call.peer, call.forwarded, proxies)
        answer = await server.tokens.token(_form(call), _basic(call), address)
        return Reply(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    async def _caller(call: Call) -> AccessToken:
        return await server.tokens.caller(call.headers.get("Authorization"))

    async def ask(call: Call) -> Reply:
        return await _page(call.query, None, 200)

    async def approve(call: Call) -> Reply:
        form = _form(call)
        activation = form.pop("activation", "").strip()
        declined = form.pop("decision", "approve") == "decline"
        try:
            asked = shapes.AuthorizeQuery.model_validate(form)
        except ValidationError as fault:
            raise refused(
                "oauth-invalid-request", "a form that is not the page's", "the page as it was sent"
            ) from fault
        client, issuer = server.authorizations.client_of(asked), f"{_origin(call)}{base}"
        if declined:
            return _back(asked, issuer, {"error": "access_denied"})
        try:
            code = await server.authorizations.by_page(client, asked, activation)
        except Refused as fault:
            return await _page(asked, fault, 422)
        return _back(asked, issuer, {"code": code})

    async def _page(asked: shapes.AuthorizeQuery, fault: Refused | None, status: int) -> Reply:
        client = server.authorizations.client_of(asked)
        known = await server.credentials.find(asked.credentialID)
        digests = digests_of(asked.hashes.split(","), asked.hashAlgorithmOID)
        lang = asked.lang or "vi"
        plain = asked.model_dump(exclude_none=True, exclude={"lang"}, mode="json")
        plain["documents"] = "true" if asked.documents else "false"
        other = "en" if lang == "vi" else "vi"
        text = pages.get_template("authorize.html").render(
            lang=lang,
            client=client.name,
            profile=known.profile.value,
            credential=str(known.credential),
            digests=digests,
            fields=plain,
            asked=asked,
            fault=fault,
            other=f"?{urlencode(plain | {'lang': other})}",
            action=f"{base}/oauth2/authorize",
            style=f"{base}/authorize.css",
        )
        # The answer to the form leads to the client's own address, which the browser counts as part of the form.
        target = asked.redirect_uri.split("?")[0]
        headers = {"Content-Security-Policy": f"{PAGE_CSP}; form-action 'self' {target}"}
        return Reply(text.encode(), status, "text/html; charset=utf-8", headers)

    async def style(call: Call) -> Reply:
        return Reply((TEMPLATES / "authorize.css").read_bytes(), media="text/css; charset=utf-8")

    async def logo(call: Call) -> Reply:
        return Reply((TEMPLATES / "logo.svg").read_bytes(), media="image/svg+xml")

    def post(
        path: str,
        operation: Operation,
        body: type[BaseModel] | None,
        answer: type[BaseModel],
        summary: str,
        **more: Any,
    ) -> Route:
        access = more.pop("access", OWN_TOKENS)
        return Route(
            "POST",
            f"{base}/{path}",
            _told(operation),
            summary,
            TAG,
            access,
            answer,
            body=body,
            internal=internal,
            show=_shown,
            description="CSC API v2.0. Errors are `error` and `error_description`.",
            **more,
        )

    return [
        post("info", info, shapes.InfoRequest, shapes.Description, "What this service is", access=NEEDS_NOTHING),
        post("oauth2/token", token, None, shapes.TokenAnswer, "An access token", raw=(FORM,)),
        post("credentials/list", listed, shapes.ListRequest, shapes.CredentialList, "Credentials of a holder"),
        post(
            "credentials/info",
            described,
            shapes.InfoOfCredential,
            shapes.CredentialDescription,
            "One credential, whole",
        ),
        post(
            "credentials/authorize", authorized, shapes.AuthorizeRequest, shapes.Activated, "Approve hashes; get a SAD"
        ),
        post(
            "credentials/extendTransaction",
            extended,
            shapes.ExtendRequest,
            shapes.Activated,
            "Another SAD for the rest of an approval",
        ),
        post("signatures/signHash", signed_hash, shapes.SignHashRequest, shapes.Signed, "Sign approved hashes"),
        post(
            "signatures/signDoc",
            signed_doc,
            shapes.SignDocRequest,
            shapes.Signed,
            "Sign approved PDFs (PAdES)",
            limit=DOCUMENTS,
        ),
        post("signatures/signPolling", polled, shapes.PollRequest, shapes.Signed, "The answer of an asynchronous call"),
        post("signatures/timestamp", timestamped, shapes.TimestampRequest, shapes.Timestamped, "A timestamp token"),
        Route(
            "GET",
            f"/.well-known/oauth-authorization-server{base}",
            _told(about_tokens),
            "What the OAuth 2.0 server can do",
            TAG,
            NEEDS_NOTHING,
            shapes.Metadata,
            internal=internal,
            show=_shown,
            description="RFC 8414. The issuer is the base URL of the API, as `oauth2` of `info`.",
        ),
        Route(
            "GET",
            f"{base}/oauth2/authorize",
            ask,
            "The page on which the holder approves",
            TAG,
            Public("the holder's browser comes here; nothing happens without an activation"),
            "text/html",
            query=shapes.AuthorizeQuery,
            internal=internal,
        ),
        Route(
            "POST",
            f"{base}/oauth2/authorize",
            approve,
            "The holder's decision",
            TAG,
            Public("the activation in the form is the proof"),
            "text/html",
            raw=(FORM,),
            internal=internal,
        ),
        Route(
            "GET",
            f"{base}/authorize.css",
            style,
            "The page's style",
            TAG,
            Public("a style sheet"),
            "text/css",
            internal=True,
        ),
        Route("GET", f"{base}/logo.svg", logo, "The logo", TAG, Public("a picture"), "image/svg+xml", internal=True),
    ]


def _told(operation: Operation) -> Callable[[Call], Awaitable[Reply]]:
    """Answer in the API's own form, faults too."""

    async def answer(call: Call) -> Reply:
        try:
            found = await operation(call)
        except AntinError as fault:
            status, error, told = error_of(fault)
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            if status in (429, 503):
                headers = {"Retry-After": str(ceil(getattr(fault, "retry_after", None) or 2))}
            return Reply(shapes.Fault(error=error, error_description=told), status, headers=headers)
        return found if isinstance(found, Reply) else Reply(found)

    return answer


def _shown(fault: Fault) -> Reply:
    """What was refused before the operation saw it, in the API's form, too."""
    error = "server_error" if fault.problem["status"] >= 500 else "invalid_request"
    return Reply(shapes.Fault(error=error, error_description=fault.problem["detail"]))


def _origin(call: Call) -> str:
    scheme = "https" if call.headers.get("X-Forwarded-Proto") == "https" else "http"
    return f"{scheme}://{call.headers.get('Host', 'localhost')}"


def _bearer(call: Call) -> str:
    return call.headers.get("Authorization", "").partition(" ")[2].strip()


def _basic(call: Call) -> tuple[str, str] | None:
    scheme, _, value = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    return name, secret


def _form(call: Call) -> dict[str, str]:
    try:
        pairs = parse_qsl(call.raw.decode(), keep_blank_values=True, max_num_fields=30, strict_parsing=bool(call.raw))
    except ValueError as fault:
        raise refused("oauth-invalid-request", "a form that cannot be read", FORM) from fault
    if len(dict(pairs)) != len(pairs):
        raise refused("oauth-invalid-request", "a parameter given twice", "each once (RFC 6749 clause 3.1)")
    return dict(pairs)


def _back(asked: shapes.AuthorizeQuery, issuer: str, answer: dict[str, str]) -> Reply:
    """Lead the holder back to the client, which sees by `iss` whose answer it is (RFC 9207 clause 2)."""
    answer["iss"] = issuer
    if asked.state is not None:
        answer["state"] = asked.state
    joint = "&" if "?" in asked.redirect_uri else "?"
    return Reply(
        b"", 302, "text/html; charset=utf-8", headers={"Location": f"{asked.redirect_uri}{joint}{urlencode(answer)}"}
    )
