"""The process in which uploads are read: it forks once for each file, with hard limits, and outlives them all.

Started as `python -m services.contracts.adapters.sandbox`. In: 8 octets of length, the file. Out: 4 octets of length,
JSON. The parent has loaded everything and touches no file's bytes; the child has limits and nothing to lose.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import sys
from typing import Any, BinaryIO

from events.errors import Refused
from services.contracts.adapters.pdf_reading import read, too_complex
from services.contracts.ports import Limits

LARGEST_ANSWER = 8 * 1024 * 1024


def main() -> None:
    """Serve until the input ends."""
    limits = Limits.model_validate_json(sys.argv[1])
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable(logging.CRITICAL)
    while True:
        head = source.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head, "big")
        pdf = source.read(size)
        if len(pdf) < size:
            return
        answer = _apart(pdf, limits)
        del pdf
        answers.write(len(answer).to_bytes(4, "big") + answer)
        answers.flush()


def _apart(pdf: bytes, limits: Limits) -> bytes:
    """The answer of a child of its own, or what its end means."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _in_the_child(pdf, limits, os.fdopen(sending, "wb"))
    os.close(sending)
    answer = bytearray()
    poll = select.poll()
    poll.register(receiving, select.POLLIN)
    # Wall time is bounded too: a child that sleeps uses no processor.
    while poll.poll(limits.seconds * 3000):
        part = os.read(receiving, 1 << 16)
        if not part:
            break
        answer += part
        if len(answer) > LARGEST_ANSWER:
            break
    else:
        answer.clear()
    os.close(receiving)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if len(answer) < 2 or answer[-1:] != b"\n":
        return _as_json(too_complex("it used up the time or the memory that reading may take"))
    return bytes(answer)


def _in_the_child(pdf: bytes, limits: Limits, answers: BinaryIO) -> None:
    """Read the file within the limits, answer, and end without any clean-up of the parent's."""
    try:
        seconds = max(1, round(limits.seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        try:
            answer = read(pdf, limits).model_dump_json().encode()
        except Refused as fault:
            answer = _as_json(fault)
        answers.write(answer + b"\n")
        answers.flush()
    finally:
        os._exit(0)


def _as_json(fault: Refused) -> bytes:
    told: dict[str, Any] = {
        "code": fault.code,
        "found": fault.found,
        "expected": fault.expected,
        "remedy": fault.remedy,
        "status": fault.status,
    }
    return json.dumps({"refused": told}).encode()


if __name__ == "__main__":
    main()
