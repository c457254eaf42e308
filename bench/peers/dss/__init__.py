"""EU DSS in one warm JVM: jars by Maven, pinned by a POM and a list of checksums; the source is run as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers.process import Process, jars

VERSION = "6.4"
HERE = Path(__file__).parent


class Dss(Process):
    """One JVM that validates on demand."""

    def __init__(self, root: Path, crls: Sequence[Path]) -> None:
        path = f"{jars(HERE, f'dss-{VERSION}', f'EU DSS {VERSION}')}/*"
        java = ["java", "-Djava.awt.headless=true", "-XX:+UseSerialGC", "-Xmx2g", "-cp", path]
        super().__init__([*java, str(HERE / "DssPeer.java"), str(root), *map(str, crls)])

    def validate(self, file: Path, often: int, *, warm: float = 0.0) -> tuple[float, float, str]:
        """(milliseconds of processor, of the clock, indications) of one validation, the mean of `often`."""
        processor, clock, said = self.ask(f"{warm} {often} {file}").split()
        return float(processor), float(clock), said.lower().replace("_", "-")
