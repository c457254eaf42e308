"""Files beside the verdict: each report in the forms that were asked for, one file a form, in folders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from events.errors import Refused
from services.verifier.model import FileReport

Form = Callable[[FileReport], Awaitable[bytes]]


@dataclass
class Drawer:
    """A folder that takes every report in one form. `suffix` ends the names, for example `.report.pdf`."""

    folder: Path
    suffix: str
    form: Form
    _taken: set[str] = field(default_factory=set)

    async def file(self, report: FileReport) -> Path:
        """Write one report; returns where. Files of one name from several folders are numbered.

        Raises:
            Refused: the folder cannot be written to, or the form cannot be made (no seal).
            Unavailable: the form cannot be made now.
        """
        body = await self.form(report)
        stem = Path(report.file).name.removesuffix(".pdf").removesuffix(".PDF") or "report"
        number, name = 1, f"{stem}{self.suffix}"
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}{self.suffix}"
        self._taken.add(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(body)
        except OSError as fault:
            raise Refused(
                "folder-unusable",
                found=f"{self.folder}, which cannot be written to ({fault.strerror})",
                expected="a folder for the reports",
                remedy="name another one",
            ) from fault
        return self.folder / name
