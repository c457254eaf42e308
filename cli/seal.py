"""The verifier's seal where the toy outside world runs: a key in the data folder, certified by the lab's CA."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.installation import Installation
from lab.world import World
from services.runtime import certificates

_SUBJECT = {"organisation_name": "Antin Lab Verifier", "tax_code": "0100000001"}
_DAYS = 1000


async def seal_from_lab(world: World, folder: Path) -> None:
    """Make the seal of the installation in `folder`, unless it has one of this lab."""
    await asyncio.to_thread(_make, world, Installation.at(folder))


def _make(world: World, installation: Installation) -> None:
    if _is_of(world, installation.seal_chain):
        return
    # A new key each time: after a crash in between, the lab would refuse to certify the old one twice.
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    pem = request.public_bytes(Encoding.PEM).decode()
    made = world.pki.issue(f"report-seal-{secrets.token_hex(8)}", pem, "organisation", _SUBJECT, _DAYS)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _put(installation.seal_key, secret)
    _put(installation.seal_chain, (made["certificate"] + "".join(made["chain"][:-1])).encode())


def _is_of(world: World, chain: Path) -> bool:
    if not chain.exists():
        return False
    try:
        certificate = certificates.all_in(chain.read_bytes())[0]
        certificate.verify_directly_issued_by(world.pki.issuing.certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _put(place: Path, body: bytes) -> None:
    """Whole or not at all, readable by its owner alone."""
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(body)
    fresh.replace(place)
