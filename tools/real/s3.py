"""An S3 server on loopback: versitygw, built by Go from a pinned version; else the moto server, said aloud."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType

from tools.real.child import Child, NotHere, cache, fetching, free_port, run, say

VERSION = "v1.8.0"
MODULE = "github.com/versity/versitygw"
SUM = "h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="
"""Go's checksum of the module's source (`go.sum`); the binary carries it, and is refused with another one."""
MOTO_LOCK = Path(__file__).parents[2] / "requirements" / "moto.lock"
REGION = "us-east-1"
READY_S = 30.0


def missing() -> list[str]:
    """What this machine lacks to run an S3 server, each as found, expected, what to do; empty when nothing."""
    if _gateway().exists() or shutil.which("go") is not None or MOTO_LOCK.exists():
        return []
    return [
        f"found neither {_gateway()} nor go nor {MOTO_LOCK.name}; expected one of them; sudo apt-get install golang-go"
    ]


def fetch() -> list[str]:
    """The command of an S3 server: versitygw, built once; else moto in an environment of its own, said aloud.

    Raises:
        NotHere: neither can be had.
    """
    with fetching("s3"):
        try:
            return [str(_versitygw())]
        except NotHere as fault:
            say(f"versitygw cannot be had ({fault}).")
            say("Using the moto server in its place: a model of S3, not an S3 server; it keeps nothing over a restart.")
            return [str(_moto())]


def _gateway() -> Path:
    return cache() / f"versitygw-{VERSION}" / "versitygw"


def _versitygw() -> Path:
    program = _gateway()
    if program.exists():
        return program
    if shutil.which("go") is None:
        raise NotHere("no go", f"Go, to build versitygw {VERSION}", "sudo apt-get install golang-go")
    say(f"Building versitygw {VERSION} with Go into {program.parent} (2 to 3 minutes, once) ...")
    fresh = program.parent.with_name(f"{program.parent.name}.fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    run(
        ["go", "install", "-trimpath", f"{MODULE}/cmd/versitygw@{VERSION}"],
        what="building versitygw",
        timeout=1200.0,
        env={"GOBIN": str(fresh), "CGO_ENABLED": "0"},
    )
    said = run(["go", "version", "-m", str(fresh / "versitygw")], what="reading the build", timeout=30.0)
    if f"mod\t{MODULE}\t{VERSION}\t{SUM}" not in said:
        raise NotHere(f"a versitygw whose source is not that of {VERSION}", SUM, "do not run it; see who changed it")
    shutil.rmtree(program.parent, ignore_errors=True)
    fresh.rename(program.parent)
    say("Built, from the source that its checksum names.")
    return program


def _moto() -> Path:
    program = cache() / "moto" / "bin" / "moto_server"
    if program.exists():
        return program
    if not MOTO_LOCK.exists():
        raise NotHere("no S3 server", f"versitygw, or {MOTO_LOCK.name} to install moto from", "install Go and repeat")
    say(f"Installing the moto server into {program.parents[1]} ...")
    shutil.rmtree(program.parents[1], ignore_errors=True)
    run([sys.executable, "-m", "venv", str(program.parents[1])], what="making an environment", timeout=120.0)
    run(
        [
            *(str(program.with_name("python")), "-m", "pip", "install", "-q", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "-r", str(MOTO_LOCK)),
        ],
        what="installing moto",
        timeout=600.0,
    )
    return program


class S3:
    """One server with one bucket; the bucket's objects are files in `folder`."""

    bucket = "antin"
    region = REGION

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.resolve()
        (self.folder / "buckets" / self.bucket).mkdir(parents=True, exist_ok=True)
        self._port = port or free_port()
        self._child = Child("the S3 server", self.folder / "s3.log")
        self.access_key = "antin"
        self.name = ""
        self.start_s = 0.0
        if not self.secret_file.exists():
            self.secret_file.touch(mode=0o600)
            self.secret_file.write_text(secrets.token_urlsafe(24))

    @property
    def endpoint(self) -> str:
        """The server's URL; plain HTTP, on loopback."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def secret_file(self) -> Path:
        """The file, mode 0600, of the secret key."""
        return self.folder / "s3-secret"

    @property
    def secret(self) -> str:
        """The secret key, random for each folder."""
        return self.secret_file.read_text().strip()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._child.running

    def start(self) -> None:
        """Start on the same port and files, and wait until it answers; `start_s` says how long it took.

        Raises:
            NotHere: no S3 server can be had.
            DidNotStart: it ended or was not ready in time.
        """
        command = fetch()
        self.name = Path(command[0]).name
        if self.name == "versitygw":
            command += ["--port", f"127.0.0.1:{self._port}", "--region", REGION, "--quiet", "--keep-alive", "posix"]
            command += [*_beside(self.folder), str(self.folder / "buckets")]
        else:
            command += ["-H", "127.0.0.1", "-p", str(self._port)]
        self.start_s = self._child.start(
            command,
            ready=self._answers,
            timeout=READY_S,
            env={"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret},
        )
        if self.name != "versitygw":
            self._ask("PUT", f"/{self.bucket}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; the files stay."""
        self._child.end()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._child.end(first=signal.SIGKILL)

    def __enter__(self) -> S3:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """The settings with which Antin keeps its files in the bucket."""
        return {
            "ANTIN_BLOBS__BUCKET": self.bucket,
            "ANTIN_BLOBS__ENDPOINT": self.endpoint,
            "ANTIN_BLOBS__REGION": self.region,
            "ANTIN_BLOBS__ACCESS_KEY": self.access_key,
            "ANTIN_BLOBS__SECRET_FILE": str(self.secret_file),
        }

    def _answers(self) -> bool:
        try:
            return self._ask("GET", "/") > 0
        except (OSError, http.client.HTTPException):
            return False

    def _ask(self, method: str, path: str) -> int:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5.0)
        try:
            line.request(method, path)
            return line.getresponse().status
        finally:
            line.close()


def _beside(folder: Path) -> list[str]:
    """Where metadata go when the file system keeps no extended attributes."""
    try:
        os.setxattr(folder, "user.antin", b"1")
    except (OSError, AttributeError):
        side = folder / "metadata"
        side.mkdir(exist_ok=True)
        return ["--sidecar", str(side)]
    return []
