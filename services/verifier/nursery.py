"""The warm parent of single-use judges: imports once, forks a child per file, and reports how each one ended.

Runs as `python -m services.verifier.nursery FD MODULE`, started by the sandbox with an empty environment. Over the
control socket FD it receives, for each file, the seconds it may take and a pair of descriptors: a stream to answer on,
and the file. The child gets hard limits from the kernel (`confinement`), does one task of MODULE (`tasks`) and is gone.

On the stream: a length and the request in JSON go in; parts of the answer, each after its length, come out, and last,
from here, how the child ended (`END`), whatever became of it.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import struct
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from services.verifier import confinement

HEAD = 8
"""Octets of the length before each message."""
ORDER = struct.Struct("=d")
"""Seconds that a task may take, on the control socket."""
END = struct.Struct("=4siII")
MARK = b"END\n"
"""How a child ended: a mark, since a dead warm parent sends none; exit code, or minus the signal; milliseconds of
processor; kibibytes of memory at most."""
NO_MEMORY, TOO_DEEP, FORBIDDEN, TOO_LONG, DIED = 71, 72, 74, 75, 70
_PASSED = 2
_GRACE = 0.5


@dataclass
class _Child:
    answer: socket.socket
    deadline: float
    overdue: bool = False


def serve(control: socket.socket, module: str) -> None:
    """Fork a child for each order until the other side closes."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    tasks = importlib.import_module(module)
    tasks.warm()
    layers, held = _confined()
    waker, alarm = socket.socketpair()
    for end in (waker, alarm):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    children: dict[int, _Child] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(waker, selectors.EVENT_READ)
    gc.collect()
    gc.freeze()
    control.sendall(json.dumps(layers).encode())
    parent = os.getpid()
    while True:
        ready = {key.fileobj for key, _ in selector.select(_patience(children))}
        if waker in ready:
            with suppress(BlockingIOError):
                waker.recv(4096)
            _reap(children)
        if control in ready:
            try:
                message, descriptors, _, _ = socket.recv_fds(control, ORDER.size, _PASSED)
            except OSError:
                message, descriptors = b"", []
            if not message:
                for pid in children:
                    _kill(pid)
                return
            if len(descriptors) != _PASSED or len(message) != ORDER.size:
                for descriptor in descriptors:
                    os.close(descriptor)
                continue
            answer, source = socket.socket(fileno=descriptors[0]), descriptors[1]
            pid = os.fork()
            if pid == 0:
                others = (control, waker, alarm, *(child.answer for child in children.values()))
                _live(others, selector, answer, source, tasks, layers, held, parent)
            os.close(source)
            children[pid] = _Child(answer, time.monotonic() + ORDER.unpack(message)[0] + _GRACE)


def _confined() -> tuple[list[str], int]:
    """Put on the layers that this process wears itself; which hold, and the octets of address space it has."""
    confinement.be_first_to_go()
    held = confinement.address_space()
    holds = {
        "limits": True,
        "network-namespace": confinement.leave_the_network(),
        "landlock": confinement.forbid_files(),
        "seccomp": confinement.filters(),
    }
    return [layer for layer in confinement.LAYERS if holds[layer]], held


def _patience(children: dict[int, _Child]) -> float | None:
    """Seconds until the next child is overdue; whoever is overdue now is killed.

    A child's own alarm comes first; this is for one that has blocked the signal.
    """
    now = time.monotonic()
    for pid, child in children.items():
        if child.deadline <= now:
            _kill(pid)
            child.overdue, child.deadline = True, now + 1
    return min((child.deadline - now for child in children.values()), default=None)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _reap(children: dict[int, _Child]) -> None:
    """Tell each asker how its child ended, after the child's own answer."""
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        child = children.pop(pid, None)
        if child is None:
            continue
        code = -signal.SIGALRM if child.overdue else os.waitstatus_to_exitcode(status)
        spent = round((used.ru_utime + used.ru_stime) * 1000)
        with suppress(OSError):
            child.answer.setblocking(False)
            child.answer.sendall(END.pack(MARK, code, spent, used.ru_maxrss))
        child.answer.close()


def _live(
    others: tuple[socket.socket, ...],
    selector: selectors.BaseSelector,
    answer: socket.socket,
    source: int,
    tasks: ModuleType,
    layers: list[str],
    held: int,
    parent: int,
) -> None:
    """A child's whole life. Never returns."""
    code = DIED
    try:
        confinement.die_with(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        selector.close()
        for other in others:
            other.close()
        request = json.loads(_receive(answer))
        limits = request["limits"]
        os.environ.clear()
        os.nice(5)
        gc.disable()  # it lives for one file, within a limit of memory
        confinement.limit(cpu=limits["cpu"], wall=limits["wall"], memory=limits["memory"], held=held)
        if "seccomp" in layers:
            confinement.filter_calls()
        code = _work(tasks.TASKS[request["task"]], source, request, answer)
    except MemoryError:
        code = NO_MEMORY
    except RecursionError:
        code = TOO_DEEP
    except PermissionError:
        code = FORBIDDEN
    except BaseException:  # noqa: BLE001 - whatever it was, it dies here and is reported by its code
        code = DIED
    finally:
        os._exit(code)


def _work(task: Any, source: int, request: dict[str, Any], answer: socket.socket) -> int:
    room = int(request["limits"]["output"])
    for part in task(os.pread(source, os.fstat(source).st_size, 0), request):
        room -= len(part)
        if room < 0:
            return TOO_LONG
        answer.sendall(len(part).to_bytes(HEAD, "big") + part)
    return 0


def _receive(answer: socket.socket) -> bytes:
    answer.setblocking(True)
    size = int.from_bytes(_exactly(answer, HEAD), "big")
    return _exactly(answer, size)


def _exactly(answer: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        more = answer.recv(min(size - len(parts), 1 << 20))
        if not more:
            raise EOFError
        parts += more
    return bytes(parts)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
