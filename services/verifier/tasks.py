"""What a sandboxed process can be asked to do with one file: each task by its name."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.verifier.model import Brought, FileReport, Heard, Integrity

FEW = 50
"""Anchors that every engine reads for each file."""
Task = Callable[[bytes, Mapping[str, Any]], Iterator[bytes]]
"""The file and the request (JSON) in, parts of the answer out. A part that was yielded stays when the task is killed
later, so what must not be lost is yielded first."""


def warm() -> None:
    """Import and use what the tasks need, so that a process forked for one file need not: half its time otherwise.

    The file judged here is one of our own, signed at B-LTA by keys that were thrown away; its answer is not used.
    """
    import lxml.etree  # type: ignore[import-untyped]  # noqa: F401

    from services.verifier.adapters import endesive_opinion, pdfium, pyhanko_opinion  # noqa: F401
    from services.verifier.engine import examine

    sample = Path(__file__).with_name("warm.pdf")
    examine(sample.read_bytes(), file=sample.name, anchors=[], now=datetime.fromtimestamp(0, UTC))


def judge(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """Engine one's report on a file (`model.FileReport` as JSON), then what each of `others` says (`model.Heard`).

    The others have the time and memory that engine one left, and are not asked about a file that it cannot read.
    """
    from services.verifier.engine import examine

    extra = Brought(**{key: tuple(_decoded(found)) for key, found in request["extra"].items()})
    anchors, now = _decoded(request["anchors"]), datetime.fromisoformat(request["now"])
    report = examine(data, file=request["file"], anchors=anchors, now=now, extra=extra, base_size=request["base_size"])
    yield report.model_dump_json().encode()
    if report.integrity is not Integrity.UNREADABLE:
        few = _that_matter(anchors, report)
        for name in request["others"]:
            yield _heard(name, data, few, now, extra).model_dump_json().encode()


def _that_matter(anchors: list[bytes], report: FileReport) -> list[bytes]:
    """All anchors where they are few, else those that engine one reached.

    Reading a thousand takes pyHanko seconds. With fewer anchors another engine can only be stricter, and where engine
    one reaches none there is nothing to release.
    """
    if len(anchors) <= FEW:
        return anchors
    stamps = [*report.timestamps, *(stamp for one in report.signatures for stamp in one.timestamps)]
    reached = {*(one.anchor for one in report.signatures), *(one.anchor for one in stamps)}
    return [one for one in anchors if hashlib.sha256(one).hexdigest() in reached]


def _heard(name: str, data: bytes, anchors: list[bytes], now: datetime, extra: Brought) -> Heard:
    from services.verifier.adapters import endesive_opinion, pyhanko_opinion

    if name == endesive_opinion.ENGINE:
        return Heard(engine=name, version=endesive_opinion.VERSION, opinions=endesive_opinion.opinions(data))
    if name == pyhanko_opinion.ENGINE:
        said = asyncio.run(pyhanko_opinion.opinions(data, anchors=anchors, now=now, extra=extra))
        return Heard(engine=name, version=pyhanko_opinion.VERSION, opinions=said)
    raise ValueError(name)


def _decoded(found: Sequence[str]) -> list[bytes]:
    return [base64.b64decode(one) for one in found]


def draw(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """The pages of a file (`pictures.Pictures` as JSON)."""
    from services.verifier.adapters.pdfium import draw

    yield draw(data, request["ends"]).model_dump_json().encode()


TASKS: Mapping[str, Task] = {"judge": judge, "draw": draw}
