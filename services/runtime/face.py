"""The files of `web/`: templates, and the style sheets, scripts and fonts that every page shares; and their serving."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

FILES = Path(__file__).resolve().parents[2] / "web"
_STATIC = FILES / "static"
_MEDIA = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2"}
_TOKENS = "/* tokens */"


def environment() -> Environment:
    """A template environment over `web/`, which escapes everything and knows no undefined name."""
    return Environment(
        loader=FileSystemLoader(FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def enclosed(*names: str) -> str:
    """Style sheets (paths below `web/`) as one text that needs no other file: without the fonts."""
    texts = [(FILES / name).read_text(encoding="utf-8") for name in names]
    return "".join(text.partition(_TOKENS)[2] if _TOKENS in text else text for text in texts)


@cache
def _served() -> dict[str, Path]:
    """Every file of `web/static` that is served, by the name it is asked for."""
    return {path.name: path for path in sorted(_STATIC.rglob("*")) if path.suffix in _MEDIA}


@cache
def _read(name: str) -> tuple[bytes, str]:
    body = _served()[name].read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def mount(app: web.Application) -> None:
    """Add /static/{name}."""

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _served():
            raise web.HTTPNotFound
        body, tag = await asyncio.to_thread(_read, name)
        headers = {"ETag": tag, "Cache-Control": "max-age=3600"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=_MEDIA[_served()[name].suffix], charset=None, headers=headers)

    app.router.add_get("/static/{name}", answer)
