"""What the real servers share: a child process ended by its pid, free ports, the cache of what was fetched."""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class NotHere(Exception):
    """Something this machine lacks: what was found, what was expected, what to do."""

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"found {found}; expected {expected}; {remedy}")
        self.found, self.expected, self.remedy = found, expected, remedy


class DidNotStart(RuntimeError):
    """A server that was started and did not get ready; the message ends with the last lines of its log."""


def say(line: str) -> None:
    """One line of progress for the person who waits."""
    print(line, file=sys.stderr, flush=True)


def cache() -> Path:
    """The folder of what was fetched once: `$XDG_CACHE_HOME/antin`, else `~/.cache/antin`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "antin"


@contextmanager
def fetching(name: str) -> Iterator[Path]:
    """The cache folder, held by one process at a time, so that test workers do not fetch the same thing together."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def run(
    command: Sequence[str],
    *,
    what: str,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
) -> str:
    """What a command that must succeed printed.

    Raises:
        NotHere: it failed or took longer than `timeout` seconds; with the last lines of its output.
    """
    environment = None if env is None else {**os.environ, **env}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env=environment,
            user=user,
            check=False,
        )
    except subprocess.TimeoutExpired as fault:
        raise NotHere(
            f"no end of {what} after {timeout:.0f} s", "it to end", "see whether the network is there"
        ) from fault
    if done.returncode != 0:
        tail = " | ".join(line.strip() for line in done.stdout.splitlines()[-8:])
        raise NotHere(f"{what} failed with {done.returncode}: {tail}", "it to succeed", "mend what it says and repeat")
    return done.stdout


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One server process: started with its output in a log file, ended by its pid."""

    def __init__(self, what: str, log: Path) -> None:
        self.what, self.log = what, log
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.end)

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            RuntimeError: it is not running.
        """
        if self._process is None:
            raise RuntimeError(f"{self.what} is not running: start it first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(
        self,
        command: Sequence[str],
        *,
        ready: Callable[[], bool],
        timeout: float,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> float:
        """Start and wait until it is ready; how many seconds that took.

        Raises:
            DidNotStart: it ended, or was not ready within `timeout` seconds.
        """
        if self.running:
            raise RuntimeError(f"{self.what} runs already with pid {self.pid}")
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if env is None else {**os.environ, **env},
                user=user,
                # Of a session of its own: Ctrl+C in the terminal reaches us, and we stop the servers in order.
                start_new_session=True,
            )
        while not ready():
            if self._process.poll() is not None:
                raise DidNotStart(f"{self.what} ended with {self._process.returncode} while starting: {self._tail()}")
            if time.monotonic() - began > timeout:
                self.end(grace=1.0)
                raise DidNotStart(f"{self.what} was not ready after {timeout:.0f} s: {self._tail()}")
            time.sleep(0.05)
        return time.monotonic() - began

    def end(self, *, first: signal.Signals = signal.SIGTERM, grace: float = 20.0) -> None:
        """Ask with `first`, insist with SIGKILL after `grace` seconds; nothing to do when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(first)
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    def _tail(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log"
        return " | ".join(lines[-8:]) or "it wrote no log"


def answers(port: int) -> bool:
    """Whether somebody listens on the loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False
