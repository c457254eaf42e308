"""Jars by Maven, pinned by a POM and a list of checksums, kept in the cache and checked at every use."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tools.real.child import NotHere, cache, fetching, run, say

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


def kept(name: str) -> Path:
    """Where the jars of this name and version are, or would be."""
    return cache() / name


def fetch(name: str, what: str, pom: Path, sums: Path) -> Path:
    """The folder of exactly the jars of the list `sums`; fetched when they are not there yet.

    Args:
        name: the folder's name in the cache, which ends with a version.
        what: the words for it in messages.
        pom: a POM with the dependencies.
        sums: lines of SHA-256 in hex and a file name.

    Raises:
        NotHere: no Maven, no network, or a jar that is not the one of the list.
    """
    with fetching(name.rsplit("-", 1)[0]):
        jars = kept(name)
        if jars.is_dir():
            _check(jars, sums)
            return jars
        if shutil.which("mvn") is None:
            raise NotHere(f"neither jars at {jars} nor mvn", "one of them", "sudo apt-get install maven")
        say(f"Fetching {what} by Maven into {jars} ...")
        fresh = jars.with_name(f"{jars.name}.fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        run(
            ["mvn", "-q", "-B", "-C", "-f", str(pom), COPY, "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"],
            what=f"fetching {what} by Maven",
            timeout=900.0,
        )
        _check(fresh, sums)
        fresh.rename(jars)
        say(f"{len(list(jars.iterdir()))} jars, every one as in {sums.name}.")
        return jars


def _check(jars: Path, sums: Path) -> None:
    """The folder holds exactly the jars of the list: the class path is the whole folder, a stray jar would be run."""
    wanted = {name: digest for digest, name in (line.split() for line in sums.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    if found != wanted:
        differs = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise NotHere(
            f"{len(differs)} jars in {jars} that differ, first {differs[0]}",
            f"exactly the {len(wanted)} jars of {sums.name}",
            "delete that folder and repeat; when it stays so, somebody changed what is served: do not run it",
        )
