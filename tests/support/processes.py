"""What the tests ask the kernel about other processes."""

from __future__ import annotations

from pathlib import Path


def runs(pid: int | None) -> bool:
    """Whether it is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(*pids: int | None) -> bool:
    """Whether none of them runs."""
    return not any(map(runs, pids))


def children(pid: int | None) -> list[int]:
    """The processes that it forked."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
