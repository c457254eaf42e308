"""Secrets at rest: AES-256-GCM with a key that is not in the database.

A webhook's secret must be known to sign with it, so it cannot be a digest; in clear it would let everybody who reads a
backup of the database speak in our name. The subscription's id is authenticated with it, so a sealed secret cannot be
moved to another subscription.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.errors import Malformed, Unavailable
from events.values import SubscriptionId
from services.runtime.settings import secret as secret_text

_NONCE = 12


class SealingKey:
    """The keys of the key file, one a line in base64: the first closes, all of them open (so keys can be renewed)."""

    def __init__(self, keys: list[bytes]) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise Malformed(
                "sealing-key-invalid",
                found="a sealing key that is not 32 octets, or none",
                expected="URL-safe base64 of 32 random octets, one key a line",
                remedy="restore the key file; with a new one, every webhook needs a new secret",
            )
        self._ciphers = [AESGCM(key) for key in keys]

    @classmethod
    def at(cls, path: Path) -> SealingKey:
        """Read the key file; make it, with mode 0600, when there is none.

        Raises:
            Malformed: unreadable, readable by others, or not of its form.
        """
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(handle, "wb") as file:
                    file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
        try:
            keys = [base64.b64decode(line, altchars=b"-_", validate=True) for line in secret_text(path).split()]
        except ValueError:
            keys = []
        return cls(keys)

    def close(self, subscription: SubscriptionId, secret: str) -> bytes:
        """The secret, readable only with the key and only for this subscription."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._ciphers[0].encrypt(nonce, secret.encode(), subscription.encode())

    def open(self, subscription: SubscriptionId, sealed: bytes) -> str:
        """The secret again.

        Raises:
            Unavailable: sealed with a key that is not in the key file, or for another subscription.
        """
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], subscription.encode()).decode()
            except (InvalidTag, ValueError):
                continue
        raise Unavailable(
            "webhook-secret-sealed",
            found="a webhook secret that no key in the key file opens",
            expected="the key it was sealed with",
            remedy="restore the key file, or rotate the secret of this webhook",
        )
