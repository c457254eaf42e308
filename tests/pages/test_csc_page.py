"""The page on which a holder approves, in a real browser: both languages, phone and desk, by keyboard alone."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from browser import barriers, page_of, shot
from signer_house import KEY, House, house
from signer_world import World
from waiting import until

from domain.activation import hashes_txn
from domain.merkle import Tree
from events.binding import CertificateBound
from events.values import Digest
from services.signer.csc.model import Client
from tools.real.child import free_port

DIGESTS = [Digest.of(text) for text in (b"one", b"two")]


@asynccontextmanager
async def asking(tmp_path: Path) -> AsyncIterator[tuple[House, CertificateBound, str, list[Any]]]:
    """A signer with an app that sends a holder to its page: (house, binding, the page's address, what came back)."""
    world = World()
    outside = await world.start()
    came: list[Any] = []

    async def back(request: web.Request) -> web.Response:
        came.append(dict(request.query))
        return web.Response(text="<!doctype html><html lang=vi><title>Xong</title><p>Xong", content_type="text/html")

    app = web.Application()
    app.router.add_get("/cb", back)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    client = Client(id="app", name="Ứng dụng kế toán", redirect_uris=(f"http://127.0.0.1:{port}/cb",))
    try:
        async with house(world, tmp_path, csc_clients=(client,)) as at:
            bound = await at.bind()

            async def known() -> bool:
                async with (
                    aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
                    session.get(f"{at.url}/v1/credentials/{bound.credential}") as answer,
                ):
                    return (await answer.json()).get("state") == "bound"

            await until(known, what="the binding", seconds=60)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
            asked = {
                "response_type": "code",
                "client_id": client.id,
                "redirect_uri": client.redirect_uris[0],
                "code_challenge": challenge,
                "state": "s1",
                "credentialID": str(bound.credential),
                "numSignatures": "2",
                "hashes": ",".join(base64.urlsafe_b64encode(one.raw).decode() for one in DIGESTS),
                "description": "Hai hóa đơn tháng 11",
            }
            yield at, bound, f"{at.url}/csc/v2/oauth2/authorize?{urlencode(asked)}", came
    finally:
        await runner.cleanup()
        await outside.cleanup()


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
async def test_a_holder_reads_it_anywhere(tmp_path, width, scheme):
    async with asking(tmp_path) as (_, _, address, _), page_of(width=width, scheme=scheme) as page:
        for lang in ("vi", "en"):
            await page.goto(f"{address}&lang={lang}")
            assert await page.get_attribute("html", "lang") == lang
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
            assert await barriers(page) == []
            await shot(page, f"csc-approve-{lang}-{width}-{scheme}")


async def test_a_holder_approves_by_keyboard_and_a_wrong_activation_is_told(tmp_path):
    async with asking(tmp_path) as (at, bound, address, came), page_of() as page:
        await page.goto(address)
        await page.focus("#activation")
        await page.keyboard.type("not an activation")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("[role=alert]")
        assert await barriers(page) == []
        await shot(page, "csc-approve-refused")
        root = Tree([one.raw for one in DIGESTS]).root
        claims = {"purpose": "sign-hashes", "txn": hashes_txn(bound.credential, len(DIGESTS))}
        activation = at.world.activation(bound.identity, root, None, None, claims)
        await page.fill("#activation", activation)
        await page.focus("#activation")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/cb?**")
        assert came[0]["state"] == "s1"
        assert came[0]["code"]
