"""Uploads are looked at before anything is stored: in processes with limits, by pyHanko and PDFium."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from types import TracebackType
from typing import Self

from events.errors import Refused, Unavailable
from services.contracts.adapters.pdf_reading import not_a_pdf, too_large
from services.contracts.ports import Admitted, Limits

_INHERITED = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class PdfIntake:
    """Reads uploads in up to `processes` sandboxes, started with the first upload. Close it, or use `async with`."""

    def __init__(self, limits: Limits | None = None, *, processes: int = 2) -> None:
        self._limits = limits or Limits()
        self._idle: asyncio.LifoQueue[asyncio.subprocess.Process | None] = asyncio.LifoQueue()
        for _ in range(processes):
            self._idle.put_nowait(None)
        self._running: set[asyncio.subprocess.Process] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def admit(self, pdf: bytes) -> Admitted:
        """What is in the PDF.

        Raises:
            Refused: it may not become a contract; the code says why.
            Unavailable: the sandbox cannot be started or has died; the file may be sent again.
        """
        too_large(len(pdf), self._limits)
        if b"%PDF-" not in pdf[:1024]:
            raise not_a_pdf()
        process = await self._idle.get()
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            answer = await asyncio.wait_for(_ask(process, pdf), self._limits.seconds * 4 + 30)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as fault:
            await self._end(process)
            process = None
            raise Unavailable(
                "intake-unavailable",
                found=f"the process that reads uploads does not answer ({type(fault).__name__})",
                expected="an answer about the file",
                remedy="send the file again in a moment",
                retry_after=5.0,
            ) from fault
        except BaseException:
            # Cancelled in the middle of an answer: what the process says next would be about the wrong file.
            await self._end(process)
            process = None
            raise
        finally:
            self._idle.put_nowait(process)
        told = json.loads(answer)
        if "refused" in told:
            raise Refused(**told["refused"])
        return Admitted.model_validate(told)

    async def close(self) -> None:
        """End the processes."""
        for process in list(self._running):
            await self._end(process)

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.contracts.adapters.sandbox",
            self._limits.model_dump_json(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # It needs no secret of ours, and outlives no signal that is meant for us: it ends when its input does.
            env={name: value for name, value in os.environ.items() if name in _INHERITED},
            start_new_session=True,
        )
        self._running.add(process)
        return process

    async def _end(self, process: asyncio.subprocess.Process | None) -> None:
        if process is None:
            return
        self._running.discard(process)
        if process.returncode is None:
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _ask(process: asyncio.subprocess.Process, pdf: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise OSError("a process without pipes")
    process.stdin.write(len(pdf).to_bytes(8, "big"))
    process.stdin.write(pdf)
    await process.stdin.drain()
    size = int.from_bytes(await process.stdout.readexactly(4), "big")
    return await process.stdout.readexactly(size)
