"""Looks for a private key's parts in octets: in the memory of a process, in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

STEP = 1 << 22


def parts(key: Any) -> dict[str, bytes]:
    """32 octets of each secret number, as DER and PKCS#11 write them (big-endian) and as OpenSSL computes with them
    (little-endian limbs).
    """
    if isinstance(key, ec.EllipticCurvePrivateKey):
        secret = {"d": key.private_numbers().private_value}
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        found = key.private_numbers()
        secret = {"d": found.d, "p": found.p, "q": found.q, "dmp1": found.dmp1, "dmq1": found.dmq1, "iqmp": found.iqmp}
    sought = {}
    for name, number in secret.items():
        size = (number.bit_length() + 7) // 8
        start = max(0, size // 2 - 16)
        sought[f"{name}, big-endian"] = number.to_bytes(size, "big")[start : start + 32]
        sought[f"{name}, little-endian"] = number.to_bytes(size, "little")[start : start + 32]
    return sought


def in_process(pid: int, sought: dict[str, bytes]) -> set[str]:
    """Which of them are in the memory of the process: all that a core dump would hold, and more."""
    return _in(_memory(pid), sought)


def in_files(folder: Path, sought: dict[str, bytes]) -> set[str]:
    """Which of them are in a file below the folder."""
    return set().union(*(_in([one.read_bytes()], sought) for one in folder.rglob("*") if one.is_file()))


def _memory(pid: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            place, mode = line.split()[:2]
            if not mode.startswith("r") or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(one, 16) for one in place.split("-"))
            while start < end:
                memory.seek(start)
                try:
                    yield memory.read(min(STEP + 64, end - start))
                except OSError:
                    break
                start += STEP


def _in(pieces: Iterable[bytes], sought: dict[str, bytes]) -> set[str]:
    found: set[str] = set()
    for piece in pieces:
        found |= {name for name, value in sought.items() if name not in found and value in piece}
    return found
