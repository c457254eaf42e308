"""The webhook API: what is refused, what is shown once, what is never shown."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lab.receiver import Receiver
from services.notifier.model import WILDCARDS
from tests.support.facts import withdrawn
from tests.support.notifier_world import notifier

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "ftp://example.org/hook",
        "https://user:password@example.org/hook",
        "https://example.org/hook#fragment",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/hook",
        "https:///hook",
        "hook",
        "javascript:alert(1)",
        "https://example.org:99999/",
        "https://[::1/",
    ],
)
async def test_urls_that_could_only_lead_astray_are_refused_at_once(tmp_path: Path, url: str) -> None:
    async with notifier(tmp_path) as world:
        status, problem = await world.call("POST", "/v1/webhooks", {"url": url})
        assert (status, problem["title"]) == (422, "webhook url refused")
        assert await world.call("GET", "/v1/webhooks", expect=200) == {"webhooks": []}


async def test_a_name_that_leads_inside_is_refused_when_it_is_called(tmp_path: Path) -> None:
    """What is checked is the address that is connected to, not the name."""
    async with Receiver() as receiver, notifier(tmp_path, schedule=()) as world:
        port = receiver.address.rpartition(":")[2]
        found = await world.call("POST", "/v1/webhooks", {"url": f"https://localhost:{port}/hook"}, expect=201)
        await world.say(withdrawn(1))
        await world.until_told(1)
        shown = await world.call("GET", f"/v1/webhooks/{found['id']}", expect=200)
        [delivery] = shown["deliveries"]
        assert delivery["state"] == "abandoned"
        assert "last_status" not in delivery
        assert not receiver.received
        assert not receiver.refused


async def test_the_secret_is_shown_once_and_lies_nowhere_in_clear(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        asked = {"url": receiver.url}
        first = await world.call("POST", "/v1/webhooks", asked, key="k", expect=201)
        assert first["secret"].startswith("whsec_")
        assert first["types"] == list(WILDCARDS)
        again = await world.call("POST", "/v1/webhooks", asked, key="k", expect=201)
        assert again == {name: value for name, value in first.items() if name != "secret"}
        rotated = await world.call("POST", f"/v1/webhooks/{first['id']}/secret", {}, key="r", expect=200)
        listed = await world.call("GET", "/v1/webhooks", expect=200)
        one = await world.call("GET", f"/v1/webhooks/{first['id']}", expect=200)
        assert [found["id"] for found in listed["webhooks"]] == [first["id"]]
        for secret in (first["secret"], rotated["secret"]):
            assert secret not in str(listed) + str(one)
            assert not any(secret.removeprefix("whsec_").encode() in data for data in _octets(tmp_path))


def _octets(folder: Path) -> list[bytes]:
    found = sqlite3.connect(folder / "antin.db")
    found.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found.close()
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("GET", f"/v1/webhooks/{NOBODY}", None),
        ("GET", "/v1/webhooks/not-a-uuid", None),
        ("DELETE", f"/v1/webhooks/{NOBODY}", None),
        ("POST", f"/v1/webhooks/{NOBODY}/test", None),
        ("POST", f"/v1/webhooks/{NOBODY}/enable", None),
        ("POST", f"/v1/webhooks/{NOBODY}/secret", {}),
        ("GET", f"/v1/webhooks/{NOBODY}/deliveries/{NOBODY}", None),
        ("POST", f"/v1/webhooks/{NOBODY}/deliveries/{NOBODY}/retry", None),
        ("POST", f"/v1/webhooks/{NOBODY}/deliveries/x/retry", None),
    ],
)
async def test_what_does_not_exist_is_404(tmp_path: Path, method: str, path: str, document: object) -> None:
    async with notifier(tmp_path) as world:
        status, problem = await world.call(method, path, document)
        assert (status, problem["title"]) == (404, "unknown webhook")


async def test_types_that_nobody_may_hear_are_refused(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        for types in (["vn.antin.identity.*"], ["vn.antin.signing.DocumentSigned.v1"], ["*"], []):
            status, _ = await world.call("POST", "/v1/webhooks", {"url": receiver.url, "types": types})
            assert status == 422


async def test_there_is_an_end_to_subscriptions(tmp_path: Path) -> None:
    async with Receiver() as receiver, notifier(tmp_path, receiver, most=1) as world:
        await world.subscribe(receiver)
        status, problem = await world.call("POST", "/v1/webhooks", {"url": receiver.url})
        assert (status, problem["title"]) == (409, "too many webhooks")


async def test_a_deleted_subscription_gets_nothing_more_and_leaves_no_message(tmp_path: Path) -> None:
    async with Receiver() as kept, Receiver() as gone, notifier(tmp_path, kept, gone) as world:
        await world.subscribe(kept)
        gone.fail(1000)
        subscription = await world.subscribe(gone)
        await world.say(withdrawn(1))
        await gone.wait_for_requests(1)
        await world.call("DELETE", f"/v1/webhooks/{subscription}", expect=200)
        await world.call("GET", f"/v1/webhooks/{subscription}", expect=404)
        before = len(gone.received)
        await world.say(withdrawn(2))
        await kept.wait_for(2)
        assert len(gone.received) <= before + 1  # one attempt may have been on its way


async def test_sweeping_forgets_what_ended_long_ago_and_nothing_else(tmp_path: Path) -> None:
    from datetime import timedelta

    from services.notifier.adapters.store import SqlBook

    async with Receiver() as receiver, notifier(tmp_path, receiver) as world:
        subscription = await world.subscribe(receiver)
        await world.say(withdrawn(1))
        await world.until_told(1)
        now = world.platform.clock.now()
        async with world.platform.database.write() as tx:
            assert await SqlBook(tx).sweep(now - timedelta(days=30)) == 0
        async with world.platform.database.write() as tx:
            assert await SqlBook(tx).sweep(now + timedelta(days=1)) == 1
        shown = await world.call("GET", f"/v1/webhooks/{subscription}", expect=200)
        assert shown["deliveries"] == []
