"""The file key store: made once, sealed, opened by the passphrase alone, moved by a permit alone."""

from __future__ import annotations

import asyncio
import stat
import uuid

import pytest
from pydantic import SecretStr

from events.errors import Refused, Unavailable
from events.values import CredentialId
from services.signer.adapters.file_keys import FileKeys
from services.signer.model import SigningAlgorithm
from tests.support.permits import permit

ONE = CredentialId(str(uuid.UUID(int=1)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def keys(folder):
    return FileKeys(folder, SecretStr("pass phrase"))


async def test_creating_again_gives_the_same_key(keys, folder):
    first, second = await asyncio.gather(
        keys.create(ONE, SigningAlgorithm.P256), keys.create(ONE, SigningAlgorithm.P256)
    )
    again = await FileKeys(folder, SecretStr("pass phrase")).create(ONE, SigningAlgorithm.P256)
    assert first == second == again
    assert len(list(folder.iterdir())) == 1


async def test_two_processes_that_race_get_one_key(folder):
    stores = [FileKeys(folder, SecretStr("pass phrase")) for _ in range(4)]
    made = await asyncio.gather(*(store.create(ONE, SigningAlgorithm.P256) for store in stores))
    assert len(set(made)) == 1


async def test_files_are_sealed_and_private(keys, folder):
    await keys.create(ONE, SigningAlgorithm.P256)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


async def test_a_wrong_passphrase_says_so_and_not_what_it_was(keys, folder):
    await keys.create(ONE, SigningAlgorithm.P256)
    with pytest.raises(Unavailable, match="key-passphrase") as found:
        await FileKeys(folder, SecretStr("sesame open")).sign(permit(ONE, SigningAlgorithm.P256))
    assert "sesame" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"])
async def test_a_damaged_file_says_so_and_is_not_replaced(keys, folder, content):
    await keys.create(ONE, SigningAlgorithm.P256)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    fresh = FileKeys(folder, SecretStr("pass phrase"))
    with pytest.raises(Unavailable, match="key-file-damaged"):
        await fresh.create(ONE, SigningAlgorithm.P256)
    assert file.read_bytes() == content


async def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(Unavailable, match="key-store-write"):
        await FileKeys(blocked / "keys", SecretStr("x")).create(ONE, SigningAlgorithm.P256)


def test_an_empty_passphrase_is_refused(folder):
    with pytest.raises(Refused, match="key-passphrase-empty"):
        FileKeys(folder, SecretStr(""))
