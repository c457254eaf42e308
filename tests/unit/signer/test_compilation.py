"""The compiled form is used where it was made from these very sources; nothing wrong with it stops a signer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from events.errors import Malformed
from services.signer import compilation
from services.signer.compilation import FOLDER, LIBRARY, MODULES, ROOT, SUFFIX, SWITCH, Stamp, digest, fitting, source
from tools import compile as compiling

LIBRARY_FILE = LIBRARY.split(".")[-1] + SUFFIX


def compiled(root: Path) -> Path:
    """A folder as `make compile` leaves it, but with a few octets for each file, and sources beside it."""
    folder = root / "compiled"
    for one in MODULES:
        (root / source(one)).parent.mkdir(parents=True, exist_ok=True)
        (root / source(one)).write_text(f"# {one}\n")
    (root / "events").mkdir()
    (root / "events" / "values.py").write_text("LIMIT = 1\n")
    for name in (LIBRARY_FILE, *(str(compilation.place(one)) for one in MODULES)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no machine code " + name.encode())
    stamped(root)
    return folder


def stamped(root: Path) -> None:
    """A stamp for what is in the folder and the sources, as they are."""
    folder = root / "compiled"
    names = (*map(source, MODULES), "events/values.py")
    files = {str(file.relative_to(folder)): digest(file) for file in folder.rglob(f"*{SUFFIX}")}
    Stamp(MODULES, SUFFIX, {name: digest(root / name) for name in names}, files).write(folder)


def found(root: Path, **environment: str) -> compilation.Form:
    return fitting(root / "compiled", root, environment)


def test_what_was_compiled_from_these_sources_fits(tmp_path):
    compiled(tmp_path)
    assert found(tmp_path).compiled
    assert found(tmp_path, **{SWITCH: "required"}).compiled


@pytest.mark.parametrize("name", [source(MODULES[-1]), "events/values.py"])
def test_a_source_that_changed_is_interpreted(tmp_path, name):
    """A constant of another module is in the machine code, too."""
    compiled(tmp_path)
    (tmp_path / name).write_text((tmp_path / name).read_text() + "# one more line\n")
    form = found(tmp_path)
    assert (form.compiled, form.wanted, form.why) == (False, False, f"{name} has changed since it was compiled")
    (tmp_path / name).unlink()
    assert not found(tmp_path).compiled


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"suffix": ".cpython-399-x86_64-linux-gnu.so"}, "another interpreter"),
        ({"modules": MODULES[1:]}, "other modules"),
        ({"sources": {}}, "other modules"),
        ({"files": {}}, "does not name every file"),
    ],
)
def test_what_was_compiled_for_another_is_interpreted(tmp_path, other, why):
    folder = compiled(tmp_path)
    replace(Stamp.read(folder), **other).write(folder)
    form = found(tmp_path)
    assert (form.compiled, form.wanted) == (False, False)
    assert why in form.why


@pytest.mark.parametrize("name", [LIBRARY_FILE, str(compilation.place(MODULES[0]))])
def test_a_file_that_is_cut_or_gone_is_interpreted(tmp_path, name):
    folder = compiled(tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    assert found(tmp_path) == compilation.Form(False, f"{name} is not the file that was compiled", wanted=False)
    (folder / name).unlink()
    assert not found(tmp_path).compiled


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"modules": 1, "suffix": "", "sources": 1, "files": 1}'])
def test_without_a_stamp_it_is_interpreted(tmp_path, text):
    stamp = compiled(tmp_path) / "stamp.json"
    stamp.unlink() if text is None else stamp.write_text(text)
    assert found(tmp_path) == compilation.Form(False, "no stamp that can be read", wanted=False)


def test_nothing_compiled_and_switched_off_are_as_expected(tmp_path):
    assert found(tmp_path) == compilation.Form(False, "not compiled")
    compiled(tmp_path)
    assert found(tmp_path, **{SWITCH: "no"}) == compilation.Form(False, f"{SWITCH}=no")


def test_a_word_that_the_switch_does_not_know_is_a_mistake(tmp_path):
    with pytest.raises(Malformed, match="settings-invalid"):
        found(tmp_path, **{SWITCH: "yes"})


def test_this_process_has_the_form_that_it_says():
    """Every module of the group is in one form; ANTIN_COMPILED=required has no other than the compiled one."""
    form = compilation.form()
    assert form.compiled or os.environ.get(SWITCH) != "required"
    files = [Path(str(import_module(one).__file__)) for one in MODULES]
    if form.compiled:
        assert files == [FOLDER / compilation.place(one) for one in MODULES]
    else:
        assert files == [ROOT / source(one) for one in MODULES]


@pytest.mark.parametrize(("why", "wanted"), [("not compiled", True), ("a stamp", False)])
async def test_the_log_says_which_form_runs(monkeypatch, why, wanted):
    monkeypatch.setattr(compilation, "form", lambda: compilation.Form(False, why, wanted))
    with capture_logs() as logs:
        async with compilation.told():
            pass
    level = "info" if wanted else "warning"
    assert logs == [{"event": "signing-form", "form": "interpreted", "why": why, "log_level": level}]


# --- in a process of its own ---------------------------------------------------------------------------------------

SAYS = """
from services.signer.compilation import form
from services.signer.adapters import der
from services.signer.adapters.fast.writer import FastWriter
print(form().name, form().why, der.__file__)
"""


def says(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a process that works in `root` says of its form."""
    kept = {name: value for name, value in os.environ.items() if name != SWITCH}
    return subprocess.run(
        [sys.executable, "-c", SAYS], cwd=root, env=kept | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def house(tmp_path):
    """The product's sources, with a compiled form that has a good stamp and does not load."""
    for name in ("events", "domain", "services"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("compiled*", "__pycache__"))
    folder = tmp_path / "services/signer/compiled"
    for name in (LIBRARY_FILE, *(str(compilation.place(one)) for one in MODULES)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x7fELF and nothing more")
    files = {str(file.relative_to(folder)): digest(file) for file in folder.rglob(f"*{SUFFIX}")}
    Stamp(MODULES, SUFFIX, {source(one): digest(tmp_path / source(one)) for one in MODULES}, files).write(folder)
    return tmp_path


def test_a_library_that_does_not_load_leaves_a_signer_that_works(house):
    done = says(house)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"interpreted the library does not load (ImportError) {house / source(MODULES[0])}\n"


def test_who_requires_the_compiled_form_gets_no_other(house):
    done = says(house, **{SWITCH: "required"})
    assert done.returncode != 0
    assert "signer-not-compiled" in done.stderr
    assert says(house, **{SWITCH: "no"}).returncode == 0


# --- the tool ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["view[os.write(copy, view) :]", "view[: next(numbers)]", "view[(n := 1) : 2]", "view[a.b().end() :]"],
)
def test_what_would_be_done_twice_is_not_compiled(text):
    """mypyc 2.4 evaluates the bounds of a memoryview's slice twice: files were written twice."""
    assert compiling.twice(f"def f(view):\n    return {text}\n") == [2]


@pytest.mark.parametrize("text", ["view[start : len(view)]", "view[found.end() :]", "view[next(numbers)]"])
def test_what_may_be_done_twice_is_compiled(text):
    assert compiling.twice(text) == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_is_compiled_would_be_done_twice(module):
    assert compiling.twice((ROOT / source(module)).read_text("utf-8")) == []


def test_a_machine_that_cannot_compile_is_told_what_it_lacks(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(compiling, "fitting", lambda **_: compilation.Form(False, "not compiled"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "some-compiler -pthread")
    monkeypatch.setattr(compiling.sysconfig, "get_path", lambda _: str(tmp_path))
    assert compiling.main() == 2
    said = capsys.readouterr().err
    assert "a C compiler (some-compiler)" in said
    assert "Python.h" in said
    assert "runs interpreted all the same" in said


def test_the_sources_are_all_that_the_machine_code_depends_on():
    """The modules themselves, and what they import of ours, directly or not."""
    found = compiling.sources()
    assert found.keys() > {source(one) for one in MODULES}
    assert {"events/values.py", "services/signer/model.py", "domain/definitions.py"} <= found.keys()
    assert all(digest(ROOT / name) == known for name, known in found.items())
