"""What a sandboxed process can be asked to do with one file: each task by its name."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

Task = Callable[[bytes, Mapping[str, Any]], Iterator[bytes]]
"""The file and the request (JSON) in, parts of the answer out. A part that was yielded stays when the task is killed
later, so what must not be lost is yielded first."""


def warm() -> None:
    """Import what the tasks need, so that a process forked for one file need not."""
    import services.verifier.adapters.pdfium
    import services.verifier.engine  # noqa: F401


def judge(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """The report on a file (`model.FileReport` as JSON)."""
    from services.verifier.engine import examine
    from services.verifier.model import Brought

    extra = Brought(**{key: tuple(base64.b64decode(one) for one in found) for key, found in request["extra"].items()})
    report = examine(
        data,
        file=request["file"],
        anchors=[base64.b64decode(one) for one in request["anchors"]],
        now=datetime.fromisoformat(request["now"]),
        extra=extra,
        base_size=request["base_size"],
    )
    yield report.model_dump_json().encode()


def draw(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """The pages of a file (`pictures.Pictures` as JSON)."""
    from services.verifier.adapters.pdfium import draw

    yield draw(data, request["ends"]).model_dump_json().encode()


TASKS: Mapping[str, Task] = {"judge": judge, "draw": draw}
