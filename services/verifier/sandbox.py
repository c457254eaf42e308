"""Judges or draws each file in a process of its own, with hard limits; whatever happens there, a report comes out here.

A warm parent (`nursery`) is forked for each file, so a judgement costs a fork and not a start. The judge's environment
is empty and it is given descriptors, not paths. Any death of it means "cannot be verified", with the reason.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.verifier.model import Brought, FileReport, unreadable
from services.verifier.pictures import Pictures

_HEAD = 8
_START_SECONDS = 60.0
_SANDBOX = "Antin: sandbox"


@dataclass(frozen=True)
class Limits:
    """What one judgement may use."""

    size: int = 64 * 1024 * 1024
    """Octets of a file."""
    cpu: int = 20
    """Seconds of processor."""
    wall: float = 30.0
    """Seconds on the clock."""
    memory: int = 1024 * 1024 * 1024
    """Octets of address space beyond the warm parent's own."""
    output: int = 8 * 1024 * 1024
    """Octets of a report."""


DRAWING = Limits(cpu=15, wall=20.0, output=12 * 1024 * 1024)
"""What drawing one file may use; memory as for a judgement."""


class _NoAnswer(Exception):
    """No child answered; why."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Sandbox:
    """Judges files, a few at a time. Use as an async context manager."""

    def __init__(self, limits: Limits | None = None, workers: int = 2) -> None:
        self.limits = limits or Limits()
        self._slots = asyncio.Semaphore(workers)
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._begun: asyncio.Task[tuple[subprocess.Popen[bytes], socket.socket]] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the warm parent and whatever it still runs."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            with suppress(OSError):
                self._process, self._control = await begun
        control, process = self._control, self._process
        self._control = self._process = None
        if control is not None:
            control.close()
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, 5)
            except subprocess.TimeoutExpired:
                _kill_group(process)
                await asyncio.to_thread(process.wait, 5)

    async def judge(
        self,
        source: bytes | Path,
        *,
        file: str,
        anchors: Sequence[bytes],
        now: datetime,
        brought: Brought | None = None,
        base_size: int | None = None,
    ) -> FileReport:
        """Judge one file, given as octets or as a path; never raises for what is in it.

        With `base_size`, the file is also compared with its own first `base_size` octets.
        """
        began = time.perf_counter()
        try:
            descriptor = await asyncio.to_thread(_open, source)
        except OSError as fault:
            return unreadable(file, "file-unreadable", now, _SANDBOX, fault=fault.strerror or type(fault).__name__)
        try:
            size = os.fstat(descriptor).st_size
            if size > self.limits.size:
                return unreadable(file, "too-large", now, _SANDBOX, found=str(size), most=str(self.limits.size))
            brought = brought or Brought()
            request = {
                "task": "judge",
                "file": file,
                "now": now.isoformat(),
                "anchors": [_text(one) for one in anchors],
                "extra": {
                    "certificates": [_text(one) for one in brought.certificates],
                    "ocsps": [_text(one) for one in brought.ocsps],
                    "crls": [_text(one) for one in brought.crls],
                },
                "limits": vars(self.limits),
                "base_size": base_size,
            }
            try:
                async with self._slots:
                    report = _read(await self._ask(descriptor, request, self.limits), file, now, self.limits)
            except _NoAnswer as none:
                report = unreadable(file, none.reason, now, _SANDBOX, **none.detail)
        finally:
            os.close(descriptor)
        return report.model_copy(update={"size": size, "milliseconds": round((time.perf_counter() - began) * 1000, 1)})

    async def draw(self, source: bytes | Path, ends: Sequence[int]) -> Pictures:
        """The pages of a file and what differs between its states; `Pictures.fault` says why there are none.

        `ends` are sizes in octets, ascending; the last is that of the whole file (see `pictures.states`).
        """
        limits = replace(DRAWING, memory=self.limits.memory)
        try:
            descriptor = await asyncio.to_thread(_open, source)
        except OSError:
            return Pictures(fault="file-unreadable")
        try:
            if os.fstat(descriptor).st_size > self.limits.size:
                return Pictures(fault="too-large")
            request = {"task": "draw", "ends": list(ends), "limits": vars(limits)}
            async with self._slots:
                answer = await self._ask(descriptor, request, limits)
        except _NoAnswer as none:
            return Pictures(fault=none.reason)
        finally:
            os.close(descriptor)
        try:
            return Pictures.model_validate_json(_whole(answer, limits) or b"")
        except ValueError:
            return Pictures(fault=_death(answer, limits)[0])

    async def _ask(self, descriptor: int, request: dict[str, Any], limits: Limits) -> bytes:
        """What a child says, and how it ended."""
        try:
            control = await self._ready()
        except OSError as fault:
            raise _NoAnswer("sandbox-unavailable", fault=type(fault).__name__) from fault
        ours, theirs = socket.socketpair()
        try:
            await asyncio.to_thread(socket.send_fds, control, [b"J"], [theirs.fileno(), descriptor])
        except OSError as fault:
            ours.close()
            await self.close()
            raise _NoAnswer("sandbox-unavailable", fault=type(fault).__name__) from fault
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            said = json.dumps(request).encode()
            async with asyncio.timeout(limits.wall + 10):
                writer.write(len(said).to_bytes(_HEAD, "big") + said)
                with suppress(ConnectionError):
                    await writer.drain()
                answer = await reader.read(limits.output + 4096)
                while more := await reader.read(1 << 20):
                    answer += more
                    if len(answer) > limits.output + 4096:
                        break
        except (TimeoutError, ConnectionError) as fault:
            await self._abandon()
            raise _NoAnswer("took-too-long", seconds=str(limits.wall)) from fault
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        return answer

    async def _ready(self) -> socket.socket:
        async with self._starting:
            if self._process is not None and self._process.poll() is not None:
                await self.close()
            if self._control is not None:
                return self._control
            if self._begun is None:
                self._begun = asyncio.create_task(asyncio.to_thread(_start))
            # Who asked may give up meanwhile: the start goes on, for whoever asks next or for close().
            begun = self._begun
            try:
                process, control = await asyncio.shield(begun)
            finally:
                if begun.done():
                    self._begun = None
            self._process, self._control = process, control
            return control

    async def _abandon(self) -> None:
        """The warm parent does not answer: end it and all its children; the next judgement starts another."""
        if self._process is not None:
            _kill_group(self._process)
        await self.close()


def _open(source: bytes | Path) -> int:
    if isinstance(source, Path):
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("antin-judged", os.MFD_CLOEXEC)
    view = memoryview(source)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    root = str(Path(__file__).resolve().parents[2])
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.verifier.nursery", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        theirs.close()
    ours.settimeout(_START_SECONDS)
    try:
        if ours.recv(1) != b"R":
            raise OSError("the warm parent did not start")
    except OSError:
        ours.close()
        _kill_group(process)
        process.wait(5)
        raise
    ours.settimeout(None)
    return process, ours


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _read(answer: bytes, file: str, now: datetime, limits: Limits) -> FileReport:
    """The judge's report, or why there is none: by its exit status."""
    whole = _whole(answer, limits)
    if whole is not None:
        try:
            return FileReport.model_validate_json(whole)
        except ValueError:
            return unreadable(file, "judge-answered-nonsense", now, _SANDBOX)
    reason, detail = _death(answer, limits)
    return unreadable(file, reason, now, _SANDBOX, **detail)


def _whole(answer: bytes, limits: Limits) -> bytes | None:
    """The message of a child, when all of it is there."""
    size = int.from_bytes(answer[:_HEAD], "big")
    whole = len(answer) > _HEAD and 0 < size <= limits.output and len(answer) >= _HEAD + size
    return answer[_HEAD : _HEAD + size] if whole else None


def _death(answer: bytes, limits: Limits) -> tuple[str, dict[str, str]]:
    try:
        end: dict[str, Any] = json.loads(answer.strip().splitlines()[-1])
        code = int(end["code"])
    except (ValueError, KeyError, IndexError, TypeError):
        return "judge-vanished", {}
    if code == -signal.SIGALRM:
        return "took-too-long", {"seconds": str(limits.wall)}
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "took-too-much-processor", {"seconds": str(limits.cpu)}
    if code in (71, -signal.SIGSEGV, -signal.SIGABRT):
        return "took-too-much-memory", {"octets": str(limits.memory)}
    return {72: ("too-deep", {}), 75: ("report-too-long", {"most": str(limits.output)})}.get(
        code, ("judge-died", {"code": str(code)})
    )
