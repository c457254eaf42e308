"""PostgreSQL as a throw-away cluster on loopback, from the machine's own package; never run as root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tools.real.child import Child, DidNotStart, NotHere, free_port, run

USER = "postgres"
"""Whom root becomes: PostgreSQL refuses to run as root."""
CONNECTIONS = 200
READY_S = 60.0
PROGRAMS = ("initdb", "postgres", "createdb", "dropdb")
INSTALL = "sudo apt-get install postgresql"


def missing() -> list[str]:
    """What this machine lacks to run a cluster, each as found, expected, what to do; empty when nothing."""
    lacks = []
    if _programs() is None:
        lacks.append(
            f"found no folder with {', '.join(PROGRAMS)} under /usr/lib/postgresql or on PATH; "
            f"expected PostgreSQL 13 or newer; {INSTALL}"
        )
    if os.geteuid() == 0 and _account() is None:
        lacks.append(f"found no user {USER} to run as instead of root; expected one; {INSTALL}, or run as another user")
    return lacks


def _programs() -> Path | None:
    """The folder of the newest server: Debian keeps versions side by side and off PATH."""
    debian = sorted(
        (folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdigit()),
        key=lambda folder: int(folder.parent.name),
        reverse=True,
    )
    on_path = shutil.which("initdb")
    # What PATH shows may be a link to one program alone; its neighbours stand where the link leads.
    others = [Path(on_path).resolve().parent] if on_path else []
    return next((one for one in debian + others if all((one / name).exists() for name in PROGRAMS)), None)


def _account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


class Postgres:
    """One cluster in `folder`, trust authentication on 127.0.0.1, user and database `antin`; it writes through (fsync).

    Where the folder lies below one that the server's user may not enter, the data go to a folder of their own in the
    machine's temporary directory, and end with the `with` block.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.resolve()
        self._port = port or free_port()
        self._user = USER if os.geteuid() == 0 else None
        self._elsewhere: Path | None = None
        self._child = Child("PostgreSQL", self.folder / "postgres.log")
        self.start_s = 0.0

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database `antin`."""
        return self._url("antin")

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the postmaster is there."""
        return self._child.running

    @property
    def data(self) -> Path:
        """The cluster's own folder."""
        return (self._elsewhere or self.folder) / "data"

    def start(self) -> None:
        """Start on the same port and data, recovering when it was stopped hard; `start_s` says how long it took.

        Raises:
            NotHere: the programs or the user to run as are not there.
            DidNotStart: it ended or was not ready in time.
        """
        if lacks := missing():
            raise NotHere("a machine without what PostgreSQL needs", "all of it", "; ".join(lacks))
        programs = self._programs()
        fresh = not (self._place() / "data" / "PG_VERSION").exists()
        if fresh:
            run(
                [
                    *(str(programs / "initdb"), "-D", str(self.data), "-A", "trust", "-U", "antin", "-E", "UTF8"),
                    *("--no-locale", "--no-instructions"),
                ],
                what="initdb",
                timeout=120.0,
                cwd=self._at_home(),
                user=self._user,
            )
        command = [str(programs / "postgres"), "-D", str(self.data), "-p", str(self._port)]
        for setting in (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            f"max_connections={CONNECTIONS}",
            "shared_buffers=64MB",
            "fsync=on",
            "full_page_writes=on",
        ):
            command += ["-c", setting]
        for attempt in range(5):
            try:
                self.start_s = self._child.start(command, ready=self._ready, timeout=READY_S, user=self._user)
                break
            except DidNotStart as fault:
                # After a hard stop the last backend can hold the shared memory a moment longer than the postmaster.
                if attempt == 4 or "shared memory" not in str(fault):
                    raise
        if fresh:
            self.create("antin")

    def stop(self) -> None:
        """SIGINT, the fast stop: sessions end, a checkpoint is written; then SIGKILL. The data stay."""
        self._child.end(first=signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL of the postmaster and of every process it has: nothing is written any more."""
        if not self._child.running:
            return
        backends = _children(self._child.pid)
        self._child.end(first=signal.SIGKILL)
        for pid in backends:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def create(self, name: str) -> str:
        """Make an empty database, in the place of one of that name; its URL for SQLAlchemy.

        Raises:
            ValueError: not a plain name.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
            raise ValueError(f"found {name!r} as a database's name; expected small letters, digits and underscores")
        at = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "antin"]
        programs = self._programs()
        run(
            [str(programs / "dropdb"), *at, "--if-exists", "--force", name],
            what=f"dropping database {name}",
            timeout=60.0,
            cwd=self._at_home(),
            env={"PGDATABASE": "postgres"},
            user=self._user,
        )
        run(
            [str(programs / "createdb"), *at, name],
            what=f"creating database {name}",
            timeout=60.0,
            cwd=self._at_home(),
            env={"PGDATABASE": "postgres"},
            user=self._user,
        )
        return self._url(name)

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)
            self._elsewhere = None

    def environment(self) -> dict[str, str]:
        """The settings with which Antin uses the database `antin`."""
        return {"ANTIN_DATABASE__URL": self.url}

    def _url(self, name: str) -> str:
        return f"postgresql+asyncpg://antin@127.0.0.1:{self._port}/{name}"

    def _programs(self) -> Path:
        found = _programs()
        if found is None:
            raise NotHere("no PostgreSQL", "its programs", INSTALL)
        return found

    def _place(self) -> Path:
        """The folder that holds `data`, owned by the user who runs the server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        account = _account() if self._user else None
        if account is None:
            return self.folder
        if self._elsewhere is None and not _may_enter(self.folder):
            self._elsewhere = Path(tempfile.mkdtemp(prefix="antin-postgres-"))
        place = self._elsewhere or self.folder
        if place.stat().st_uid != account.pw_uid:
            os.chown(place, account.pw_uid, account.pw_gid)
        return place

    def _at_home(self) -> Path:
        """A working directory that the server's user may stand in; PostgreSQL's programs complain about others."""
        return self._elsewhere or (self.folder if self._user else Path.cwd())

    def _ready(self) -> bool:
        """The postmaster's lock file is its own and says ready on its eighth line (pidfile.h)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self._child.pid) and lines[7].strip() == "ready"


def _may_enter(folder: Path) -> bool:
    """Whether the server's user can reach the folder through all that lie above it."""
    done = subprocess.run(["test", "-x", str(folder.parent)], user=USER, cwd="/", check=False, timeout=10.0)
    return done.returncode == 0


def _children(pid: int) -> list[int]:
    """The processes whose parent is `pid`; none where the machine has no /proc: they end by themselves there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything; state and parent follow the last bracket.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found
