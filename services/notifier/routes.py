"""The notifier's HTTP API: webhook subscriptions and what became of their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from events.errors import Refused
from events.fact import Moment
from events.values import EventId, Name, SubscriptionId
from events.webhooks import new_secret
from services.notifier import handlers
from services.notifier.model import HEARD, WILDCARDS, Subscription
from services.notifier.ports import Book, Seal, Views
from services.runtime.access import Scope
from services.runtime.clock import Clock
from services.runtime.database import Database, Tx
from services.runtime.outbox import new_id
from services.runtime.web import Call, Reply, Route

N = TypeVar("N", bound=Name)

WRITE, READ = Scope("webhooks:write"), Scope("webhooks:read")
TAG = "webhooks"
STATES = {"leased": "waiting"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WebhookRequest(_Strict):
    """Where to send what."""

    url: Annotated[str, Field(min_length=1, max_length=2048, description="https, a public address")]
    types: Annotated[
        list[Annotated[str, Field(max_length=120)]] | None,
        Field(
            min_length=1,
            max_length=100,
            description="CloudEvents types, or families as vn.antin.contract.*; all by default",
        ),
    ] = None
    description: Annotated[str, Field(max_length=200, description="For you; never sent")] = ""


class WebhookRotation(_Strict):
    """How long the former secret goes on signing beside the new one."""

    overlap_seconds: Annotated[int, Field(ge=0, le=7 * 86400)] = 86400


class WebhookDelivery(BaseModel):
    """One message to one subscription."""

    id: Annotated[EventId, Field(description="The `webhook-id` header of every attempt")]
    event: EventId
    type: str
    state: Annotated[str, Field(description="waiting, delivered or abandoned")]
    attempts: int
    due: Moment | None = None
    last_status: int | None = None
    last_found: str | None = None
    created_at: Moment
    finished_at: Moment | None = None


class WebhookAttempt(BaseModel):
    """One attempt at a message."""

    number: int
    at: Moment
    took_ms: int
    status: int | None = None
    found: str


class WebhookDeliveryInFull(WebhookDelivery):
    """A message with what it says and every attempt at it."""

    body: Annotated[dict[str, Any], Field(description="The CloudEvent, as it is sent")]
    tries: list[WebhookAttempt]


class WebhookSubscription(BaseModel):
    """A subscription, without its secret."""

    id: SubscriptionId
    url: str
    types: list[str]
    description: str
    state: Annotated[str, Field(description="active or disabled")]
    reason: Annotated[str | None, Field(description="Why it is disabled")] = None
    failures: Annotated[int, Field(description="Failed attempts since the last success")]
    created_at: Moment


class WebhookSubscriptionInFull(WebhookSubscription):
    """A subscription with its recent deliveries, the newest first."""

    waiting: Annotated[int, Field(description="Messages not delivered yet")]
    deliveries: list[WebhookDelivery]


class WebhookCreated(WebhookSubscription):
    """A new subscription; the secret is shown this once, not even when the request is repeated."""

    secret: Annotated[str | None, Field(description="whsec_... (Standard Webhooks 1.0); keep it")] = None


class WebhookSecret(BaseModel):
    """A new secret; shown this once, not even when the request is repeated."""

    id: SubscriptionId
    secret: str | None = None
    former_until: Annotated[Moment, Field(description="Until then a signature by the former secret goes along")]


class WebhookList(BaseModel):
    """Every subscription."""

    webhooks: list[WebhookSubscription]


class WebhookMessage(BaseModel):
    """A message on its way."""

    id: EventId
    state: str = "waiting"


class WebhookRemoved(BaseModel):
    """A subscription that is no more."""

    id: SubscriptionId
    state: str = "removed"


class Api:
    """The handlers, bound to what they need."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        book: Callable[[Tx], Book],
        views: Views,
        check: Callable[[str], None],
        seal: Seal,
        most: int,
        stir: Callable[[], None],
    ) -> None:
        self._database = database
        self._book = book
        self._views = views
        self._check = check
        self._clock = clock
        self._seal = seal
        self._most = most
        self._stir = stir

    async def create(self, call: Call) -> Reply:
        """POST /v1/webhooks."""
        asked: WebhookRequest = call.body
        self._check(asked.url)
        secret = new_secret()
        identifier = SubscriptionId(new_id())
        subscription = Subscription(
            id=identifier,
            url=asked.url,
            types=_types(asked.types),
            description=asked.description,
            secret=self._seal.close(identifier, secret),
            created_at=self._clock.now(),
            created_by=call.caller.name,
        )
        await handlers.subscribe(subscription, most=self._most, book=self._book(call.tx))
        return Reply(WebhookCreated(**_shown(subscription), secret=secret), 201)

    async def every(self, call: Call) -> Reply:
        """GET /v1/webhooks."""
        async with self._database.read() as conn:
            found = await self._views.every_subscription(conn)
        return Reply(WebhookList(webhooks=[WebhookSubscription(**_shown(one)) for one in found]))

    async def one(self, call: Call) -> Reply:
        """GET /v1/webhooks/{id}."""
        identifier = _named(SubscriptionId, call, "id")
        async with self._database.read() as conn:
            found = await self._views.one_subscription(conn, identifier)
            if found is None:
                raise handlers.unknown_webhook()
            deliveries = [WebhookDelivery(**_delivery(row)) for row in await self._views.recent(conn, identifier)]
            waiting = await self._views.waiting(conn, identifier)
        return Reply(WebhookSubscriptionInFull(**_shown(found), waiting=waiting, deliveries=deliveries))

    async def delivery(self, call: Call) -> Reply:
        """GET /v1/webhooks/{id}/deliveries/{message}."""
        identifier, message = _named(SubscriptionId, call, "id"), _named(EventId, call, "message")
        async with self._database.read() as conn:
            found = await self._views.one_delivery(conn, identifier, message)
        if found is None:
            raise handlers.unknown_webhook()
        row, body, tries = found
        shown = [
            WebhookAttempt(number=one.number, at=one.at, took_ms=one.took_ms, status=one.status, found=one.found)
            for one in tries
        ]
        return Reply(WebhookDeliveryInFull(**_delivery(row), body=body, tries=shown))

    async def remove(self, call: Call) -> Reply:
        """DELETE /v1/webhooks/{id}."""
        identifier = _named(SubscriptionId, call, "id")
        if not await self._book(call.tx).remove(identifier):
            raise handlers.unknown_webhook()
        return Reply(WebhookRemoved(id=identifier))

    async def rotate(self, call: Call) -> Reply:
        """POST /v1/webhooks/{id}/secret."""
        identifier = _named(SubscriptionId, call, "id")
        asked: WebhookRotation = call.body
        now, overlap = self._clock.now(), timedelta(seconds=asked.overlap_seconds)
        secret = await handlers.rotate(identifier, overlap, book=self._book(call.tx), seal=self._seal, now=now)
        return Reply(WebhookSecret(id=identifier, secret=secret, former_until=now + overlap))

    async def enable(self, call: Call) -> Reply:
        """POST /v1/webhooks/{id}/enable."""
        identifier = _named(SubscriptionId, call, "id")
        book = self._book(call.tx)
        await handlers.known(identifier, book)
        await book.switch(identifier, None)
        call.tx.after_commit.append(self._stir)
        found = await handlers.known(identifier, book)
        return Reply(WebhookSubscription(**_shown(found)))

    async def test(self, call: Call) -> Reply:
        """POST /v1/webhooks/{id}/test."""
        identifier = _named(SubscriptionId, call, "id")
        message = await handlers.ping(identifier, EventId(new_id()), book=self._book(call.tx), now=self._clock.now())
        call.tx.after_commit.append(self._stir)
        return Reply(WebhookMessage(id=message), 202)

    async def again(self, call: Call) -> Reply:
        """POST /v1/webhooks/{id}/deliveries/{message}/retry."""
        identifier, message = _named(SubscriptionId, call, "id"), _named(EventId, call, "message")
        if not await self._book(call.tx).again(message, identifier, self._clock.now()):
            raise handlers.unknown_webhook()
        call.tx.after_commit.append(self._stir)
        return Reply(WebhookMessage(id=message), 202)

    def routes(self) -> Sequence[Route]:
        """The route table."""
        one, message = "/v1/webhooks/{id}", "/v1/webhooks/{id}/deliveries/{message}"
        unknown, url = "unknown-webhook", ("webhook-url-refused", "unknown-type", "too-many-webhooks")
        return (
            Route(
                "POST", "/v1/webhooks", self.create, "Subscribe a URL to facts", TAG, WRITE, WebhookCreated, 201,
                body=WebhookRequest, writes=True, once=("secret",), problems=url,
                description="Messages follow Standard Webhooks 1.0; bodies are CloudEvents 1.0 in structured JSON.",
            ),
            Route("GET", "/v1/webhooks", self.every, "List the subscriptions", TAG, READ, WebhookList),
            Route(
                "GET", one, self.one, "A subscription and its recent deliveries", TAG, READ,
                WebhookSubscriptionInFull, problems=(unknown,),
            ),
            Route(
                "DELETE", one, self.remove, "End a subscription and forget its messages", TAG, WRITE,
                WebhookRemoved, writes=True, problems=(unknown,),
            ),
            Route(
                "POST", f"{one}/secret", self.rotate, "Make a new secret", TAG, WRITE, WebhookSecret,
                body=WebhookRotation, writes=True, once=("secret",), problems=(unknown,),
            ),
            Route(
                "POST", f"{one}/enable", self.enable, "Take up a disabled subscription again", TAG, WRITE,
                WebhookSubscription, writes=True, problems=(unknown,),
                description="What was held while it was disabled is sent now.",
            ),
            Route(
                "POST", f"{one}/test", self.test, "Send a test message", TAG, WRITE, WebhookMessage, 202,
                writes=True, problems=(unknown, "webhook-disabled"),
            ),
            Route(
                "GET", message, self.delivery, "A message and every attempt at it", TAG, READ,
                WebhookDeliveryInFull, problems=(unknown,),
            ),
            Route(
                "POST", f"{message}/retry", self.again, "Send a message again", TAG, WRITE, WebhookMessage, 202,
                writes=True, problems=(unknown,), description="The same webhook-id and the same bytes.",
            ),
        )  # fmt: skip


def _types(asked: list[str] | None) -> tuple[str, ...]:
    if asked is None:
        return WILDCARDS
    unknown = [name for name in asked if name not in HEARD and name not in WILDCARDS]
    if unknown:
        raise Refused(
            "unknown-type",
            found=f"{len(unknown)} unknown types, the first at place {asked.index(unknown[0]) + 1}",
            expected=f"types out of {', '.join(WILDCARDS)}",
            remedy="see schemas/ for the names of the facts",
        )
    return tuple(dict.fromkeys(asked))


def _named(kind: type[N], call: Call, name: str) -> N:
    try:
        return kind(call.path[name])
    except ValueError:
        raise handlers.unknown_webhook() from None


def _shown(found: Subscription) -> dict[str, Any]:
    return {
        "id": found.id,
        "url": found.url,
        "types": list(found.types),
        "description": found.description,
        "state": "active" if found.active else "disabled",
        "reason": found.reason,
        "failures": found.failures,
        "created_at": found.created_at,
    }


def _delivery(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "event": row.event,
        "type": row.type,
        "state": STATES.get(row.state, row.state),
        "attempts": row.attempts,
        "due": _utc(row.due) if row.finished_at is None else None,
        "last_status": row.status,
        "last_found": row.found,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
