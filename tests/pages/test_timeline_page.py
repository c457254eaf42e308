"""The timeline's page in a real browser: a key opens it, contracts appear while it is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from services.runtime.access import ApiKey, Keyring, digest_of, new_key
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running
from services.timeline import wiring
from tests.support.browser import barriers, page_of, shot
from tests.support.timeline_events import life


@dataclass
class Watched:
    """A running timeline."""

    platform: Platform
    url: str
    key: str

    async def hear(self, *lives: list) -> None:
        """These contracts happen."""
        for events in lives:
            async with self.platform.database.write() as tx:
                await self.platform.outbox.say(tx, "contracts", [event.fact for event in events])


@pytest.fixture
async def timeline(tmp_path: Path) -> AsyncIterator[Watched]:
    platform = Platform(Database(f"sqlite+aiosqlite:///{tmp_path / 't.db'}"), Blobs.in_memory(), Outbound())
    key = new_key()
    keyring = Keyring([ApiKey(name="reader", sha256=digest_of(key), scopes=("timeline:read",))])
    async with running(platform, [wiring.build(platform)], keyring=keyring) as url:
        yield Watched(platform, url, key)


async def opened(page: Page, timeline: Watched, key: str) -> None:
    """As a person does it: by keyboard alone."""
    await page.goto(f"{timeline.url}/timeline")
    await page.keyboard.press("Tab")
    await page.keyboard.type(key)
    await page.keyboard.press("Enter")


async def test_contracts_appear_while_the_page_is_looked_at(timeline: Watched) -> None:
    async with page_of() as page:
        await opened(page, timeline, timeline.key)
        await expect(page.locator("#empty")).to_be_visible()
        await expect(page.locator("#entry")).to_be_hidden()
        assert await barriers(page) == []
        await shot(page, "timeline-empty")
        done, over = life(), life(completed=False)
        await timeline.hear(done, over)
        rows = page.locator("#rows tr")
        await expect(rows).to_have_count(2, timeout=15_000)
        await expect(page.locator("#empty")).to_be_hidden()
        await expect(page.locator("td.done")).to_contain_text("hoàn tất / completed")
        await expect(page.locator("td.over")).to_contain_text("quá hạn / expired")
        running_one = life()
        await timeline.hear(running_one[:3])
        await expect(rows).to_have_count(3, timeout=15_000)
        await expect(rows.first).to_contain_text(running_one[0].key)
        await expect(rows.first).to_contain_text("đang ký / being signed")
        await timeline.hear(running_one[3:])
        await expect(rows.first).to_contain_text("hoàn tất", timeout=15_000)
        await expect(rows).to_have_count(3)
        assert timeline.key not in page.url
        assert await barriers(page) == []
        await shot(page, "timeline")


async def test_a_wrong_key_is_said_and_can_be_corrected(timeline: Watched) -> None:
    async with page_of() as page:
        await opened(page, timeline, "antin_wrong")
        await expect(page.locator("#status")).to_contain_text("key")
        await expect(page.locator("#entry")).to_be_visible()
        await shot(page, "timeline-wrong-key")
        await page.locator("#key").fill(timeline.key)
        await page.keyboard.press("Enter")
        await expect(page.locator("#empty")).to_be_visible()


async def test_it_fits_a_phone_in_the_dark(timeline: Watched) -> None:
    await timeline.hear(life(), life(completed=False))
    async with page_of(width=360, height=740, scheme="dark") as page:
        await opened(page, timeline, timeline.key)
        await expect(page.locator("#rows tr")).to_have_count(2, timeout=15_000)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert await barriers(page) == []
        await shot(page, "timeline-phone-dark")
