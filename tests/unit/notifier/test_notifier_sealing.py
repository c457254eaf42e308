"""A secret in the database is readable only with the key file, and only for its own subscription."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from events.errors import Malformed, Unavailable
from events.values import SubscriptionId
from events.webhooks import new_secret
from services.notifier.adapters.sealing import SealingKey

ONE = SubscriptionId("00000000-0000-4000-8000-000000000001")
OTHER = SubscriptionId("00000000-0000-4000-8000-000000000002")


def test_a_sealed_secret_opens_again_after_a_restart(tmp_path: Path) -> None:
    secret = new_secret()
    sealed = SealingKey.at(tmp_path / "key").close(ONE, secret)
    assert secret.encode() not in sealed
    assert SealingKey.at(tmp_path / "key").open(ONE, sealed) == secret
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_sealed_secret_cannot_be_moved_to_another_subscription(tmp_path: Path) -> None:
    key = SealingKey.at(tmp_path / "key")
    with pytest.raises(Unavailable, match="no key in the key file opens"):
        key.open(OTHER, key.close(ONE, new_secret()))


def test_a_changed_octet_is_noticed(tmp_path: Path) -> None:
    key = SealingKey.at(tmp_path / "key")
    sealed = bytearray(key.close(ONE, new_secret()))
    sealed[-1] ^= 1
    with pytest.raises(Unavailable):
        key.open(ONE, bytes(sealed))
    with pytest.raises(Unavailable):
        key.open(ONE, b"")


def test_a_key_can_be_renewed_without_new_secrets(tmp_path: Path) -> None:
    """The first line closes, every line opens."""
    path = tmp_path / "key"
    secret = new_secret()
    sealed = SealingKey.at(path).close(ONE, secret)
    path.write_text(Fernet.generate_key().decode() + "\n" + path.read_text())
    renewed = SealingKey.at(path)
    assert renewed.open(ONE, sealed) == secret
    path.write_text(path.read_text().splitlines()[0])
    assert SealingKey.at(path).open(ONE, renewed.close(ONE, secret)) == secret
    with pytest.raises(Unavailable):
        SealingKey.at(path).open(ONE, sealed)


@pytest.mark.parametrize("text", ["", "short", "AAAA", "!" * 44])
def test_a_bad_key_file_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Malformed):
        SealingKey.at(path)


def test_a_key_file_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(Fernet.generate_key().decode())
    path.chmod(0o644)
    with pytest.raises(Malformed, match="others can read"):
        SealingKey.at(path)
