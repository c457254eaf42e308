"""Tasks that a captured judging process might try; `tasks=` of a Sandbox under test. Each says what came of it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def warm() -> None:
    """Nothing to import."""


def _tried(act: Callable[[Mapping[str, Any]], Any]) -> Callable[[bytes, Mapping[str, Any]], Iterator[bytes]]:
    """The task that does it and answers `done` or the name of what was raised."""

    def task(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
        try:
            act(request)
        except (OSError, RuntimeError) as fault:
            yield type(fault).__name__.encode()
        else:
            yield b"done"

    return task


def _fork(_: Mapping[str, Any]) -> None:
    if os.fork() == 0:
        os._exit(0)


def _write(request: Mapping[str, Any]) -> None:
    with open(request["path"], "w") as file:
        file.write("x")


def _read(request: Mapping[str, Any]) -> None:
    with open(request["path"]) as file:
        file.read()


def _files(_: Mapping[str, Any]) -> None:
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1000)]
    assert held


def _raise_limits(_: Mapping[str, Any]) -> None:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))
    except ValueError as fault:  # how Python says EPERM here
        raise PermissionError from fault


def _file_in_memory(_: Mapping[str, Any]) -> None:
    os.memfd_create("more")


def sleep(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """Longer than any wall limit."""
    time.sleep(300)
    yield b"awake"


def deaf(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """As `sleep`, with the alarm blocked first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    yield from sleep(data, request)


def spin(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """For ever, in C: no Python code runs that could notice anything."""
    yield b"began"
    sum(iter(int, 1))


def eat(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """Memory without end, every page of it touched."""
    held = []
    while True:
        held.append(b"\1" * (1 << 24))
        if len(held) == 1:
            yield b"began"


def talk(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """An answer without end."""
    while True:
        yield b"x" * 1_000_000


def recurse(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """Calls without end."""
    yield str(_deeper(0)).encode()


def _deeper(depth: int) -> int:
    return _deeper(depth + 1) + 1


def crash(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """A fault in native code, after a part of the answer."""
    yield b"first"
    ctypes.string_at(0)


def crash_at_once(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """A fault in Python code."""
    yield str(1 // 0).encode()


def peek(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """What it can see: its environment and the file."""
    yield repr(dict(os.environ)).encode()
    yield data


def whoami(data: bytes, request: Mapping[str, Any]) -> Iterator[bytes]:
    """The process id, and then it stays."""
    yield str(os.getpid()).encode()
    time.sleep(300)


TASKS = {
    "socket": _tried(lambda _: socket.socket(socket.AF_INET)),
    "socket-unix": _tried(lambda _: socket.socket(socket.AF_UNIX)),
    "connect": _tried(lambda request: socket.create_connection(("127.0.0.1", request["port"]), 2)),
    "fork": _tried(_fork),
    "thread": _tried(lambda _: threading.Thread(target=print).start()),
    "exec": _tried(lambda _: os.execv("/bin/true", ["true"])),  # noqa: S606
    "spawn": _tried(lambda _: subprocess.run(["/bin/true"], check=True)),
    "write": _tried(_write),
    "remove": _tried(lambda request: os.unlink(request["path"])),
    "read": _tried(_read),
    "memfd": _tried(_file_in_memory),
    "files": _tried(_files),
    "kill": _tried(lambda _: os.kill(os.getppid(), signal.SIGKILL)),
    "raise-limits": _tried(_raise_limits),
    "sleep": sleep,
    "deaf": deaf,
    "spin": spin,
    "eat": eat,
    "talk": talk,
    "recurse": recurse,
    "crash": crash,
    "crash-at-once": crash_at_once,
    "peek": peek,
    "whoami": whoami,
}
