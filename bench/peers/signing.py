"""The other signers of `make bench-sign`: each fetched by its own locked means, each a warm process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bench.peers.process import Process, jars
from tools.real.child import NotHere, run, say

HERE = Path(__file__).parent
PLACE = Path("var/bench/peers")


class Peer(Process):
    """A process that signs what a line says."""

    def sign(self, name: str, level: str, often: int, source: Path, target: Path, *, warm: float = 0.0) -> float:
        """Milliseconds of processor for one signature, the mean of `often`, after `warm` seconds of the same.

        Raises:
            NotHere: it cannot, and says why.
        """
        line = self.ask(f"{name} {level} {warm} {often} {source.resolve()} {target.resolve()}")
        if line.startswith("error"):
            raise NotHere(line.removeprefix("error "), "a signature", "run the peer by hand")
        return float(line)


def java(folder: Path, tsa: str) -> Peer:
    """PDFBox, iText and EU DSS in one JVM.

    Raises:
        NotHere: no JDK, no Maven, no network, or a jar that is not the one of the list.
    """
    source = HERE / "signers"
    found = jars(source, "signers-1", "PDFBox, iText and EU DSS")
    # EU DSS's BouncyCastle goes before iText's, which is older.
    path = [*sorted(str(one) for one in found.glob("bc*.jar")), f"{found}/*"]
    command = ["java", "-Djava.awt.headless=true", "-XX:+UseSerialGC", "-Xmx4g", "-cp", ":".join(path)]
    return Peer([*command, str(source / "SignPeers.java"), str(folder.resolve()), tsa])


def node(folder: Path, tsa: str) -> Peer:
    """@libpdf/core, @signpdf and @documenso/pdf-sign in one Node.

    Raises:
        NotHere: no Node, no npm, or no network.
    """
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise NotHere(f"no {tool}", "Node 20 or newer", "sudo apt-get install nodejs npm")
    place = PLACE / "node"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "signers.mjs"):
        shutil.copyfile(HERE / "node" / name, place / name)
    # Not `npm ci`: it wants the binaries of other systems in the lock, too. What is locked is checked all the same.
    run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"],
        what="fetching signers in JavaScript by npm",
        timeout=300.0,
        cwd=place,
    )
    return Peer(["node", "signers.mjs", str(folder.resolve()), tsa], cwd=place)


def endesive(folder: Path, tsa: str) -> Peer:
    """endesive in a Python of its own; it is GPL by one dependency, hence apart.

    Raises:
        NotHere: its locked packages cannot be installed here.
    """
    place = PLACE / "python"
    if not (place / "done").exists():
        say(f"Installing endesive into {place} ...")
        run([sys.executable, "-m", "venv", str(place)], what="making a virtual environment", timeout=120.0)
        run(
            [str(place / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
             "--require-hashes", "-r", str(HERE / "endesive.lock")],
            what="installing endesive", timeout=300.0,
        )  # fmt: skip
        (place / "done").touch()
    return Peer([str(place / "bin/python"), str(HERE / "endesive_signer.py"), str(folder.resolve()), tsa])


STARTERS: dict[str, tuple[Callable[[Path, str], Peer], tuple[str, ...]]] = {
    "java": (java, ("pdfbox", "itext", "dss")),
    "node": (node, ("libpdf", "signpdf", "documenso")),
    "python": (endesive, ("endesive",)),
}
TITLES = {
    "pdfbox": "PDFBox 3.0.6",
    "itext": "iText 9.3",
    "dss": "EU DSS 6.4",
    "libpdf": "@libpdf/core",
    "signpdf": "@signpdf",
    "documenso": "@documenso/pdf-sign",
    "endesive": "endesive",
}
