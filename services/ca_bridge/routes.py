"""HTTP in: identity events by the authority, applications, the subscriber's confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import rfc8785
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.activation import Activation
from events.bus import Delivery
from events.codec import LIMIT
from events.errors import AntinError, Refused
from events.values import ApplicationId, CertificateProfile, CredentialId, Digest, IdentityId, KeyAlgorithm
from services.ca_bridge import issuing
from services.ca_bridge.intake import VERIFIES, Accepted, AuthorityEvent, Passed, take_in, take_place
from services.ca_bridge.model import Application, ApplicationState
from services.ca_bridge.ports import EventSource, Ledger
from services.ca_bridge.settings import CaBridgeSettings
from services.runtime.access import Public, Scope
from services.runtime.database import Tx
from services.runtime.json_reading import object_of
from services.runtime.jwks import Jwks
from services.runtime.outbox import new_id
from services.runtime.process import Platform
from services.runtime.web import PROBLEM, Call, Reply, Route, problem, status_of

log = structlog.get_logger()

NAME = "ca_bridge"
CLOUDEVENT = "application/cloudevents+json"


class IntakeAnswer(BaseModel):
    """What became of an identity event."""

    status: Literal["accepted", "already accepted"]
    missing: Annotated[int, Field(description="events of this identity that are missing before it")] = 0


class RefusedEvent(BaseModel):
    """A refused identity event, without its content."""

    event: str
    type: str | None
    subject: str | None
    sequence: int | None
    code: str
    found: str
    expected: str
    at: datetime


class RefusedEvents(BaseModel):
    """The newest refused identity events."""

    refused: list[RefusedEvent]


class NewApplication(BaseModel):
    """Apply for a certificate for a verified identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: IdentityId
    key_algorithm: KeyAlgorithm | None = None


class ApplicationView(BaseModel):
    """An application as it stands; the certificate's content is shown to confirm it."""

    application: ApplicationId
    identity: IdentityId
    profile: CertificateProfile
    key_algorithm: KeyAlgorithm
    credential: CredentialId
    state: ApplicationState
    certificate: Digest | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    reason: str | None = None


class ApplicationViews(BaseModel):
    """Applications of one identity, oldest first."""

    applications: list[ApplicationView]


class ApplicationsOf(BaseModel):
    """Whose applications."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: IdentityId


class Confirmation(BaseModel):
    """The subscriber's confirmation: an activation bound to the certificate's digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation: Annotated[str, Field(min_length=1, max_length=8192)]


class RefusedQuery(BaseModel):
    """How many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=500)] = 100


@dataclass(frozen=True)
class _Taken:
    """A checked identity event, or why it is refused."""

    event: AuthorityEvent | None
    evidence: Digest | None
    fingerprint: Digest
    fault: Refused | None


class Desk:
    """The handlers behind the routes."""

    def __init__(
        self, platform: Platform, settings: CaBridgeSettings, jwks: Jwks, ledger: Ledger, source: EventSource
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._platform = platform
        self._settings = settings
        self._jwks = jwks

    async def check_event(self, call: Call) -> _Taken:
        """Before the transaction: form, signature, evidence."""
        return await self.check(call.raw)

    async def check(self, raw: bytes) -> _Taken:
        """Form and signature of one event, whoever delivers it; its bytes are kept as evidence.

        Raises:
            Unavailable: the authority's keys cannot be had.
        """
        fingerprint = Digest.of(raw)
        try:
            document = _document(raw)
            # The same event may come with other white space, so it is known by its canonical form.
            fingerprint = Digest.of(_canonical(document))
            proof = document.pop("proof", None)
            if not isinstance(proof, str):
                raise _unsigned()
            await self._jwks.detached(proof, _canonical(document), typ="identity-event+jws")
            event = _read(document)
        except Refused as fault:
            return _Taken(None, None, fingerprint, fault)
        return _Taken(event, await self._platform.blobs.keep(raw), fingerprint, None)

    async def take(self, call: Call) -> Reply:
        """Accept an event into the authority's order, or refuse it and keep why."""
        return await self.record(call.tx, call.prepared)

    async def hear(self, delivery: Delivery) -> None:
        """An event that the authority put on its topic: judged as over HTTP, and a refusal is kept as there.

        Raises:
            Unavailable: the authority's keys cannot be had.
        """
        taken = await self.check(delivery.body[: LIMIT + 1])
        async with self._platform.database.write() as tx:
            await self.record(tx, taken)

    async def record(self, tx: Tx, taken: _Taken) -> Reply:
        """Write what becomes of a checked event, and say it."""
        now = self._platform.clock.now()
        fault = taken.fault
        if taken.event is not None and taken.evidence is not None:
            known = await self._ledger.accepted(tx, taken.event.id)
            if known == taken.fingerprint:
                return Reply(IntakeAnswer(status="already accepted"), 200)
            try:
                if known is not None:
                    raise _other_bytes()
                return await self._accept(tx, taken.event, taken.evidence, taken.fingerprint, now)
            except Refused as refused:
                fault = refused
                if fault.code == "identity-out-of-order":
                    await self._ledger.want(tx, taken.event.subject, now)
        if fault is None:
            raise RuntimeError("an event is accepted or refused")
        await self._ledger.note(tx, _kept(taken.event, taken.fingerprint, now, fault))
        return Reply(problem(fault, status_of(fault), new_id()), status_of(fault), PROBLEM)

    async def _accept(
        self, tx: Tx, event: AuthorityEvent, evidence: Digest, fingerprint: Digest, now: datetime
    ) -> Reply:
        """Take the event's place in the order, and what it says if that stands.

        Raises:
            Refused: it stays out, with or without taking its place.
        """
        books = self._ledger.books(tx)
        known = await books.identities.get(event.subject)
        outcome = take_in(
            event,
            known,
            evidence=evidence,
            now=now,
            issuer=self._settings.authority,
            freshness=timedelta(seconds=self._settings.freshness),
            skew=timedelta(seconds=self._settings.skew),
        )
        transaction = event.data.get("transaction_id")
        if isinstance(outcome, Accepted) and event.what in VERIFIES and isinstance(transaction, str) and transaction:
            try:
                await self._ledger.claim_transaction(tx, transaction, event.id)
            except Refused as fault:
                outcome = Passed(take_place(known or outcome.identity, event.sequence), fault)
        await books.identities.put(outcome.identity)
        if outcome.identity.missing:
            log.warning("identity-events-missing", ranges=len(outcome.identity.missing))
        await self._ledger.want(tx, event.subject, now if outcome.identity.missing else None)
        if isinstance(outcome, Passed):
            raise outcome.fault
        await self._ledger.note(tx, _kept(event, fingerprint, now, None, outcome.missing))
        await self._platform.outbox.say(tx, NAME, [outcome.fact])
        return Reply(IntakeAnswer(status="accepted", missing=outcome.missing), 202)

    async def fetch_missing(self) -> None:
        """Ask the authority again for events that were jumped over or came before their turn.

        Raises:
            Unavailable: the authority does not answer; it is asked again later.
        """
        now = self._platform.clock.now()
        async with self._platform.database.read() as conn:
            due = await self._ledger.wanted(conn, now, 20)
        for subject in due:
            async with self._platform.database.write() as tx:
                identity = await self._ledger.books(tx).identities.get(subject)
                # If this one fails, the others come first the next time.
                await self._ledger.want(tx, subject, now + timedelta(seconds=20 * self._settings.redelivery))
            after = identity.expected - 1 if identity is not None else 0
            for raw in await self._source.events(subject, after):
                taken = await self.check(raw)
                async with self._platform.database.write() as tx:
                    await self.record(tx, taken)
            async with self._platform.database.write() as tx:
                identity = await self._ledger.books(tx).identities.get(subject)
                if identity is not None and not identity.missing:
                    await self._ledger.want(tx, subject, None)

    async def refused(self, call: Call) -> Reply:
        """The newest refused events."""
        async with self._platform.database.read() as conn:
            rows = await self._ledger.refusals(conn, call.query.limit)
        return Reply(RefusedEvents(refused=[RefusedEvent.model_validate(row) for row in rows]))

    async def apply(self, call: Call) -> Reply:
        """Open an application."""
        asked: NewApplication = call.body
        books = self._ledger.books(call.tx)
        identity = await books.identities.get(asked.identity)
        if identity is None:
            raise _unknown("identity", "a pseudonym that was never verified here")
        application, facts = await issuing.open_application(
            identity,
            asked.key_algorithm or self._settings.key_algorithms[identity.kind],
            books,
            now=self._platform.clock.now(),
            new_id=new_id,
        )
        await self._platform.outbox.say(call.tx, NAME, facts)
        return Reply(_view(application), 201)

    async def show(self, call: Call) -> Reply:
        """One application."""
        async with self._platform.database.read() as conn:
            application = await self._ledger.books(conn).applications.get(_application_id(call))
        if application is None:
            raise _unknown("application", "no application of this id")
        return Reply(_view(application))

    async def of_identity(self, call: Call) -> Reply:
        """Applications of an identity."""
        async with self._platform.database.read() as conn:
            found = await self._ledger.books(conn).applications.of(call.query.identity)
        return Reply(ApplicationViews(applications=[_view(one) for one in found]))

    async def certificate(self, call: Call) -> Reply:
        """The certificate's content, for the subscriber to confirm."""
        async with self._platform.database.read() as conn:
            application = await self._ledger.books(conn).applications.get(_application_id(call))
        if application is None or application.chain is None:
            raise _unknown("certificate", "no certificate for this application yet")
        pem = await self._platform.blobs.fetch(application.chain)
        return Reply(pem, media="application/pem-certificate-chain")

    async def check_activation(self, call: Call) -> Activation:
        """Before the transaction: the activation's signature."""
        return Activation.read(await self._jwks.claims(call.body.activation, typ="sad+jwt"))

    async def confirm(self, call: Call) -> Reply:
        """The subscriber confirms; the certificate is bound."""
        books = self._ledger.books(call.tx)
        application = await books.applications.get(_application_id(call))
        if application is None:
            raise _unknown("application", "no application of this id")
        now = self._platform.clock.now()
        bound, facts = await issuing.confirm(
            application, call.prepared, books, issuer=self._settings.authority, now=now
        )
        await self._ledger.redeem(call.tx, call.prepared.jti, now)
        await self._platform.outbox.say(call.tx, NAME, facts)
        return Reply(_view(bound))


def routes(desk: Desk) -> Sequence[Route]:
    """The bridge's operations."""
    by_activation = Public("the activation in the body authenticates the subscriber")
    return [
        Route(
            "POST",
            "/v1/identity-events",
            desk.take,
            "Deliver an identity event",
            "identity",
            Public("the event's own signature authenticates the authority"),
            IntakeAnswer,
            status=202,
            raw=(CLOUDEVENT,),
            writes=True,
            prepare=desk.check_event,
            problems=("identity-stale", "identity-late-or-replayed", "identity-out-of-order", "identity-unsigned"),
            description="CloudEvents 1.0 in structured JSON with a detached JWS over its RFC 8785 form.",
        ),
        Route(
            "GET",
            "/v1/identity-events/refused",
            desk.refused,
            "The newest refused identity events, with reasons",
            "identity",
            Scope("applications:read"),
            RefusedEvents,
            query=RefusedQuery,
        ),
        Route(
            "POST",
            "/v1/applications",
            desk.apply,
            "Apply for a certificate",
            "applications",
            Scope("applications:write"),
            ApplicationView,
            status=201,
            body=NewApplication,
            writes=True,
            problems=("application-pending", "identity-level-too-low", "identity-no-consent"),
        ),
        Route(
            "GET",
            "/v1/applications",
            desk.of_identity,
            "Applications of an identity",
            "applications",
            Scope("applications:read"),
            ApplicationViews,
            query=ApplicationsOf,
        ),
        Route(
            "GET",
            "/v1/applications/{id}",
            desk.show,
            "One application",
            "applications",
            Scope("applications:read"),
            ApplicationView,
        ),
        Route(
            "GET",
            "/v1/applications/{id}/certificate",
            desk.certificate,
            "The issued certificate and its chain",
            "applications",
            Scope("applications:read"),
            "application/pem-certificate-chain",
            description="The certificate names its holder: hand it to the holder only.",
        ),
        Route(
            "POST",
            "/v1/applications/{id}/confirm",
            desk.confirm,
            "The subscriber confirms the certificate's content",
            "applications",
            by_activation,
            ApplicationView,
            body=Confirmation,
            writes=True,
            prepare=desk.check_activation,
            problems=("activation-digest-mismatch", "activation-not-yours", "activation-used", "application-state"),
            description="Published and bound after this (Decree 23/2025/ND-CP Art 38).",
        ),
    ]


def _document(raw: bytes) -> dict[str, Any]:
    try:
        return object_of(raw)
    except ValueError as fault:
        raise _unreadable(f"a body that is {fault}") from fault


def _canonical(document: dict[str, Any]) -> bytes:
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, RecursionError) as fault:
        raise _unreadable("values that have no RFC 8785 form") from fault


def _read(document: dict[str, Any]) -> AuthorityEvent:
    try:
        return AuthorityEvent.model_validate(document)
    except ValidationError as fault:
        where = ", ".join(".".join(str(part) for part in error["loc"]) for error in fault.errors()[:5])
        raise _unreadable(f"members that do not fit ({where[:200]})") from fault


def _kept(
    event: AuthorityEvent | None, fingerprint: Digest, now: datetime, fault: AntinError | None, missing: int = 0
) -> dict[str, Any]:
    return {
        "event": event.id if event else "unread",
        "fingerprint": str(fingerprint),
        "subject": str(event.subject) if event else None,
        "sequence": event.sequence if event else None,
        "type": event.type if event else None,
        "outcome": "refused" if fault else "accepted",
        "code": fault.code[:64] if fault else None,
        "found": fault.found[:400] if fault else None,
        "expected": fault.expected[:400] if fault else None,
        "missing": missing,
        "at": now,
    }


def _view(application: Application) -> ApplicationView:
    return ApplicationView(
        application=application.id,
        identity=application.identity,
        profile=application.profile,
        key_algorithm=application.key_algorithm,
        credential=application.credential,
        state=application.state,
        certificate=application.certificate,
        not_before=application.not_before,
        not_after=application.not_after,
        reason=application.reason,
    )


def _application_id(call: Call) -> ApplicationId:
    try:
        return ApplicationId(call.path["id"])
    except ValueError as fault:
        raise _unknown("application", "no application of this id") from fault


def _unsigned() -> Refused:
    return Refused(
        "identity-unsigned",
        found="an identity event without a proof",
        expected="a detached JWS by the authority in `proof`",
        remedy="have the authority sign it; unsigned events are never used",
        status=401,
    )


def _other_bytes() -> Refused:
    return Refused(
        "identity-replayed",
        found="the id of an accepted event on other bytes",
        expected="one id for one event",
        remedy="give every event an id of its own",
        status=409,
    )


def _unreadable(found: str) -> Refused:
    return Refused(
        "identity-unreadable",
        found=found,
        expected="a CloudEvents 1.0 identity event in structured JSON",
        remedy="correct it at the source and deliver again",
        status=400,
    )


def _unknown(what: str, found: str) -> Refused:
    return Refused(f"{what}-unknown", found=found, expected=f"a known {what}", remedy="check the id", status=404)
