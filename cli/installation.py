"""A data folder: its database, files, keys and secrets, made at the first start and found again at the next."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from pydantic import Field

from services.runtime.access import ApiKey, Keyring, digest_of, new_key
from services.runtime.settings import Settings, from_environment

OPERATOR_SCOPES = (
    "applications:read",
    "applications:write",
    "contracts:read",
    "contracts:write",
    "reports:read",
    "webhooks:read",
    "webhooks:write",
)
SERVICE_SCOPES = ("credentials:write", "credentials:read")


class Outside(Settings):
    """Where the outside world is: ANTIN_OUTSIDE__<NAME>."""

    authority: str = Field(description="issuer of identity events and activations")
    jwks: str = Field(description="URL of the authority's JWK Set (RFC 7517)")
    ca: str = Field(description="base URL of the CA's API")
    tsa: str = Field(description="URL of the RFC 3161 timestamp authority")
    registry: str = Field(description="base URL of the enterprise registry")
    anchors: Path = Field(description="folder of trusted roots, PEM or DER")
    ra_token_file: Path = Field(description="file with the registration authority's bearer token, mode 0600")
    allow: str = Field("", description="inner host:port pairs that may be called, separated by commas")

    @property
    def allowed(self) -> tuple[str, ...]:
        """The inner `host:port` pairs."""
        return tuple(part.strip() for part in self.allow.split(",") if part.strip())


def outside_from_environment(environment: Mapping[str, str] | None = None) -> Outside:
    """The outside world as the environment says.

    Raises:
        Malformed: something is missing or does not fit; all of it in one message.
    """
    return from_environment(Outside, "outside", environment)


@dataclass(frozen=True)
class Installation:
    """The folder and what lies in it."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Installation:
        """Make what is missing; nothing that exists is touched."""
        found = cls(folder)
        for place in (folder, found.secrets, found.keys):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o700)
        _once(found.secrets / "api-key", new_key)
        _once(found.secrets / "service-key", new_key)
        _once(found.secrets / "keystore-passphrase", lambda: secrets.token_urlsafe(32))
        _once(found.secrets / "identity-key.jwk", _new_recipient_key)
        return found

    @property
    def secrets(self) -> Path:
        """Folder of the secrets, each a file with mode 0600."""
        return self.folder / "secrets"

    @property
    def keys(self) -> Path:
        """Folder of the encrypted signing keys."""
        return self.folder / "keys"

    @property
    def database_url(self) -> str:
        """The embedded database."""
        return f"sqlite+aiosqlite:///{self.folder / 'antin.db'}"

    @property
    def api_key(self) -> str:
        """The operator's bearer key."""
        return (self.secrets / "api-key").read_text().strip()

    @property
    def service_key(self) -> str:
        """The bearer key with which services call each other."""
        return (self.secrets / "service-key").read_text().strip()

    def recipient_jwk(self) -> dict[str, Any]:
        """The public key to which the authority encrypts personal data."""
        key = ECKey.import_key(json.loads((self.secrets / "identity-key.jwk").read_text()))
        return dict(key.as_dict(private=False))

    def keyring(self) -> Keyring:
        """Who may call."""
        return Keyring(
            (
                ApiKey(name="operator", sha256=digest_of(self.api_key), scopes=OPERATOR_SCOPES),
                ApiKey(name="service", sha256=digest_of(self.service_key), scopes=SERVICE_SCOPES),
            )
        )


def _new_recipient_key() -> str:
    key = ECKey.generate_key("P-256", {"use": "enc", "alg": "ECDH-ES+A256KW"})
    key.ensure_kid()
    return json.dumps(key.as_dict(private=True))


def _once(path: Path, make: Any) -> None:
    """Write a secret unless it exists: complete or not at all, readable by its owner alone."""
    if path.exists():
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(make() + "\n")
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
