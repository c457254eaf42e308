"""The notifier alone in a process, to be killed: `python -m tests.support.notifier_process FOLDER HOST:PORT,...`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.notifier.settings import NotifierSettings
from services.notifier.wiring import build
from services.runtime.access import Keyring
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running


async def main(folder: Path, allowed: str) -> None:
    """Run until killed."""
    platform = Platform(
        Database(f"sqlite+aiosqlite:///{folder / 'antin.db'}"),
        Blobs.at(folder / "blobs"),
        Outbound(allowed=allowed.split(",")),
    )
    settings = NotifierSettings(key_file=folder / "key", schedule=(0.05,) * 20, poll=0.05, timeout=5)
    async with running(platform, [build(platform, settings)], keyring=Keyring([])):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
