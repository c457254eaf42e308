"""Drives a world that runs in another process, over its loopback control API."""

from __future__ import annotations

from typing import Any

import aiohttp

from lab.people import Citizen, Firm


class Lab:
    """The same calls as `lab.world.World`, over HTTP."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session

    async def state(self) -> dict[str, Any]:
        """Its URLs, anchors, token file and `host:port`."""
        async with self._session.get(f"{self._base}/control/state") as reply:
            reply.raise_for_status()
            return dict(await reply.json())

    async def call(self, act: str, /, **asked: Any) -> dict[str, Any]:
        """One control call by its name.

        Raises:
            aiohttp.ClientResponseError: the world refuses.
        """
        async with self._session.post(f"{self._base}/control/{act}", json=asked) as reply:
            reply.raise_for_status()
            return dict(await reply.json())

    async def connect(self, intake: str, recipient: dict[str, Any]) -> None:
        """Send events to this intake, personal data encrypted to this public JWK."""
        await self.call("connect", intake=intake, recipient=recipient)

    async def verify_citizen(self, person: Citizen, **levels: Any) -> str:
        """The citizen authenticates; returns the pseudonym."""
        found = await self.call("verify-citizen", number=person.number, full_name=person.full_name, **levels)
        return str(found["subject"])

    async def verify_organisation(self, firm: Firm, representative: str, **levels: Any) -> str:
        """The firm authenticates through its representative; returns the pseudonym."""
        found = await self.call(
            "verify-organisation", tax_code=firm.tax_code, name=firm.name, representative=representative, **levels
        )
        return str(found["subject"])

    async def step_up(
        self, subject: str, purpose: str, digest: str, txn: str, *, auth_level: int = 3, act_for: str | None = None
    ) -> str:
        """The holder approves on the phone; returns the activation."""
        asked = {"subject": subject, "purpose": purpose, "digest": digest, "txn": txn, "auth_level": auth_level}
        if act_for is not None:
            asked["act_for"] = act_for
        async with self._session.post(f"{self._base}/authority/step-up", json=asked) as reply:
            reply.raise_for_status()
            return str((await reply.json())["activation"])
