"""Judges or draws each file in a process of its own, with hard limits; whatever happens there, an answer comes here.

A warm parent (`nursery`) is forked for each file, so a judgement costs a fork and not a start; it is replaced now and
then. The process has an empty environment, no network, and descriptors instead of paths (`confinement`). Any death of
it means "cannot be verified", with the reason.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from services.verifier.agreement import settle
from services.verifier.confinement import LAYERS
from services.verifier.model import Brought, FileReport, Heard, Integrity, Opinion, Scope, unreadable
from services.verifier.nursery import DIED, END, FORBIDDEN, HEAD, MARK, NO_MEMORY, ORDER, TOO_DEEP, TOO_LONG
from services.verifier.pictures import Pictures

_START_SECONDS = 60.0
_LAST_RESORT_SECONDS = 10.0
_SANDBOX = "Antin: sandbox"
_TASKS = "services.verifier.tasks"
log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """What one task with one file may use. With these, every answer is there within 10 seconds, below 512 MB."""

    size: int = 64 * 1024 * 1024
    """Octets of a file."""
    cpu: int = 8
    """Seconds of processor."""
    wall: float = 9.0
    """Seconds on the clock."""
    memory: int = 384 * 1024 * 1024
    """Octets of address space beyond the warm parent's own (some 100 MB)."""
    output: int = 8 * 1024 * 1024
    """Octets of an answer."""


OTHERS = ("pyhanko", "endesive")
"""The engines that are asked after engine one, in this order."""
MUST_ANSWER = frozenset({"pyhanko"})
"""Those whose silence is told; the others may be absent."""
DRAWING = Limits(cpu=15, wall=20.0, output=12 * 1024 * 1024)
"""What drawing one file may use; size and memory as for a judgement."""


@dataclass(frozen=True)
class Lifetime:
    """When a warm parent is replaced by a fresh one; what it still has in hand is ended well."""

    tasks: int = 1000
    """Files it was given."""
    seconds: float = 3600.0
    """Its age."""
    growth: int = 64 * 1024 * 1024
    """Octets of memory it holds beyond those at its start."""


@dataclass(frozen=True)
class Ended:
    """What a task answered, and how it ended."""

    parts: tuple[bytes, ...] = ()
    reason: str | None = None
    """Why it did not end by itself (a kebab-case name for the catalogue); none when it did."""
    detail: Mapping[str, str] | None = None
    milliseconds: int = 0
    """Of processor."""
    peak: int = 0
    """Octets of memory at most, those shared with the warm parent among them."""


class Sandbox:
    """Does tasks with files, a few at a time. Use as an async context manager.

    `tasks` names the module whose `TASKS` may be asked for.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        workers: int = 2,
        *,
        lifetime: Lifetime | None = None,
        tasks: str = _TASKS,
    ) -> None:
        self.limits = limits or Limits()
        self._lifetime = lifetime or Lifetime()
        self._tasks = tasks
        self._slots = asyncio.Semaphore(workers)
        self._starting = asyncio.Lock()
        self._begun: asyncio.Task[_Parent] | None = None
        self._parent: _Parent | None = None
        self._leaving: set[_Parent] = set()

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of `confinement.LAYERS` in force; none before the first task."""
        return self._parent.layers if self._parent else ()

    @property
    def pid(self) -> int | None:
        """The warm parent's process id; none before the first task."""
        return self._parent.process.pid if self._parent else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the warm parents and whatever they still run."""
        if self._begun is not None:
            with suppress(OSError):
                self._parent = await self._begun
            self._begun = None
        parents = [*self._leaving, *([self._parent] if self._parent else [])]
        self._parent = None
        self._leaving.clear()
        await asyncio.gather(*(asyncio.to_thread(parent.end) for parent in parents))

    async def judge(
        self,
        source: bytes | Path,
        *,
        file: str,
        anchors: Sequence[bytes],
        now: datetime,
        brought: Brought | None = None,
        base_size: int | None = None,
        both: bool = True,
    ) -> FileReport:
        """Judge one file, given as octets or as a path; never raises for what is in it.

        With `base_size`, the file is also compared with its own first `base_size` octets. Without `both`, only engine
        one is asked. Whatever becomes of the other engines, engine one's answer is not lost.
        """
        others = OTHERS if both else ()
        began = time.perf_counter()
        asked = question(file, anchors, now, brought or Brought(), base_size, others)
        size: int | None = None
        try:
            descriptor = await asyncio.to_thread(_open, source)
        except OSError as fault:
            return unreadable(file, "file-unreadable", now, _SANDBOX, fault=fault.strerror or type(fault).__name__)
        try:
            size = os.fstat(descriptor).st_size
            ended = await self.run("judge", descriptor, asked)
        finally:
            os.close(descriptor)
        report = _report(ended, file, now, others)
        return report.model_copy(update={"size": size, "milliseconds": round((time.perf_counter() - began) * 1000, 1)})

    async def draw(self, source: bytes | Path, ends: Sequence[int]) -> Pictures:
        """The pages of a file and what differs between its states; `Pictures.fault` says why there are none.

        `ends` are sizes in octets, ascending; the last is that of the whole file (see `pictures.states`).
        """
        limits = replace(DRAWING, size=self.limits.size, memory=self.limits.memory)
        try:
            ended = await self.run("draw", source, {"ends": list(ends)}, limits)
        except OSError:
            return Pictures(fault="file-unreadable")
        try:
            return Pictures.model_validate_json(ended.parts[-1] if ended.parts else b"")
        except ValueError:
            return Pictures(fault=ended.reason or "judge-answered-nonsense")

    async def run(
        self, task: str, source: bytes | Path | int, request: Mapping[str, Any], limits: Limits | None = None
    ) -> Ended:
        """Do one task with one file: octets, a path, or a descriptor that stays the caller's.

        Raises:
            OSError: the path cannot be opened.
        """
        limits = limits or self.limits
        descriptor = source if isinstance(source, int) else await asyncio.to_thread(_open, source)
        try:
            size = os.fstat(descriptor).st_size
            if size > limits.size:
                return _dead("too-large", found=size, most=limits.size)
            async with self._slots:
                return await self._ask(descriptor, {**request, "task": task, "limits": vars(limits)}, limits)
        finally:
            if descriptor is not source:
                os.close(descriptor)

    async def _ask(self, descriptor: int, request: Mapping[str, Any], limits: Limits) -> Ended:
        try:
            parent = await self._ready()
        except OSError as fault:
            return _dead("sandbox-unavailable", fault=type(fault).__name__)
        parent.hands += 1
        parent.given += 1
        ours, theirs = socket.socketpair()
        try:
            with ours:
                with theirs:
                    order = [theirs.fileno(), descriptor]
                    socket.send_fds(parent.control, [ORDER.pack(limits.wall)], order, socket.MSG_DONTWAIT)
                return _understood(await _exchange(ours, json.dumps(request).encode(), limits), limits)
        except TimeoutError:
            # Not even the warm parent answers: it goes with all its children, the next file gets another.
            parent.kill()
            await self._drop(parent)
            return _dead("took-too-long", seconds=limits.wall)
        except OSError as fault:
            gone = isinstance(fault, ConnectionError)
            await self._drop(parent)
            return _dead("judge-vanished") if gone else _dead("sandbox-unavailable", fault=type(fault).__name__)
        finally:
            parent.hands -= 1
            if parent in self._leaving and not parent.hands:
                await self._drop(parent)

    async def _ready(self) -> _Parent:
        async with self._starting:
            parent = self._parent
            if parent is not None and parent.process.poll() is not None:
                await self._drop(parent)
            elif parent is not None and parent.worn(self._lifetime):
                self._parent = None
                self._leaving.add(parent)
                if not parent.hands:
                    await self._drop(parent)
            return self._parent or await self._begin()

    async def _begin(self) -> _Parent:
        """Start a warm parent. Who asked may give up meanwhile: the start goes on, for whoever asks next or close()."""
        if self._begun is None:
            self._begun = asyncio.create_task(asyncio.to_thread(_start, self._tasks))
        begun = self._begun
        try:
            self._parent = await asyncio.shield(begun)
        finally:
            if begun.done():
                self._begun = None
        if missing := [layer for layer in LAYERS if layer not in self._parent.layers]:
            log.warning("sandbox-weaker", missing=missing, remedy="see docs/verification.md, the sandbox")
        return self._parent

    async def _drop(self, parent: _Parent) -> None:
        self._leaving.discard(parent)
        if self._parent is parent:
            self._parent = None
        await asyncio.shield(asyncio.to_thread(parent.end))


def question(
    file: str,
    anchors: Sequence[bytes],
    now: datetime,
    brought: Brought,
    base_size: int | None = None,
    others: Sequence[str] = (),
) -> Mapping[str, Any]:
    """What the task `judge` is asked; `others` are the engines after engine one."""
    return {
        "file": file,
        "now": now.isoformat(),
        "anchors": [_text(one) for one in anchors],
        "extra": {
            "certificates": [_text(one) for one in brought.certificates],
            "ocsps": [_text(one) for one in brought.ocsps],
            "crls": [_text(one) for one in brought.crls],
        },
        "base_size": base_size,
        "others": others,
    }


class _Parent:
    """A warm parent as seen from here."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, layers: tuple[str, ...]) -> None:
        self.process, self.control, self.layers = process, control, layers
        self.given = self.hands = 0
        self._born = time.monotonic()
        self._held = self._resident()

    def worn(self, lifetime: Lifetime) -> bool:
        """Whether it is time for another."""
        return (
            self.given >= lifetime.tasks
            or time.monotonic() - self._born >= lifetime.seconds
            or self._resident() - self._held > lifetime.growth
        )

    def end(self) -> None:
        """Close the control socket, upon which it kills its children and goes; insist after 5 seconds."""
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait(5)

    def kill(self) -> None:
        """It and all its children, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _resident(self) -> int:
        try:
            fields = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()
            return int(fields[1]) * resource.getpagesize()
        except (OSError, IndexError, ValueError):
            return 0


def _open(source: bytes | Path) -> int:
    if isinstance(source, Path):
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("antin-judged", os.MFD_CLOEXEC)
    view = memoryview(source)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def _start(tasks: str) -> _Parent:
    ours, theirs = socket.socketpair()
    root = str(Path(__file__).resolve().parents[2])
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.verifier.nursery", str(theirs.fileno()), tasks],
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
        layers = tuple(json.loads(ours.recv(4096) or b"[]"))
        if not layers:
            raise OSError("the warm parent did not start")
    except OSError:
        ours.close()
        process.kill()
        process.wait(5)
        raise
    ours.settimeout(None)
    return _Parent(process, ours, layers)


async def _exchange(stream: socket.socket, request: bytes, limits: Limits) -> bytes:
    """Everything that comes back."""
    reader, writer = await asyncio.open_connection(sock=stream)
    most = limits.output + (1 << 16)
    try:
        async with asyncio.timeout(limits.wall + _LAST_RESORT_SECONDS):
            writer.write(len(request).to_bytes(HEAD, "big") + request)
            with suppress(ConnectionError):
                await writer.drain()
            answer = bytearray()
            while len(answer) <= most and (more := await reader.read(1 << 20)):
                answer += more
            return bytes(answer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def _understood(answer: bytes, limits: Limits) -> Ended:
    said, end = answer[: -END.size], answer[-END.size :]
    mark, code, spent, peak = END.unpack(end) if len(end) == END.size else (b"", 0, 0, 0)
    if mark != MARK:
        return _dead("judge-vanished")
    parts = []
    while len(said) >= HEAD:
        size = int.from_bytes(said[:HEAD], "big")
        if size > limits.output or len(said) < HEAD + size:
            break
        parts.append(said[HEAD : HEAD + size])
        said = said[HEAD + size :]
    reason, detail = _death(code, limits)
    return Ended(tuple(parts), reason, detail, spent, peak * 1024)


def _death(code: int, limits: Limits) -> tuple[str | None, dict[str, str]]:
    if code == -signal.SIGALRM:
        return "took-too-long", {"seconds": str(limits.wall)}
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "took-too-much-processor", {"seconds": str(limits.cpu)}
    if code in (NO_MEMORY, -signal.SIGSEGV, -signal.SIGABRT):
        return "took-too-much-memory", {"octets": str(limits.memory)}
    reasons: dict[int, tuple[str | None, dict[str, str]]] = {
        0: (None, {}),
        TOO_DEEP: ("too-deep", {}),
        FORBIDDEN: ("tried-what-is-forbidden", {}),
        TOO_LONG: ("report-too-long", {"most": str(limits.output)}),
    }
    return reasons.get(code, ("judge-died", {"code": str(code or DIED)}))


def _dead(reason: str, **detail: object) -> Ended:
    return Ended(reason=reason, detail={key: str(value) for key, value in detail.items()})


def _report(ended: Ended, file: str, now: datetime, others: Sequence[str]) -> FileReport:
    """Engine one's report with the others' opinions, or why there is none."""
    if not ended.parts:
        return unreadable(file, ended.reason or "judge-vanished", now, _SANDBOX, **(ended.detail or {}))
    try:
        report = FileReport.model_validate_json(ended.parts[0])
        heard = [Heard.model_validate_json(part) for part in ended.parts[1:]]
    except ValueError:
        return unreadable(file, "judge-answered-nonsense", now, _SANDBOX)
    if not others or report.integrity is Integrity.UNREADABLE:
        return report
    silent = [name for name in others[len(heard) :] if name in MUST_ANSWER]
    opinions = [one for each in heard for one in each.opinions]
    opinions += [
        Opinion(
            engine=name,
            scope=Scope.FILE,
            reason=ended.reason or "judge-vanished",
            detail=dict(ended.detail or {}),
        )
        for name in silent
    ]
    return settle(
        report,
        opinions,
        engines=[*(f"{each.engine} {each.version}" for each in heard if each.version), *silent],
        absent=[each.engine for each in heard if each.version is None],
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
