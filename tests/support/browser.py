"""Real Chromium for tests of pages; where it is absent they skip aloud."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, async_playwright

SHOTS = Path("var/screens")
"""Where screenshots are kept for a look."""


@asynccontextmanager
async def page_of(
    *, width: int = 1280, height: int = 800, scheme: Literal["light", "dark"] = "light"
) -> AsyncIterator[Page]:
    """A page in a new window. A script error or a breach of the page's CSP fails the test when the block ends."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("NOT TESTED in a browser: found no chromium; sudo apt-get install chromium")
    faults: list[str] = []
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = await context.new_page()
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda told: faults.append(told.text) if "Content Security Policy" in told.text else None)
        yield page
        await browser.close()
    assert faults == []


async def shot(page: Page, name: str) -> None:
    """Keep what is seen."""
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
