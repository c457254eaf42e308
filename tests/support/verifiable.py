"""A running verifier with a small PKI, and one file for each answer that it can give."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from services.runtime.access import Keyring
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, running
from services.verifier.settings import VerifierSettings
from services.verifier.wiring import build

sys.path.insert(0, str(Path(__file__).parent))

import pdfs
from forge import Forge, with_store


@dataclass(frozen=True)
class Files:
    """One file for each answer."""

    root: bytes
    seal: tuple[bytes, bytes]
    """A key and its certificates (PEM), to seal reports with."""
    passed: bytes
    two: bytes
    changed: bytes
    broken: bytes
    undetermined: bytes
    unsigned: bytes
    nonsense: bytes


def repainted(pdf: bytes, text: str) -> bytes:
    """The same file with another text on its first page, as a later revision."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    page = writer.root["/Pages"]["/Kids"][0]
    stream = generic.StreamObject(stream_data=f"BT /F1 12 Tf 20 20 Td ({text}) Tj ET".encode())
    page[generic.NameObject("/Contents")] = writer.add_object(stream)
    writer.update_container(page)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@cache
def files() -> Files:
    """Signed by people of one root; times are now."""
    forge = Forge()
    thao, an = forge.signer(), forge.signer("Trần Văn An")
    base = pdfs.good()["typst-pdfa"]
    once = forge.sign(base, thao, timestamp="ok")
    twice = forge.sign(once, an, slot="seller", timestamp="ok")
    plain = forge.sign(pdfs.minimal("Rent: 900"), thao, timestamp="ok")
    at = once.index(b"/Contents<") + 400 if b"/Contents<" in once else once.index(b"stream") + 12
    return Files(
        root=forge.world.root.der,
        seal=_seal(forge),
        passed=forge.stamp(with_store(once, forge.evidence())),
        two=forge.stamp(with_store(twice, forge.evidence())),
        changed=repainted(plain, "Rent: 9000"),
        broken=once[: at - 380] + bytes([once[at - 380] ^ 1]) + once[at - 379 :],
        undetermined=once,
        unsigned=base,
        nonsense=b"hello",
    )


def _seal(forge: Forge) -> tuple[bytes, bytes]:
    owner = forge.signer("Dấu của đơn vị kiểm tra")
    key = owner.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = (owner.certificate, forge.world.issuing.certificate)
    return key, b"".join(one.public_bytes(Encoding.PEM) for one in chain)


@dataclass
class Verifier:
    """A running verifier."""

    url: str
    files: Files


@asynccontextmanager
async def verifier(folder: Path, *, seal: bool = False, **settings: object) -> AsyncIterator[Verifier]:
    """Runs it on loopback until the block ends; its store of files is the folder `blobs`."""
    found = files()
    if seal:
        key, chain = folder / "seal.key", folder / "seal.pem"
        key.touch(mode=0o600)
        key.write_bytes(found.seal[0])
        chain.write_bytes(found.seal[1])
        settings |= {"seal_key_file": key, "seal_chain_file": chain}
    anchors = folder / "anchors"
    anchors.mkdir()
    (anchors / "root.cer").write_bytes(found.root)
    platform = Platform(
        Database(f"sqlite+aiosqlite:///{folder / 'v.db'}"), Blobs.at(folder / "blobs"), Outbound(allowed=())
    )
    service = build(platform, VerifierSettings.model_validate({"anchors": anchors, **settings}))
    async with running(platform, [service], keyring=Keyring([])) as url:
        yield Verifier(url, found)
