"""Compiles the signer's inner loop to machine code with mypyc: `make compile` (docs/adr/0013).

Usage: python -m tools.compile. Everything is built in a temporary folder and takes its place in one step at the end; a
process that runs keeps what it has. What fits already is left alone.
Exit: 0 compiled, 1 it could not be, 2 this machine lacks something for it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

import grimp

from services.signer.compilation import (
    FOLDER,
    GROUP,
    LIBRARY,
    MODULES,
    ROOT,
    SUFFIX,
    SWITCH,
    Stamp,
    digest,
    fitting,
    place,
    source,
)

OURS = ("events", "domain", "services")


def lacking() -> list[str]:
    """What this machine lacks to compile, each with its remedy."""
    found = []
    if find_spec("mypyc") is None:
        found.append("mypyc, which comes with mypy: make setup-dev")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        found.append(f"a C compiler ({compiler}): sudo apt-get install gcc")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        found.append(f"Python.h of this interpreter: sudo apt-get install python{version}-dev")
    return found


def sources() -> dict[str, str]:
    """SHA-256 of the sources whose change makes the machine code stale: MODULES, and what they import of ours."""
    graph = grimp.build_graph(*OURS, cache_dir=None)
    every = set(MODULES).union(*(graph.find_upstream_modules(one) for one in MODULES))
    return {source(one): digest(ROOT / source(one)) for one in sorted(every)}


HARMLESS = ("len", "end", "start")
"""Calls that may be made twice."""


def twice(text: str) -> list[int]:
    """Lines where a slice's bound does something: mypyc 2.4 compiles it to be done twice.

    It evaluates the bounds for list, tuple, str and bytes, and once more where the value is something else.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            for part in ast.walk(node.slice):
                called = part.func if isinstance(part, ast.Call) else None
                name = getattr(called, "attr", getattr(called, "id", ""))
                does = isinstance(part, (ast.NamedExpr, ast.Await, ast.Yield)) or (called and name not in HARMLESS)
                if does:
                    found.append(part.lineno)
    return found


def build(scratch: Path) -> Path:
    """Compile; the folder with the extension modules and their stamp.

    Raises:
        SystemExit: the sources have something that must not be compiled, or mypyc or the compiler failed; with reasons.
    """
    # Here, because mypyc and setuptools change distutils when they are imported.
    import setuptools
    from mypyc.build import mypycify

    before = sources()
    if wrong := [f"{source(one)}:{line}" for one in MODULES for line in twice((ROOT / source(one)).read_text("utf-8"))]:
        sys.exit(f"A call in a slice's bound would be made twice: take it out of the slice in {', '.join(wrong)}.")
    made = scratch / "made"
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            extensions = mypycify(
                [source(one) for one in MODULES], group_name=GROUP, target_dir=str(scratch / "c"), debug_level="0"
            )
            work = setuptools.Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
            work.build_lib, work.build_temp = str(made), str(scratch / "objects")
            work.ensure_finalized()
            work.run()
    except (SystemExit, setuptools.errors.BaseError) as fault:
        sys.exit(f"{said.getvalue()}{fault}\nThe signer was not compiled, and runs interpreted all the same.")
    # The library derives where its modules are from where it is itself, and says so in their `__file__`.
    folder = made.joinpath(*LIBRARY.split(".")[:-1])
    for one in MODULES:
        (folder / place(one)).parent.mkdir(parents=True, exist_ok=True)
        (made / place(one)).rename(folder / place(one))
    library = LIBRARY.split(".")[-1] + SUFFIX
    files = {str(name): digest(folder / name) for name in (library, *(place(one) for one in MODULES))}
    if before != sources():
        sys.exit("A source changed while it was compiled; run make compile again.")
    Stamp(MODULES, SUFFIX, before, files).write(folder)
    return folder


def publish(folder: Path) -> None:
    """Put the folder where the signer looks; a process that uses the one before has it open and keeps it."""
    with tempfile.TemporaryDirectory(prefix="compiled.", dir=FOLDER.parent) as name:
        fresh, before = Path(name) / "fresh", Path(name) / "before"
        shutil.copytree(folder, fresh)
        if FOLDER.exists():
            FOLDER.rename(before)
        fresh.rename(FOLDER)


def loads() -> bool:
    """Whether a fresh process can use what is there."""
    ask = [sys.executable, "-c", "import services.signer.adapters.fast.writer"]
    return subprocess.run(ask, cwd=ROOT, env=os.environ | {SWITCH: "required"}, check=False).returncode == 0


def main() -> int:
    """Compile, unless that was done."""
    if fitting(environment={}).compiled and loads():
        print("The signer is compiled, from the sources as they are.")
        return 0
    if lacks := lacking():
        print("The signer cannot be compiled here, and runs interpreted all the same. Missing:", file=sys.stderr)
        print(*(f"  {one}" for one in lacks), sep="\n", file=sys.stderr)
        return 2
    print(f"Compiling {len(MODULES)} modules of the signer, half a minute ...", flush=True)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="antin-compile-") as name:
        publish(build(Path(name)))
    if not loads():
        print("It was compiled, but does not load; the signer runs interpreted.", file=sys.stderr)
        return 1
    print(f"Compiled into {FOLDER.relative_to(ROOT)}; a signer that starts now uses it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
