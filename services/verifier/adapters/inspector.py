"""The inspector of the running service: the sandbox, the anchors, and status data fetched where a file brings none."""

from __future__ import annotations

from collections.abc import Callable

from services.runtime.clock import Clock
from services.verifier.inspection import judge_one
from services.verifier.model import FileReport
from services.verifier.ports import StatusFetcher
from services.verifier.sandbox import Sandbox
from services.verifier.trust_store import Trusted


class SandboxedInspector:
    """An `Inspector`. `trust` gives what is trusted at the moment of each judgement."""

    def __init__(
        self,
        sandbox: Sandbox,
        trust: Callable[[], Trusted],
        clock: Clock,
        *,
        fetcher: StatusFetcher | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._trust = trust
        self._clock = clock
        self._fetcher = fetcher

    async def inspect(self, data: bytes, *, name: str, base_size: int | None) -> FileReport:
        """Judge one file."""
        return await judge_one(
            self._sandbox,
            data,
            name,
            self._trust(),
            clock=self._clock,
            fetcher=self._fetcher,
            base_size=base_size,
        )
