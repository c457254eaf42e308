"""Judges files for whoever asks, the command and the service alike: anchors read once, each file in its own process."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from events.errors import Refused
from services.runtime.clock import Clock
from services.verifier.model import Brought, FileReport
from services.verifier.ports import StatusFetcher
from services.verifier.sandbox import Limits, Sandbox

_CERTIFICATES = (".pem", ".crt", ".cer", ".der")


async def judge_files(
    files: Iterable[Path],
    anchors: Sequence[bytes],
    *,
    clock: Clock,
    limits: Limits | None = None,
    workers: int | None = None,
    fetcher: StatusFetcher | None = None,
) -> AsyncIterator[FileReport]:
    """Reports in the order of the files, a few judged at a time. Offline unless a fetcher is given."""
    count = workers or min(4, os.cpu_count() or 1)
    waiting: deque[asyncio.Task[FileReport]] = deque()
    async with Sandbox(limits, count) as sandbox:
        try:
            for path in files:
                judging = judge_one(sandbox, path, str(path), anchors, clock=clock, fetcher=fetcher)
                waiting.append(asyncio.create_task(judging))
                if len(waiting) >= count * 2:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def judge_one(
    sandbox: Sandbox,
    source: bytes | Path,
    name: str,
    anchors: Sequence[bytes],
    *,
    clock: Clock,
    fetcher: StatusFetcher | None = None,
    base_size: int | None = None,
) -> FileReport:
    """Judge one file; when status data are missing and can be fetched, fetch and judge once more."""
    now = clock.now()
    report = await sandbox.judge(source, file=name, anchors=anchors, now=now, base_size=base_size)
    if fetcher is None:
        return report
    needs = [need for one in report.signatures for need in one.needs]
    if not needs:
        return report
    brought = await fetcher.fetch(needs)
    if brought == Brought():
        return report
    return await sandbox.judge(
        source, file=name, anchors=anchors, now=clock.now(), brought=brought, base_size=base_size
    )


def read_anchors(place: Path) -> tuple[bytes, ...]:
    """The trusted roots (DER) in a folder or a file, PEM or DER.

    Raises:
        Refused: nothing there, or a file that holds no certificate.
    """
    if place.is_dir():
        files = sorted(each for each in place.iterdir() if each.is_file() and each.suffix.lower() in _CERTIFICATES)
    elif place.is_file():
        files = [place]
    else:
        raise _refused(f"no folder or file {place}")
    found: list[bytes] = []
    for each in files:
        raw = each.read_bytes()
        try:
            pem = b"-----BEGIN" in raw
            certificates = x509.load_pem_x509_certificates(raw) if pem else [x509.load_der_x509_certificate(raw)]
        except ValueError as fault:
            raise _refused(f"{each}, which holds no certificate") from fault
        found.extend(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    if not found:
        raise _refused(f"{place}, which holds no certificate ({', '.join(_CERTIFICATES)})")
    return tuple(dict.fromkeys(found))


def gather(places: Iterable[Path]) -> list[Path]:
    """The files named, and every PDF below the folders named, each once.

    Raises:
        Refused: a place that does not exist, or nothing to judge.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            found.update(dict.fromkeys(sorted(each for each in place.rglob("*") if each.suffix.lower() == ".pdf")))
        elif place.exists():
            found[place] = None
        else:
            raise Refused(
                "no-such-file",
                found=f"no file or folder {place}",
                expected="PDF files, or folders that hold some",
                remedy="check the path",
                status=404,
            )
    if not found:
        raise Refused(
            "nothing-to-judge",
            found="no PDF file",
            expected="PDF files, or folders that hold some",
            remedy="name the signed file",
            status=404,
        )
    return list(found)


def _refused(found: str) -> Refused:
    return Refused(
        "anchors-unusable",
        found=found,
        expected="root certificates, PEM or DER",
        remedy="name the folder of the roots that you trust",
    )
