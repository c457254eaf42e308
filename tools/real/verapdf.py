"""veraPDF, the reference validator of PDF/A, as an outside judge in a JVM of its own; a tool of the tests alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.real import maven
from tools.real.child import NotHere

# GPL-3.0-or-later or MPL-2.0: it is asked over a pipe, and nothing of it is part of the product.
VERSION = "1.30.2"
HERE = Path(__file__).parent
POM, SUMS, SOURCE = HERE / "verapdf-pom.xml", HERE / "verapdf-jars.sha256", HERE / "VeraPdf.java"
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Conformance:
    """What veraPDF says of one file: the part and level of PDF/A that it claims ("3b"), and which rules it breaks."""

    claims: str | None
    broken: tuple[str, ...]

    @property
    def conforms(self) -> bool:
        """Whether it claims a part of PDF/A and breaks none of its rules."""
        return self.claims is not None and not self.broken


def judge(files: Sequence[Path]) -> list[Conformance]:
    """Judge files by the part that each of them claims, in one JVM.

    Raises:
        NotHere: no JDK, no jars, or a JVM that did not answer for every file.
    """
    if shutil.which("javac") is None:
        raise NotHere("no JDK", "Java 17 or newer", "sudo apt-get install openjdk-17-jdk-headless")
    jars = maven.fetch(f"verapdf-{VERSION}", f"veraPDF {VERSION} (16 MB)", POM, SUMS)
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp", f"{jars}/*", str(SOURCE)],
        input="".join(f"{file.resolve()}\n" for file in files),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if len(lines) != len(files):
        raise NotHere(f"{len(lines)} answers of veraPDF: {done.stderr[-500:]}", f"{len(files)}", "run it by hand")
    return [
        Conformance(line.get("claims"), tuple(line.get("broken", ())) + ((line["error"],) if "error" in line else ()))
        for line in lines
    ]
