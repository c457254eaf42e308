"""A data folder: its database, files, keys and secrets, made at the first start and found again at the next."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from joserfc.jwk import ECKey
from pydantic import Field

from events.errors import Malformed
from events.kafka import Broker
from services.runtime.access import ApiKey, Keyring, digest_of, new_key
from services.runtime.blobs import Blobs
from services.runtime.settings import Settings, from_environment, secret

OPERATOR_SCOPES = (
    "applications:read",
    "applications:write",
    "batches:write",
    "contracts:read",
    "contracts:write",
    "metrics:read",
    "reports:read",
    "timeline:read",
    "webhooks:read",
    "webhooks:write",
)
SERVICE_SCOPES = ("credentials:write", "credentials:read")


class Outside(Settings):
    """Where the outside world is: ANTIN_OUTSIDE__<NAME>."""

    authority: str = Field(description="issuer of identity events and activations")
    jwks: str = Field(description="URL of the authority's JWK Set (RFC 7517)")
    ca: str = Field(description="base URL of the CA's API")
    tsa: str | tuple[str, ...] = Field(description="URL of the RFC 3161 timestamp authority, or several in order")
    registry: str = Field(description="base URL of the enterprise registry")
    anchors: Path = Field(description="folder of trusted roots, PEM or DER")
    ra_token_file: Path = Field(description="file with the registration authority's bearer token, mode 0600")
    allow: str = Field("", description="inner host:port pairs that may be called, separated by commas")

    @property
    def allowed(self) -> tuple[str, ...]:
        """The inner `host:port` pairs."""
        return tuple(part.strip() for part in self.allow.split(",") if part.strip())


class DatabasePlace(Settings):
    """The database of every process: ANTIN_DATABASE__<NAME>. Without a URL: SQLite in the data folder."""

    url: str = Field("", description="postgresql+asyncpg://user@host:port/name; without it SQLite in the data folder")
    password_file: Path | None = Field(None, description="file with the database user's password, mode 0600")

    def resolved(self, folder: Path) -> str:
        """The URL to connect with."""
        if not self.url:
            return f"sqlite+aiosqlite:///{folder / 'antin.db'}"
        url = sa.make_url(self.url)
        if self.password_file is not None:
            url = url.set(password=secret(self.password_file))
        return url.render_as_string(hide_password=False)


class BlobsPlace(Settings):
    """Where documents are kept: ANTIN_BLOBS__<NAME>. Without a bucket: files in the data folder."""

    bucket: str = Field("", description="S3 bucket; without it files in the data folder")
    endpoint: str | None = Field(None, description="URL of the S3 server; without it AWS")
    region: str = Field("us-east-1", description="S3 region")
    prefix: str | None = Field(None, description="begins every object's name")
    access_key: str = Field("", description="S3 access key id")
    secret_file: Path | None = Field(None, description="file with the S3 secret access key, mode 0600")

    def opened(self, folder: Path) -> Blobs:
        """The store."""
        if not self.bucket:
            return Blobs.at(folder / "blobs")
        return Blobs.in_bucket(
            self.bucket,
            endpoint=self.endpoint,
            region=self.region,
            prefix=self.prefix,
            access_key=self.access_key,
            secret=secret(self.secret_file) if self.secret_file is not None else "",
        )


class KafkaPlace(Settings):
    """Apache Kafka: ANTIN_KAFKA__<NAME>. Without a bootstrap: the embedded bus."""

    bootstrap: str = Field("", description="host:port pairs, separated by commas; without it the embedded bus")
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="security protocol"
    )
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = Field("SCRAM-SHA-512", description="SASL mechanism")
    username: str | None = Field(None, description="SASL user")
    password_file: Path | None = Field(None, description="file with the SASL password, mode 0600")
    ca_file: Path | None = Field(None, description="trusted roots of the broker, PEM; without it the machine's")
    replication: int = Field(1, ge=1, le=9, description="copies of each topic: 3 where there are three brokers")
    instance: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]{1,36}$",
        description="name of this process among its group over restarts (static membership), else none",
    )

    def broker(self) -> Broker | None:
        """The broker, if there is one.

        Raises:
            Malformed: SASL without its user or password.
        """
        if not self.bootstrap:
            return None
        if self.security.startswith("SASL") and (not self.username or self.password_file is None):
            raise Malformed(
                "settings-invalid",
                found=f"{self.security} without a user or a password file",
                expected="ANTIN_KAFKA__USERNAME and ANTIN_KAFKA__PASSWORD_FILE",
                remedy="set both, or another ANTIN_KAFKA__SECURITY",
            )
        password = secret(self.password_file) if self.password_file is not None else None
        values = self.model_dump(exclude={"password_file"})
        return Broker(**values, password=password)


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
    def api_key(self) -> str:
        """The operator's bearer key."""
        return (self.secrets / "api-key").read_text().strip()

    @property
    def service_key(self) -> str:
        """The bearer key with which services call each other."""
        return (self.secrets / "service-key").read_text().strip()

    @property
    def seal_key(self) -> Path:
        """The private key of the seal on PDF reports, where this installation has one."""
        return self.secrets / "report-seal.key"

    @property
    def seal_chain(self) -> Path:
        """The certificates of that seal."""
        return self.secrets / "report-seal.pem"

    def seal(self, tsa: str | tuple[str, ...]) -> dict[str, object]:
        """The verifier's settings for the seal, with the first authority; none where there is no seal."""
        if not self.seal_chain.exists():
            return {}
        first = tsa if isinstance(tsa, str) else tsa[0]
        return {"seal_key_file": self.seal_key, "seal_chain_file": self.seal_chain, "seal_tsa": first}

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
