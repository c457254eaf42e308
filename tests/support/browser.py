"""Real Chromium for tests of pages; where it is absent they skip aloud."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import axe_playwright_python
import pytest
from playwright.async_api import Page, async_playwright

SHOTS = Path("var/pages")
"""Where screenshots are kept for a look."""


@asynccontextmanager
async def page_of(
    *, width: int = 1280, height: int = 800, scheme: Literal["light", "dark"] = "light", scripts: bool = True
) -> AsyncIterator[Page]:
    """A page in a new window, of a reader whose browser speaks English.

    A script error, a breach of the page's CSP or a request to another host fails the test when the block ends.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("NOT TESTED in a browser: found no chromium; sudo apt-get install chromium")
    faults: list[str] = []
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts
        )
        page = await context.new_page()
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda told: faults.append(told.text) if "Content Security Policy" in told.text else None)
        page.on("request", lambda asked: None if _ours(asked.url) else faults.append(f"asked {asked.url}"))
        yield page
        await browser.close()
    assert faults == []


def _ours(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", None) or url.startswith(("data:", "about:"))


async def barriers(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and its own best practices, one line each."""
    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    # As a script of the test's own world: the page's CSP rightly lets nothing else run.
    session = await page.context.new_cdp_session(page)
    frame = (await session.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
    world = await session.send("Page.createIsolatedWorld", {"frameId": frame})
    where = {"contextId": world["executionContextId"]}
    await session.send("Runtime.evaluate", {"expression": script.read_text(encoding="utf-8"), **where})
    told = await session.send(
        "Runtime.evaluate",
        {"expression": "axe.run().then(JSON.stringify)", "awaitPromise": True, "returnByValue": True, **where},
    )
    found = json.loads(told["result"]["value"])
    assert found["passes"], "axe-core looked at nothing"
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def shot(page: Page, name: str) -> None:
    """Keep what is seen."""
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
