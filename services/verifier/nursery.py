"""The warm parent of single-use judges: imports once, forks a child per file, and reports how each one ended.

Runs as `python -m services.verifier.nursery FD`, started by the sandbox with an empty environment. Over the control
socket FD it receives pairs of descriptors: a stream to answer on, and the file to judge. The child gets hard limits
from the kernel (CPU, wall clock, memory, no writing, no children), judges one file and is gone.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import warnings
from contextlib import suppress
from datetime import datetime
from typing import Any

HEAD = 8
"""Octets of the length before each message."""
_PASSED = 2


def serve(control: socket.socket) -> None:
    """Fork a judge for each pair of descriptors until the other side closes."""
    _warm()
    waker, alarm = socket.socketpair()
    for end in (waker, alarm):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    waiting: dict[int, socket.socket] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(waker, selectors.EVENT_READ)
    gc.collect()
    gc.freeze()
    control.sendall(b"R")
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if waker in ready:
            with suppress(BlockingIOError):
                waker.recv(4096)
            _reap(waiting)
        if control in ready:
            try:
                message, descriptors, _, _ = socket.recv_fds(control, 1, _PASSED)
            except OSError:
                message, descriptors = b"", []
            if not message:
                for child in waiting:
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                return
            if len(descriptors) != _PASSED:
                for descriptor in descriptors:
                    os.close(descriptor)
                continue
            answer, source = socket.socket(fileno=descriptors[0]), descriptors[1]
            child = os.fork()
            if child == 0:
                _live((control, waker, alarm, *waiting.values()), selector, answer, source)
            os.close(source)
            waiting[child] = answer


def _warm() -> None:
    """Import what a judgement needs, so that a child need not."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    import lxml.etree  # type: ignore[import-untyped]  # noqa: F401
    import pyhanko.sign.validation  # noqa: F401

    import services.verifier.adapters.pdfium
    import services.verifier.adapters.pyhanko_engine  # noqa: F401


def _reap(waiting: dict[int, socket.socket]) -> None:
    """Tell each asker how its judge ended: after the judge's own answer, one line with the exit status."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        answer = waiting.pop(child, None)
        if answer is None:
            continue
        end = {"code": os.waitstatus_to_exitcode(status)}
        with suppress(OSError):
            answer.setblocking(False)
            answer.sendall(json.dumps(end).encode() + b"\n")
        answer.close()


def _live(
    others: tuple[socket.socket, ...], selector: selectors.BaseSelector, answer: socket.socket, source: int
) -> None:
    """A judge's whole life. Never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        selector.close()
        for other in others:
            other.close()
        request = json.loads(_receive(answer))
        _confine(request["limits"])
        text = _drawn(request, source) if request["task"] == "draw" else _judged(request, source)
        if len(text) > int(request["limits"]["output"]):
            code = 75
        else:
            answer.sendall(len(text).to_bytes(HEAD, "big") + text)
            code = 0
    except MemoryError:
        code = 71
    except RecursionError:
        code = 72
    except BaseException:  # noqa: BLE001 - whatever it was, it dies here and is reported by its code
        code = 70
    finally:
        os._exit(code)


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


def _confine(limits: dict[str, Any]) -> None:
    """Hard limits by the kernel; an endless loop in Python or C ends all the same."""
    os.environ.clear()
    signal.setitimer(signal.ITIMER_REAL, float(limits["wall"]))
    cpu = int(limits["cpu"])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    with open("/proc/self/statm", encoding="ascii") as statm:
        held = int(statm.read().split()[0]) * resource.getpagesize()
    room = held + int(limits["memory"])
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.nice(5)


def _judged(request: dict[str, Any], source: int) -> bytes:
    from services.verifier.adapters.pyhanko_engine import judge
    from services.verifier.model import Brought

    extra = Brought(**{key: tuple(base64.b64decode(one) for one in found) for key, found in request["extra"].items()})
    report = asyncio.run(
        judge(
            _octets(source),
            file=request["file"],
            anchors=[base64.b64decode(one) for one in request["anchors"]],
            now=datetime.fromisoformat(request["now"]),
            extra=extra,
            base_size=request["base_size"],
        )
    )
    return report.model_dump_json().encode()


def _drawn(request: dict[str, Any], source: int) -> bytes:
    from services.verifier.adapters.pdfium import draw

    return draw(_octets(source), request["ends"]).model_dump_json().encode()


def _octets(source: int) -> bytes:
    size = os.fstat(source).st_size
    data = bytearray()
    while len(data) < size:
        part = os.pread(source, min(size - len(data), 1 << 24), len(data))
        if not part:
            break
        data += part
    return bytes(data)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
