"""Where a private key is, and where it is not: memory of processes, files, core dumps."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from services.signer.model import SigningAlgorithm
from tests.support.csc_provider import Provider, serving
from tests.support.memory import in_files, in_process, parts
from tests.support.remote import OIDS, self_signed
from tests.support.signing_child import CREDENTIAL
from tests.support.tokens import PIN, initialised

ROOT = Path(__file__).parents[2]
KEYS = {
    SigningAlgorithm.RSA_3072_PSS: lambda: rsa.generate_private_key(65537, 3072),
    SigningAlgorithm.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/PID/mem")


@asynccontextmanager
async def signing(folder: Path, kind: str, place: str, algorithm: SigningAlgorithm) -> AsyncIterator[int]:
    """A process that has signed with the key at this place."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.signing_child", kind, place, algorithm.value),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = b""
        while told != b"signed\n":  # log lines come before
            told = await asyncio.wait_for(process.stdout.readline(), 60)
            assert told, "it ended before it had signed"
        yield process.pid
    finally:
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 60) == 0


def readable(pid: int) -> None:
    """Skip where the kernel lets nobody look (Yama, or a container without the right to)."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb"):
            return
    except PermissionError:
        pytest.skip("this user may not read the memory of another process")


@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_a_key_at_a_provider_is_never_in_the_signers_memory(tmp_path, algorithm):
    """Circular 15/2025/TT-BKHCN Art 5 S2: the private key stays in its module, here that of the provider."""
    key = KEYS[algorithm]()
    async with serving(Provider()) as provider:
        provider.offer(key, self_signed(key), OIDS[algorithm])
        async with signing(tmp_path, "csc", provider.url, algorithm) as pid:
            readable(pid)
            assert provider.signed == 10
            assert in_process(pid, parts(key)) == set()
            assert in_process(os.getpid(), parts(key))  # it is where it should be, and the search would have found it
    assert in_files(tmp_path, parts(key)) == set()


@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_a_key_in_a_file_is_in_the_memory_of_the_signer_and_sealed_on_disk(tmp_path, algorithm):
    """The control of the test above, and why `file` is for trials (docs/keys.md)."""
    key = KEYS[algorithm]()
    (tmp_path / "keys").mkdir(mode=0o700)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass phrase"))
    (tmp_path / "keys" / f"{CREDENTIAL}.{algorithm.value}.p8").write_bytes(sealed)
    async with signing(tmp_path, "file", str(tmp_path / "keys"), algorithm) as pid:
        readable(pid)
        assert in_process(pid, parts(key))
    assert in_files(tmp_path, parts(key)) == set()


@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_a_key_on_a_token_is_not_found_in_memory_after_it_has_signed(tmp_path, soft_token, algorithm):
    """SoftHSM works in the signer's process: while it signs the key is there. It wipes what it has used (its
    SecureMemory), so nothing is left for a core dump. The key is known here because it was made outside and imported.
    """
    key = KEYS[algorithm]()
    token = initialised(soft_token.folder, f"imported-{algorithm.value}")
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    load = ["softhsm2-util", "--import", str(pem), "--token", token.label, "--pin", PIN]
    named = ["--label", f"{CREDENTIAL}.{algorithm.value}", "--id", CREDENTIAL.replace("-", "")]
    await asyncio.to_thread(subprocess.run, [*load, *named], check=True, capture_output=True)
    pem.unlink()
    place = f"{token.module} {token.label} {token.pin_file}"
    async with signing(tmp_path, "pkcs11", place, algorithm) as pid:
        readable(pid)
        assert in_process(pid, parts(key)) == set()
    assert in_files(soft_token.folder, parts(key)) == set()


# --- core dumps

_CRASH = """
import os, resource
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
{private}
print(__import__("ctypes").CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE), flush=True)  # PR_GET_DUMPABLE
os.abort()
"""


def crash(folder: Path, private: str) -> str:
    """What a process says before it crashes in this folder."""
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    code = _CRASH.format(private=private)
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGABRT
    return ended.stdout.decode().strip()


def test_a_crash_leaves_no_core_dump(tmp_path):
    said = crash(tmp_path / "private", "from services.runtime.memory import keep_private; keep_private()")
    assert said == "0 (0, 0)"  # both: a limit alone does not hold where core dumps are piped into a program (core(5))
    assert list((tmp_path / "private").iterdir()) == []


def test_without_that_a_crash_leaves_one(tmp_path):
    """The control."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or "|" in pattern or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("this machine's core dumps do not go to the working folder")
    said = crash(tmp_path / "open", "")
    assert said.startswith("1 ")
    assert list((tmp_path / "open").iterdir()) != []
