"""The notifier as a service: what it hears, what it answers, the loop that delivers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from events.envelope import Event
from events.fact import Fact
from events.registry import FACTS
from services.notifier import handlers
from services.notifier.adapters import views
from services.notifier.adapters.endpoint import HttpEndpoint, check_url
from services.notifier.adapters.postman import Postman
from services.notifier.adapters.sealing import SealingKey
from services.notifier.adapters.store import SqlBook, schema
from services.notifier.model import HEARD
from services.notifier.routes import Api
from services.notifier.settings import NotifierSettings
from services.runtime.consume import Subscriber
from services.runtime.database import Tx
from services.runtime.process import Platform, Service, Timer


def build(platform: Platform, settings: NotifierSettings, owner: str | None = None) -> Service:
    """The service. `owner`: names this process over restarts.

    Raises:
        Malformed: the sealing key cannot be read.
    """
    seal = SealingKey.at(settings.key_file)
    endpoint = HttpEndpoint(platform.outbound, platform.clock, settings.timeout)
    postman = Postman(platform.database, platform.outbox, platform.clock, seal, endpoint, settings, owner)

    async def hear(event: Event[Any], tx: Tx) -> list[Fact]:
        if await handlers.hear(event, book=SqlBook(tx), now=platform.clock.now()):
            tx.after_commit.append(postman.stir)
        return []

    async def sweep() -> None:
        async with platform.database.write() as tx:
            await SqlBook(tx).sweep(platform.clock.now() - timedelta(seconds=settings.keep))

    api = Api(
        platform.database,
        platform.clock,
        book=SqlBook,
        views=views,
        check=lambda url: check_url(url, platform.outbound),
        seal=seal,
        most=settings.most,
        stir=postman.stir,
    )
    return Service(
        name="notifier",
        schemas=(schema,),
        routes=api.routes(),
        subscribers=(Subscriber("notifier", reactions={FACTS[name]: hear for name in HEARD}),),
        timers=(Timer("notifier-sweep", 3600.0, sweep),),
        resources=(postman,),
    )
