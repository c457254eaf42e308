"""A peer as a warm process that answers a line with a line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tools.real import maven
from tools.real.child import NotHere


class Process:
    """Use as a context manager."""

    def __init__(self, command: Sequence[str], cwd: Path | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=cwd
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, line: str) -> str:
        """The answer.

        Raises:
            NotHere: it has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            found = self._process.stdout.readline().strip()
        except OSError:
            found = ""
        if not found:
            raise NotHere("a process that ended", "an answer", "run the peer by hand")
        return found


def jars(source: Path, name: str, what: str) -> Path:
    """The folder of the jars that the pom.xml in `source` names, each checked against jars.sha256 there.

    Raises:
        NotHere: no JDK, no Maven, no network, or a jar that is not the one of the list.
    """
    if shutil.which("javac") is None:
        raise NotHere("no JDK", "Java 17 or newer", "sudo apt-get install openjdk-17-jdk-headless")
    return maven.fetch(name, what, source / "pom.xml", source / "jars.sha256")
