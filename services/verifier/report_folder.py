"""A folder of reports for people, one self-contained HTML file for each file judged, with its pages drawn."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from events.errors import Refused
from services.runtime.negotiation import Language
from services.verifier import report as page
from services.verifier.model import FileReport
from services.verifier.pictures import Pictures, states
from services.verifier.sandbox import Limits, Sandbox


class ReportFolder:
    """Use as an async context manager.

    Raises:
        Refused: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, lang: Language | None = None, limits: Limits | None = None) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise _unwritable(folder, fault) from fault
        self.folder, self.kept = folder, 0
        self._lang: Language = lang or "vi"
        self._sandbox = Sandbox(limits, workers=1)
        self._stack = AsyncExitStack()
        self._taken: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._sandbox)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def keep(self, report: FileReport) -> Path:
        """Write the report of the file that it names, and say where.

        Raises:
            Refused: it cannot be written.
        """
        pictures: Pictures | None = None
        if report.size:
            pictures = await self._sandbox.draw(Path(report.file), states(report))
        place = self.folder / self._free(Path(report.file).stem or "report")
        # The page may be handed on: the folders of this machine are nobody's business.
        named = report.model_copy(update={"file": Path(report.file).name})
        text = page.html(named, pictures=pictures, language=self._lang)
        try:
            await asyncio.to_thread(place.write_text, text, encoding="utf-8")
        except OSError as fault:
            raise _unwritable(place, fault) from fault
        self.kept += 1
        return place

    def _free(self, stem: str) -> str:
        """A name that no other report of this run has: files of several folders may share one."""
        number, name = 1, f"{stem}.html"
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}.html"
        self._taken.add(name.casefold())
        return name


def _unwritable(place: Path, fault: OSError) -> Refused:
    return Refused(
        "reports-unwritable",
        found=f"{place}, which cannot be written ({fault.strerror or type(fault).__name__})",
        expected="a folder for the reports",
        remedy="name another folder with --html",
    )
