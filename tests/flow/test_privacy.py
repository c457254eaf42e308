"""Nothing personal leaves its places: every fact, dead letter, log line, problem and webhook body is scanned."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from cli.client import Failed
from domain.identifiers import personal_number
from events.errors import Refused
from lab.people import citizen, everything_private
from services.runtime.telemetry import log_to
from tests.support import pdfs
from tests.support.house import house
from tests.support.waiting import until

PEOPLE = [citizen(index) for index in range(8)]
MARKS = ("-----BEGIN", "PRIVATE KEY", "whsec_", "antin_", "eyJ")


async def test_no_name_number_key_or_token_in_any_event_log_error_or_webhook(tmp_path: Path) -> None:
    """Law 91/2025/QH15; product rule: no personal number, name, birth date, key, secret or token leaves its place."""
    problems: list[str] = []
    with (tmp_path / "log").open("w") as log:
        log_to(log)
        async with house(tmp_path) as at:
            one, other = await at.citizen(1), await at.citizen(2)
            seal = await at.firm(0, 3)
            await at.signed(pdfs.minimal(), [one, seal])
            made = await at.send(pdfs.minimal("Another"), [other, one])
            shown = made["revision"]
            reason = f"I, {PEOPLE[2].full_name}, number {PEOPLE[2].number}, decline."
            place = f"/v1/contracts/{made['id']}/slots/party-1"
            for body in ({"activation": "x" * 30, "shown": shown}, {"activation": reason, "shown": shown}):
                with pytest.raises(Failed) as refused:
                    await at.client.post(f"{place}/confirm", body)
                problems.append(str(refused.value))
            with pytest.raises(Failed) as unread:
                await at.client.post("/v1/contracts/nonsense/withdraw", {"who": reason})
            problems.append(str(unread.value))
            activation = at.world.step_up(other.approver, "decline", shown, f"{made['id']}/party-1")
            await at.client.post(f"{place}/decline", {"activation": activation, "reason": reason})
            await at.said("PartyDeclined")
            at.world.authority.lock(one.identity)
            await at.said("CertificateSuspended")
            at.world.authority.unlock(one.identity)
            await at.said("CertificateReleased")
            at.world.authority.update_citizen(other.identity, PEOPLE[7].full_name)
            await at.said("IdentityUpdated")
            at.world.authority.end(one.identity)
            await at.said("CertificateRevoked", identity=one.identity)
            at.world.verify_citizen(citizen(4), auth_level=1)
            await at.said("ApplicationRefused")

            async def told() -> bool:
                return len(at.receiver.messages) >= 20

            await until(told, what="webhooks")
            hooks = [received.body.decode() for received in at.receiver.received]
    log_to()
    facts = await asyncio.to_thread(_said, tmp_path / "data" / "antin.db")
    lines = (await asyncio.to_thread((tmp_path / "log").read_text)).splitlines()
    assert len(facts) > 40
    assert len(hooks) > 20
    assert lines
    private = everything_private(PEOPLE)
    for where, texts in {"fact": facts, "webhook": hooks, "log": lines, "problem": problems}.items():
        for text in texts:
            found = [secret for secret in private if secret in text]
            assert not found, (where, len(found))
            assert not [mark for mark in MARKS if mark in text], where
            for digits in re.findall(r"(?<![\w-])\d{12}(?![\w-])", text):
                with pytest.raises(Refused):
                    personal_number(digits, this_year=2026)


def test_the_scanner_would_find_something() -> None:
    """A scan that cannot fail proves nothing."""
    private = everything_private(PEOPLE)
    assert any(secret in f"hello {PEOPLE[0].full_name}" for secret in private)
    assert personal_number(PEOPLE[0].number, this_year=2026)


def _said(database: Path) -> list[str]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as books:
        return [bytes(row[0]).decode() for row in books.execute("SELECT body FROM runtime_outbox")]
