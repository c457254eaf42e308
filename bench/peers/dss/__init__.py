"""EU DSS in one warm JVM: jars by Maven, pinned by a POM and a list of checksums; the source is run as it is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.real import maven
from tools.real.child import NotHere

VERSION = "6.4"
HERE = Path(__file__).parent
POM, SUMS, SOURCE = HERE / "pom.xml", HERE / "jars.sha256", HERE / "DssPeer.java"


def fetch() -> Path:
    """The folder of the jars, each checked against the list.

    Raises:
        NotHere: no JDK, no Maven, no network, or a jar that is not the one of the list.
    """
    if shutil.which("javac") is None:
        raise NotHere("no JDK", "Java 17 or newer", "sudo apt-get install openjdk-17-jdk-headless")
    return maven.fetch(f"dss-{VERSION}", f"EU DSS {VERSION}", POM, SUMS)


class Dss:
    """One JVM that validates on demand. Use as a context manager."""

    def __init__(self, root: Path, crls: Sequence[Path]) -> None:
        self._process = subprocess.Popen(
            [
                "java", "-Djava.awt.headless=true", "-XX:+UseSerialGC", "-Xmx2g", "-cp", f"{fetch()}/*",
                str(SOURCE), str(root), *map(str, crls),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip

    def __enter__(self) -> Dss:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def validate(self, file: Path, often: int, *, warm: float = 0.0) -> tuple[float, float, str]:
        """(milliseconds of processor, of the clock, indications) of one validation, the mean of `often`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{warm} {often} {file}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise NotHere("a JVM that ended", "one that answers", f"run java {SOURCE} by hand to see why")
        processor, clock, said = line.split()
        return float(processor), float(clock), said.lower().replace("_", "-")
