"""Throw-away SoftHSM tokens: a module, a label and a PIN, in a folder of the test run."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PIN, OFFICER = "846213", "97531864"


@dataclass(frozen=True)
class SoftToken:
    """One token. `folder` is the module's; `pin_file` holds the user PIN."""

    module: Path
    label: str
    pin_file: Path
    folder: Path


def module() -> Path:
    """SoftHSM's shared library, or a skip that says why."""
    for place in MODULES:
        if Path(place).exists() and shutil.which("softhsm2-util"):
            return Path(place)
    pytest.skip("needs SoftHSM: apt-get install softhsm2")


def configuration(folder: Path) -> Path:
    """The module's configuration file, with its tokens in `folder`."""
    (folder / "tokens").mkdir(parents=True, exist_ok=True)
    file = folder / "softhsm2.conf"
    file.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
        "slots.removable = true\n"
    )
    return file


def initialised(folder: Path, label: str) -> SoftToken:
    """A fresh token in the folder. The module of this process must be told SOFTHSM2_CONF before it is loaded."""
    library = module()
    file = configuration(folder)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", OFFICER],
        check=True,
        capture_output=True,
        env={**os.environ, "SOFTHSM2_CONF": str(file)},
    )
    pin = folder / f"{label}.pin"
    pin.touch(mode=0o600)
    pin.write_text(PIN + "\n")
    return SoftToken(library, label, pin, folder)


@pytest.fixture(scope="session")
def soft_token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """One token for the run of this process: its library reads the configuration when it is initialised."""
    module()
    folder = tmp_path_factory.mktemp("softhsm")
    os.environ["SOFTHSM2_CONF"] = str(configuration(folder))
    return initialised(folder, "antin-tests")
