"""The API described by itself: OpenAPI 3.1 from the route table, a page to read it, health and readiness."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.runtime.access import Scope
from services.runtime.web import FORM, JSON, PROBLEM, Route

VERSION = "0.1.0"

_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null});'
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Antin API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><noscript>The description of this API is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<div id="api"></div><script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script></body></html>
"""
# Swagger UI sets style attributes; scripts stay this host's own.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457 problem details: what was found, what was expected, what to do.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "found": {"type": "string"},
        "expected": {"type": "string"},
        "remedy": {"type": "string"},
        "instance": {"type": "string", "format": "uri"},
    },
}


def _assets() -> Path:
    """Where the package swagger-ui-py keeps Swagger UI; only its files are used."""
    found = importlib.util.find_spec("swagger_ui")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("swagger-ui-py is in requirements/run.in and not installed: run make setup")
    return Path(found.submodule_search_locations[0]) / "static"


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    shown = [route for route in routes if not route.internal]
    models: dict[type[BaseModel], None] = {}
    for route in shown:
        for model in (route.body, route.answer, route.query):
            if isinstance(model, type) and issubclass(model, BaseModel):
                models[model] = None
    pairs: list[tuple[type[BaseModel], Any]] = [(model, mode) for model in models for mode in ("validation",)]
    _, definitions = models_json_schema(pairs, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(shown, key=lambda r: (r.path, r.method)):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Antin",
            "version": VERSION,
            "summary": "Verified e-identities to certificates, contracts to PAdES-signed PDFs, every step an event.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM_SCHEMA, **definitions.get("$defs", {})},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", route.path)
    ]
    if route.query is not None:
        schema = route.query.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, member in schema.get("properties", {}).items():
            parameters.append(
                {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": member}
            )
    if route.writes:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "The same key with the same request gets the same answer and changes nothing more.",
            }
        )
    found: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {
            str(route.status): {"description": "Done", "content": _content(route.answer)},
            "default": {
                "description": "Refused or unavailable" + (": " + ", ".join(route.problems) if route.problems else ""),
                "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if route.description:
        found["description"] = route.description
    if parameters:
        found["parameters"] = parameters
    if isinstance(route.access, Scope):
        found["security"] = [{"key": []}]
        found["description"] = (found.get("description", "") + f" Needs the scope `{route.access.name}`.").strip()
    else:
        found["security"] = []
        found["description"] = (found.get("description", "") + f" Public: {route.access.why}.").strip()
    body = _body(route)
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found


def _operation_id(route: Route) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", route.path.lower().removeprefix("/v1")).strip("-")
    return f"{route.method.lower()}-{words}"


def _content(answer: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(answer, str):
        if answer == JSON:
            return {JSON: {"schema": {}}}
        return {answer: {"schema": {"type": "string", "contentMediaType": answer}}}
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}}


def _body(route: Route) -> dict[str, Any] | None:
    if route.parts:
        members: dict[str, Any] = {
            name: {"type": "string", "contentMediaType": "application/octet-stream"} for name in route.parts
        }
        required = list(route.parts)
        if route.body is not None:
            members[route.body_part] = {"$ref": f"#/components/schemas/{route.body.__name__}"}
            required.append(route.body_part)
        schema = {"type": "object", "required": required, "properties": members, "additionalProperties": False}
        return {**{media: {"schema": {}} for media in route.raw}, FORM: {"schema": schema}}
    if route.body is not None:
        return {JSON: {"schema": {"$ref": f"#/components/schemas/{route.body.__name__}"}}}
    if route.raw:
        return {media: {"schema": {}} for media in route.raw}
    return None


def documents(app: web.Application, routes: Sequence[Route], loops: Sequence[asyncio.Task[None]]) -> None:
    """Add /openapi.json, /docs, /health/live and /health/ready."""
    spec = web.json_response(describe(routes)).body
    etag = hashlib.sha256(spec if isinstance(spec, bytes) else b"").hexdigest()[:16]

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=spec, content_type=JSON, headers={"ETag": f'"{etag}"'})

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _CSP})

    async def start(_: web.Request) -> web.Response:
        return web.Response(text=_START, content_type="text/javascript")

    async def asset(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in _ASSETS:
            raise web.HTTPNotFound
        text = await asyncio.to_thread((_assets() / name).read_bytes)
        return web.Response(body=text, content_type=_ASSETS[name], headers={"Cache-Control": "max-age=3600"})

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def ready(_: web.Request) -> web.Response:
        ended = sorted(loop.get_name() for loop in loops if loop.done())
        return web.json_response(
            {"status": "ready" if not ended else "failing", "ended": ended}, status=503 if ended else 200
        )

    async def root(_: web.Request) -> web.Response:
        raise web.HTTPFound("/docs")

    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/docs", page)
    app.router.add_get("/docs/start.js", start)
    app.router.add_get("/docs/{name}", asset)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/", root)
