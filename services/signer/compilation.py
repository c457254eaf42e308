"""The signer's inner loop as machine code: used where it was compiled from these very sources.

`make compile` writes `compiled/` beside this module (tools/compile.py, docs/adr/0013): a library with the code, a small
extension module for each of MODULES, and a stamp. The packages of these modules look there first, if the stamp fits.
ANTIN_COMPILED=no leaves it alone; ANTIN_COMPILED=required refuses to start without it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping, MutableSequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import structlog

from events.errors import Malformed

log = structlog.get_logger()

MODULES = (
    "services.signer.adapters.der",
    "services.signer.adapters.fast.check",
    "services.signer.adapters.fast.cms",
    "services.signer.adapters.fast.form",
    "services.signer.adapters.fast.pages",
    "services.signer.adapters.fast.reader",
    "services.signer.adapters.fast.revision",
    "services.signer.adapters.fast.stamp",
    "services.signer.adapters.fast.store",
    "services.signer.adapters.fast.syntax",
    "services.signer.adapters.fast.writer",
    "services.signer.adapters.tokens",
)
"""What is compiled, together: calls among them do not go through the interpreter."""
GROUP = "services.signer.compiled.signing"
LIBRARY = f"{GROUP}__mypyc"
ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "compiled"
STAMP = "stamp.json"
SUFFIX = EXTENSION_SUFFIXES[0]
"""Names the interpreter, its version and the machine, as in `.cpython-311-x86_64-linux-gnu.so`."""
SWITCH = "ANTIN_COMPILED"


@dataclass(frozen=True)
class Form:
    """Which form of MODULES this process has; `why` not the compiled one, in words for a log."""

    compiled: bool
    why: str = ""
    wanted: bool = True
    """The form is as one would expect: compiled, never compiled, or switched off."""

    @property
    def name(self) -> str:
        """`compiled` or `interpreted`."""
        return "compiled" if self.compiled else "interpreted"


def place(module: str) -> Path:
    """Where the extension module is in the folder: where its source is in ROOT."""
    return Path(*module.split(".")).with_suffix(SUFFIX)


def source(module: str) -> str:
    """The name of a module's source in ROOT."""
    return module.replace(".", "/") + ".py"


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal; empty where there is none that can be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


@dataclass(frozen=True)
class Stamp:
    """What was compiled, for which interpreter, from which sources and into which files: SHA-256 of each.

    Sources are MODULES and all of ours that they import: constants and types of those are in the machine code, too.
    """

    modules: tuple[str, ...]
    suffix: str
    sources: Mapping[str, str]
    files: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Stamp:
        """The folder's stamp.

        Raises:
            OSError: there is none.
            ValueError: it is not a stamp.
        """
        said = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        try:
            return cls(tuple(said["modules"]), said["suffix"], dict(said["sources"]), dict(said["files"]))
        except (KeyError, TypeError) as fault:
            raise ValueError("no stamp") from fault

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        said = {"modules": self.modules, "suffix": self.suffix, "sources": self.sources, "files": self.files}
        (folder / STAMP).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def fitting(folder: Path = FOLDER, root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Form:
    """Whether what is in the folder was compiled from the sources under `root`, for this interpreter, and is whole.

    Raises:
        Malformed: ANTIN_COMPILED says something unknown.
    """
    said = environment.get(SWITCH, "")
    if said not in ("", "no", "required"):
        raise Malformed(
            "settings-invalid",
            found=f"{SWITCH} that is neither",
            expected="no, required, or not set: compiled where it fits",
            remedy="correct the environment",
        )
    if said == "no":
        return Form(False, f"{SWITCH}=no")
    if not folder.is_dir():
        return Form(False, "not compiled")
    try:
        stamp = Stamp.read(folder)
    except (OSError, ValueError):
        return Form(False, "no stamp that can be read", wanted=False)
    if stamp.suffix != SUFFIX:
        return Form(False, f"compiled for another interpreter or machine ({stamp.suffix})", wanted=False)
    if stamp.modules != MODULES or not {source(one) for one in MODULES} <= stamp.sources.keys():
        return Form(False, "compiled from other modules", wanted=False)
    for name, known in stamp.sources.items():
        if digest(root / name) != known:
            return Form(False, f"{name} has changed since it was compiled", wanted=False)
    if not {str(place(one)) for one in MODULES} < stamp.files.keys():
        return Form(False, "a stamp that does not name every file", wanted=False)
    for name, known in stamp.files.items():
        if digest(folder / name) != known:
            return Form(False, f"{name} is not the file that was compiled", wanted=False)
    return Form(True)


@cache
def form() -> Form:
    """The form that this process has, decided once, when the first of the packages is imported.

    Raises:
        Malformed: ANTIN_COMPILED asks for the compiled form and it is not there, or says something unknown.
    """
    found = fitting()
    if found.compiled:
        try:
            # All the code is in this one library; if it loads, the small modules beside it do.
            import_module(LIBRARY)
        except (ImportError, SystemError) as fault:
            found = Form(False, f"the library does not load ({type(fault).__name__})", wanted=False)
    if not found.compiled and os.environ.get(SWITCH) == "required":
        raise Malformed(
            "signer-not-compiled",
            found=f"the interpreted form of the signer: {found.why}",
            expected=f"the compiled one, as {SWITCH}=required asks",
            remedy=f"run make compile, or leave {SWITCH} out",
        )
    return found


def compiled_first(package: str, path: MutableSequence[str]) -> None:
    """Have the package's modules looked for among the compiled ones first, where those are used; `path` is its own.

    Raises:
        Malformed: as `form`.
    """
    if form().compiled:
        path.insert(0, str(FOLDER.joinpath(*package.split("."))))


@asynccontextmanager
async def told() -> AsyncIterator[None]:
    """Log at a signer's start which form runs, and why if it is not the compiled one."""
    found = form()
    (log.info if found.wanted else log.warning)("signing-form", form=found.name, why=found.why or None)
    yield
