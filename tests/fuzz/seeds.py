"""The signed PDFs that mutants are made of, from many producers and at every level, and what each signer signed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from cryptography.hazmat.primitives.asymmetric import rsa
from forge import Forge, with_store
from pyhanko.sign.fields import SigSeedSubFilter

from services.verifier.model import Brought

LARGEST = 150_000
"""Octets; larger files only slow the search down."""
RANGE = re.compile(rb"/ByteRange\s*\[\s*(\d{1,15})\s+(\d{1,15})\s+(\d{1,15})\s+(\d{1,15})\s*\]")
VECTORS = Path(__file__).parents[1] / "vectors" / "fuzz"
_CORPUS = Path(os.environ.get("ANTIN_SHARED", Path(__file__).parents[3] / "shared")) / "corpus" / "files"


@dataclass(frozen=True)
class Signed:
    """What one signer signed: SHA-256 of the bytes, and octets that any true copy of the value must hold."""

    content: str
    value: bytes


@dataclass(frozen=True)
class Seeds:
    """The files by name, and what they are judged with."""

    files: dict[str, bytes]
    anchors: tuple[bytes, ...]
    brought: Brought
    now: datetime

    def signed(self) -> dict[str, Signed]:
        """Everything that anybody signed in any of the files, by the digest of the content."""
        return {one.content: one for data in self.files.values() for one in originals(data)}


def originals(data: bytes) -> list[Signed]:
    """Each signed content of a file that nobody has touched yet, found without any PDF reader."""
    found = []
    for match in RANGE.finditer(data):
        content = covered(data, match)
        if content is not None:
            found.append(Signed(hashlib.sha256(content).hexdigest(), _value(gap(data, match))))
    return found


def covered(data: bytes, match: re.Match[bytes]) -> bytes | None:
    """The bytes that a /ByteRange names; none when they do not lie in the file."""
    start, first, second, rest = map(int, match.groups())
    if start + first > second or second + rest > len(data):
        return None
    return data[start : start + first] + data[second : second + rest]


def gap(data: bytes, match: re.Match[bytes]) -> bytes:
    """The hex string between the two ranges, decoded as far as it is hex."""
    start, first, second, _ = map(int, match.groups())
    digits = re.sub(rb"[^0-9A-Fa-f]", b"", data[start + first : second])
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())


def _value(contents: bytes) -> bytes:
    """The signature value within the CMS; empty when it cannot be told (raw PKCS#1 values)."""
    from asn1crypto import cms

    try:
        info = cms.ContentInfo.load(contents)["content"]["signer_infos"][0]
        return bytes(info["signature"].native)
    except (ValueError, KeyError, TypeError, IndexError):
        return b""


def make() -> Seeds:
    """Sign what many producers write, at every level, by one small PKI."""
    forge = Forge()
    signer = forge.signer()
    rsa_signer = forge.signer("Trần Văn An", key=rsa.generate_private_key(65537, 2048))
    brought = forge.evidence()
    files: dict[str, bytes] = {}
    for index, (name, pdf) in enumerate(sorted(pdfs.good().items())):
        if len(pdf) > LARGEST:
            continue
        files[f"{name}-t"] = forge.sign(pdf, (signer, rsa_signer)[index % 2], timestamp="ok")
        if index % 3 == 0:
            lta = forge.stamp(with_store(files[f"{name}-t"], brought))
            files[f"{name}-lta"] = lta
    plain = pdfs.minimal()
    files["b"] = forge.sign(plain, signer)
    files["b-rsa"] = forge.sign(plain, rsa_signer)
    files["detached"] = forge.sign(plain, signer, sub_filter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED, ess=None)
    files["no-attributes"] = forge.sign(
        plain, rsa_signer, sub_filter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED, attributes=False
    )
    files["two"] = forge.sign(files["b"], rsa_signer, slot="seller", timestamp="ok")
    files["three-lta"] = forge.stamp(with_store(forge.sign(files["two"], signer, slot="third"), brought))
    return Seeds(files, tuple(forge.anchors), brought, forge.now)


def corpus() -> dict[str, bytes]:
    """The public signed files that are at hand, if any."""
    if not _CORPUS.is_dir():
        return {}
    found = {f"corpus-{path.name[:12]}": path.read_bytes() for path in sorted(_CORPUS.iterdir()) if path.is_file()}
    return {name: data for name, data in found.items() if len(data) <= LARGEST}


def kept(folder: Path) -> Seeds:
    """The seeds of this folder, made when it is empty: with them and a number, every mutant can be made again."""
    index = folder / "seeds.json"
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        seeds = make()
        for name, data in seeds.files.items():
            (folder / f"{name}.pdf").write_bytes(data)
        index.write_text(json.dumps(_written(seeds), indent=1) + "\n")
    seeds = read(folder)
    return replace(seeds, files={**seeds.files, **corpus()})


def read(folder: Path) -> Seeds:
    """The seeds of a folder, as they were written there."""
    said = json.loads((folder / "seeds.json").read_text())
    return Seeds(
        {name: (folder / f"{name}.pdf").read_bytes() for name in said["files"]},
        tuple(base64.b64decode(one) for one in said["anchors"]),
        Brought(crls=tuple(base64.b64decode(one) for one in said["crls"])),
        datetime.fromisoformat(said["now"]),
    )


def _written(seeds: Seeds) -> dict[str, Any]:
    return {
        "files": sorted(seeds.files),
        "anchors": [base64.b64encode(one).decode() for one in seeds.anchors],
        "crls": [base64.b64encode(one).decode() for one in seeds.brought.crls],
        "now": seeds.now.isoformat(),
    }
