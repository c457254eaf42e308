"""The whole line with keys that never leave a module or a provider: certified, then used, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.signer.model import SigningAlgorithm
from tests.support import pdfs
from tests.support.csc_provider import CLIENT, PIN, SECRET, Provider, serving
from tests.support.house import house
from tests.support.judges import passes_at_pyhanko
from tests.support.remote import OIDS, ec_key, self_signed
from tests.support.tokens import SoftToken


def _file(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


async def _one_signs(tmp_path: Path, environment: dict[str, str], allow: list[str]) -> bytes:
    async with house(tmp_path, environment, allow) as at:
        signed = await at.signed(pdfs.minimal(), [await at.citizen(1)])
        assert await passes_at_pyhanko(signed, at.world.pki.root.der) == 1
        assert list((tmp_path / "data" / "keys").iterdir()) == []
    return signed


@pytest.mark.timeout(300)
async def test_keys_in_a_module(tmp_path: Path, soft_token: SoftToken) -> None:
    environment = {
        "ANTIN_SIGNER__KEYS": "pkcs11",
        "ANTIN_SIGNER__PKCS11_MODULE": str(soft_token.module),
        "ANTIN_SIGNER__PKCS11_TOKEN": soft_token.label,
        "ANTIN_SIGNER__PKCS11_PIN_FILE": str(soft_token.pin_file),
    }
    await _one_signs(tmp_path, environment, [])


@pytest.mark.timeout(300)
async def test_keys_at_a_provider(tmp_path: Path) -> None:
    """The provider signs the request for the certificate (proof of possession) and then the document, once each."""
    async with serving(Provider()) as provider:
        key = ec_key()
        provider.offer(key, self_signed(key), OIDS[SigningAlgorithm.P256])
        environment = {
            "ANTIN_SIGNER__KEYS": "csc",
            "ANTIN_SIGNER__PROVIDER_URL": provider.url,
            "ANTIN_SIGNER__PROVIDER_CLIENT": CLIENT,
            "ANTIN_SIGNER__PROVIDER_SECRET_FILE": _file(tmp_path / "client-secret", SECRET),
            "ANTIN_SIGNER__PROVIDER_PIN_FILE": _file(tmp_path / "pin", PIN),
        }
        await _one_signs(tmp_path, environment, [provider.url.removeprefix("http://").partition("/")[0]])
        assert provider.signed == 2
