"""Every service in one process on SQLite and files: the composition root of the embedded default."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.installation import Installation, Outside
from events.errors import Malformed
from services.ca_bridge import wiring as ca_bridge
from services.ca_bridge.settings import CaBridgeSettings
from services.contracts import wiring as contracts
from services.contracts.settings import ContractsSettings
from services.notifier import wiring as notifier
from services.notifier.settings import NotifierSettings
from services.runtime.blobs import Blobs
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.process import Platform, Service, running, sole_user
from services.runtime.settings import PREFIX, from_environment
from services.runtime.web import Route
from services.signer import wiring as signer
from services.signer.settings import SignerSettings
from services.verifier import wiring as verifier
from services.verifier.settings import VerifierSettings

SERVICES = ("ca_bridge", "contracts", "notifier", "signer", "verifier")


@dataclass(frozen=True)
class Embedded:
    """A running installation."""

    url: str
    platform: Platform
    installation: Installation


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compose(
    installation: Installation,
    outside: Outside,
    port: int,
    *,
    allow: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[Platform, list[Service]]:
    """The platform and its services, not yet started. `allow`: further inner `host:port` pairs that may be called.

    Raises:
        Malformed: settings that are unknown or do not fit, or secrets that cannot be read.
    """
    environment = dict(os.environ if environment is None else environment)
    _no_strangers(environment)
    url = f"http://127.0.0.1:{port}"
    platform = Platform(
        Database(installation.database_url),
        Blobs.at(installation.folder / "blobs"),
        Outbound(allowed=(*outside.allowed, *allow, f"127.0.0.1:{port}")),
    )
    authority = {"authority": outside.authority, "authority_jwks": outside.jwks}
    services = [
        ca_bridge.build(
            platform,
            from_environment(
                CaBridgeSettings,
                "ca_bridge",
                environment,
                authority=outside.authority,
                jwks=outside.jwks,
                identity_key_file=installation.secrets / "identity-key.jwk",
                ca=outside.ca,
                ra_token_file=outside.ra_token_file,
                registry=outside.registry,
                signer=url,
                service_key_file=installation.secrets / "service-key",
                anchors=outside.anchors,
            ),
        ),
        contracts.build(platform, from_environment(ContractsSettings, "contracts", environment, **authority)),
        signer.build(
            platform,
            from_environment(
                SignerSettings,
                "signer",
                environment,
                keys=installation.keys,
                passphrase_file=installation.secrets / "keystore-passphrase",
                anchors=outside.anchors,
                tsa=outside.tsa,
                **authority,
            ),
        ),
        verifier.build(platform, from_environment(VerifierSettings, "verifier", environment, anchors=outside.anchors)),
        notifier.build(
            platform,
            from_environment(NotifierSettings, "notifier", environment, key_file=installation.secrets / "webhook-key"),
        ),
    ]
    return platform, services


@asynccontextmanager
async def embedded(
    folder: Path,
    outside: Outside,
    *,
    port: int = 0,
    allow: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Embedded]:
    """Run everything in `folder` until the block ends.

    Raises:
        Refused: another process works in this folder.
        Malformed: settings or secrets.
    """
    installation = Installation.at(folder)
    with sole_user(folder):
        port = port or free_port()
        platform, services = compose(installation, outside, port, allow=allow, environment=environment)
        async with running(platform, services, keyring=installation.keyring(), port=port) as url:
            yield Embedded(url, platform, installation)


def _no_strangers(environment: Mapping[str, str]) -> None:
    """Names that no service knows are mistakes, and are said, all at once."""
    known = tuple(f"{PREFIX}{name.upper()}__" for name in (*SERVICES, "outside"))
    own = (f"{PREFIX}SHARED", f"{PREFIX}POSTGRES")  # read by tests
    strangers = sorted(
        name for name in environment if name.startswith(PREFIX) and not name.startswith(known) and name not in own
    )
    if strangers:
        raise Malformed(
            "settings-unknown",
            found=f"{', '.join(strangers)} in the environment",
            expected=f"names that begin with {', '.join(known)}",
            remedy="see docs/settings.md",
        )


def all_routes() -> list[Route]:
    """Every route of every service, for the description of the API."""
    from lab.pki import Pki
    from lab.world import machine_time

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        installation = Installation.at(folder / "installation")
        pki = Pki(folder / "pki", "http://127.0.0.1:1/pki", machine_time)
        (folder / "anchors").mkdir()
        (folder / "anchors" / "root.pem").write_text(pki.root.pem)
        pki.close()
        token = folder / "ra-token"
        token.touch(mode=0o600)
        token.write_text("none")
        place = "http://127.0.0.1:1"
        outside = Outside(
            authority=place,
            jwks=place,
            ca=place,
            tsa=place,
            registry=place,
            anchors=folder / "anchors",
            ra_token_file=token,
        )
        _, services = compose(installation, outside, 1, environment={})
        return [route for service in services for route in service.routes]
