"""Judges files for whoever asks, the command and the service alike: each file in its own process, its anchors named."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path

from events.errors import Refused
from services.runtime.clock import Clock
from services.verifier.model import Brought, FileReport
from services.verifier.ports import StatusFetcher
from services.verifier.sandbox import Limits, Sandbox
from services.verifier.trust_answer import answered
from services.verifier.trust_store import Trusted


async def judge_files(
    files: Iterable[Path],
    trusted: Trusted,
    *,
    clock: Clock,
    limits: Limits | None = None,
    workers: int | None = None,
    fetcher: StatusFetcher | None = None,
    both: bool = True,
) -> AsyncGenerator[FileReport]:
    """Reports in the order of the files, a few judged at a time. Offline unless a fetcher is given.

    Without `both`, only engine one is asked.
    """
    count = workers or min(4, os.cpu_count() or 1)
    waiting: deque[asyncio.Task[FileReport]] = deque()
    async with Sandbox(limits, count) as sandbox:
        try:
            for path in files:
                judging = judge_one(sandbox, path, str(path), trusted, clock=clock, fetcher=fetcher, both=both)
                waiting.append(asyncio.create_task(judging))
                if len(waiting) >= count * 2:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def judge_one(
    sandbox: Sandbox,
    source: bytes | Path,
    name: str,
    trusted: Trusted,
    *,
    clock: Clock,
    fetcher: StatusFetcher | None = None,
    base_size: int | None = None,
    both: bool = True,
) -> FileReport:
    """Judge one file; when status data are missing and can be fetched, fetch and judge once more.

    The report says which of the trusted sets answers for each certificate.
    """
    anchors = trusted.anchors
    report = await sandbox.judge(source, file=name, anchors=anchors, now=clock.now(), base_size=base_size, both=both)
    needs = [need for one in report.signatures for need in one.needs] if fetcher is not None else []
    if fetcher is not None and needs:
        brought = await fetcher.fetch(needs)
        if brought != Brought():
            report = await sandbox.judge(
                source, file=name, anchors=anchors, now=clock.now(), brought=brought, base_size=base_size, both=both
            )
    return answered(report, trusted)


def gather(places: Iterable[Path]) -> list[Path]:
    """The files named, and every PDF below the folders named, each once.

    Raises:
        Refused: a place that does not exist, or nothing to judge.
    """
    found: dict[Path, None] = {}
    for place in places:
        try:
            kind = place.stat().st_mode
            if stat.S_ISDIR(kind):
                found.update(dict.fromkeys(sorted(_below(place))))
                continue
        except FileNotFoundError as fault:
            raise _unusable(f"no file or folder {place}") from fault
        except OSError as fault:
            # A folder that is passed over in silence would be one whose files seem to have passed.
            raise _unusable(f"{fault.filename or place}, which cannot be read ({fault.strerror})") from fault
        if not stat.S_ISREG(kind):
            raise _unusable(f"{place}, which is neither a file nor a folder")
        found[place] = None
    if not found:
        raise Refused(
            "nothing-to-judge",
            found="no PDF file",
            expected="PDF files, or folders that hold some",
            remedy="name the signed file",
            status=404,
        )
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    def fail(fault: OSError) -> None:
        raise fault

    for root, _, names in os.walk(folder, onerror=fail):
        for place in (Path(root) / name for name in names if name.lower().endswith(".pdf")):
            if place.is_file() or not place.exists():  # a pipe would never end; a dead link is said in its report
                yield place


def _unusable(found: str) -> Refused:
    return Refused(
        "no-such-file",
        found=found,
        expected="PDF files, or folders that hold some",
        remedy="check the path and its permissions",
        status=404,
    )
