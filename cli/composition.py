"""The composition root: which services run in this process, and on which database, store and bus.

Without further settings everything runs in one process on SQLite and files, with the embedded bus.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.installation import BlobsPlace, DatabasePlace, Installation, KafkaPlace, Outside
from events.errors import Malformed
from events.kafka import KafkaBus, KafkaSpeaker
from services.ca_bridge import wiring as ca_bridge
from services.ca_bridge.settings import CaBridgeSettings
from services.contracts import wiring as contracts
from services.contracts.settings import ContractsSettings
from services.notifier import wiring as notifier
from services.notifier.settings import NotifierSettings
from services.runtime import relay
from services.runtime.database import Database
from services.runtime.outbound import Outbound
from services.runtime.pressure import Limits, Pressure
from services.runtime.process import Platform, Service, running, sole_user
from services.runtime.settings import PREFIX, from_environment
from services.runtime.shelf import SqlShelf
from services.runtime.web import Route
from services.signer import wiring as signer
from services.signer.compilation import SWITCH
from services.signer.settings import SignerSettings
from services.timeline import wiring as timeline
from services.verifier import wiring as verifier
from services.verifier.settings import VerifierSettings

SERVICES = ("ca_bridge", "contracts", "notifier", "signer", "timeline", "verifier")
PLACES = ("outside", "database", "blobs", "kafka", "intake")
RUNNABLE = (*SERVICES, relay.NAME)
"""What `antin run` can run; the relay only with Kafka."""


@dataclass(frozen=True)
class Running:
    """A running installation, or the part of it that is in this process."""

    url: str
    platform: Platform
    installation: Installation
    names: tuple[str, ...]
    on: str
    """What it runs on, for people."""


@dataclass(frozen=True)
class Composition:
    """Everything put together and not yet started."""

    platform: Platform
    services: Sequence[Service]
    bus: KafkaBus | None
    owner: str | None
    pressure: Pressure
    on: str


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
    names: Collection[str] = RUNNABLE,
    allow: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Composition:
    """Put together what runs here. `allow`: further inner `host:port` pairs that may be called.

    Raises:
        Malformed: settings that are unknown or do not fit, or secrets that cannot be read.
    """
    environment = dict(os.environ if environment is None else environment)
    _no_strangers(environment)
    url = f"http://127.0.0.1:{port}"
    broker = from_environment(KafkaPlace, "kafka", environment).broker()
    database = Database(from_environment(DatabasePlace, "database", environment).resolved(installation.folder))
    blobs = from_environment(BlobsPlace, "blobs", environment)
    platform = Platform(
        database,
        blobs.opened(installation.folder),
        Outbound(allowed=(*outside.allowed, *allow, f"127.0.0.1:{port}")),
    )
    bus = None
    if broker is not None:
        shelf = SqlShelf(database, platform.outbox, platform.clock)
        bus = KafkaBus(broker, shelf, platform.clock.now)
    pressure = Pressure(database, from_environment(Limits, "intake", environment), bus.lags if bus else None)
    authority = {"authority": outside.authority, "authority_jwks": outside.jwks}
    builders: dict[str, Callable[[], Service]] = {
        "ca_bridge": lambda: ca_bridge.build(
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
        "contracts": lambda: contracts.build(
            platform, from_environment(ContractsSettings, "contracts", environment, **authority)
        ),
        "signer": lambda: signer.build(
            platform,
            from_environment(
                SignerSettings,
                "signer",
                environment,
                key_folder=installation.keys,
                passphrase_file=installation.secrets / "keystore-passphrase",
                anchors=outside.anchors,
                tsa=outside.tsa,
                **authority,
            ),
        ),
        "verifier": lambda: verifier.build(
            platform,
            from_environment(
                VerifierSettings,
                "verifier",
                environment,
                anchors=outside.anchors,
                trust=installation.folder / "trust",
                **installation.seal(outside.tsa),
            ),
        ),
        "timeline": lambda: timeline.build(platform, broker),
        "notifier": lambda: notifier.build(
            platform,
            from_environment(NotifierSettings, "notifier", environment, key_file=installation.secrets / "webhook-key"),
            broker.instance if broker else None,
        ),
    }
    services = [build() for name, build in builders.items() if name in names]
    if broker is not None and relay.NAME in names:
        services.append(_relay(platform, KafkaSpeaker(broker)))
    kept = f"S3 bucket {blobs.bucket}" if blobs.bucket else "files"
    on = f"{'Kafka' if broker else 'embedded bus'}, {'SQLite' if database.sqlite else 'PostgreSQL'}, {kept}"
    return Composition(platform, services, bus, broker.instance if broker else None, pressure, on)


def _relay(platform: Platform, speaker: KafkaSpeaker) -> Service:
    @asynccontextmanager
    async def closing() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await speaker.close()

    moving = relay.Relay(platform.database, platform.news, speaker)
    return Service(relay.NAME, loops={relay.NAME: moving.run}, resources=[closing()])


@asynccontextmanager
async def at_work(
    folder: Path,
    outside: Outside,
    *,
    names: Collection[str] = RUNNABLE,
    host: str = "127.0.0.1",
    port: int = 0,
    allow: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """Run these services until the block ends.

    Raises:
        Refused: another process works in this folder, whose database only one process may use.
        Malformed: settings or secrets.
    """
    installation = Installation.at(folder)
    with ExitStack() as stack:
        port = port or free_port()
        made = compose(installation, outside, port, names=names, allow=allow, environment=environment)
        alone = made.platform.database.sqlite
        if alone:
            stack.enter_context(sole_user(folder))
        async with running(
            made.platform,
            made.services,
            keyring=installation.keyring(),
            host=host,
            port=port,
            alone=alone,
            bus=made.bus,
            pressure=made.pressure,
            owner=made.owner,
        ) as url:
            yield Running(url, made.platform, installation, tuple(one.name for one in made.services), made.on)


def _no_strangers(environment: Mapping[str, str]) -> None:
    """Names that no service knows are mistakes, and are said, all at once."""
    known = tuple(f"{PREFIX}{name.upper()}__" for name in (*SERVICES, *PLACES))
    own = (f"{PREFIX}SHARED", f"{PREFIX}REAL", SWITCH)  # read by tests, and when packages are imported
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
        made = compose(installation, outside, 1, environment={})
        return [*(route for service in made.services for route in service.routes), made.pressure.route()]
