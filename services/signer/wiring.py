"""Puts the signer together: the only place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import SecretStr

from events.binding import BindingFact, CertificateBound, CertificateReleased, CertificateRevoked, CertificateSuspended
from events.contract import PartyConfirmed, SigningRequested
from events.envelope import Event
from events.errors import Refused
from events.fact import Fact
from events.values import CredentialId
from services.runtime.consume import Reaction, Subscriber
from services.runtime.database import Tx
from services.runtime.hub import Hub, Partner
from services.runtime.jwks import Jwks
from services.runtime.outbox import new_id
from services.runtime.process import Platform, Service
from services.runtime.settings import secret
from services.runtime.web import Route
from services.signer import compilation, handlers
from services.signer.adapters import store
from services.signer.adapters.activations import SignedActivations
from services.signer.adapters.batch_store import SqlLedgers
from services.signer.adapters.chains import load_anchors
from services.signer.adapters.csc_keys import Access, CscProvider
from services.signer.adapters.csc_store import SqlBooks
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.hub_keys import HubProvider
from services.signer.adapters.pades_writer import BoundedWriter, EitherWriter
from services.signer.adapters.remote_keys import Provider, RemoteKeys
from services.signer.adapters.remote_routes import hub_route, remote_routes
from services.signer.adapters.remote_store import SqlRemoteBooks
from services.signer.adapters.status import OnlineStatus
from services.signer.adapters.tsa import OrderedAuthorities, Rfc3161Authority
from services.signer.batch.handlers import Press, pressing
from services.signer.batch.routes import routes as batch_routes
from services.signer.csc.handlers import server as csc_server
from services.signer.csc.routes import routes as csc_routes
from services.signer.ports import Credential, KeyStore, PadesWriter, Permits, StatusSource
from services.signer.routes import routes
from services.signer.settings import SignerSettings

NAME = "signer"

T = TypeVar("T")


@dataclass(frozen=True)
class Signing:
    """The work on SigningRequested (services.runtime.consume.Work)."""

    platform: Platform
    permits: Permits
    keys: KeyStore
    status: StatusSource
    writer: PadesWriter
    least_auth_level: int = 2

    def key(self, event: Event[SigningRequested]) -> str:
        """One approval of one slot is one job: a slot refused once may be approved and asked for anew."""
        fact = event.fact
        return f"{fact.contract}/{fact.slot}/{fact.activation.hex[:32]}"

    async def plan(self, event: Event[SigningRequested], tx: Tx) -> handlers.Plan:
        """Look at the bindings."""
        return await handlers.plan(
            event.fact,
            event.time,
            credentials=store.SqlCredentials(tx),
            slots=store.SqlSlots(tx),
            clock=self.platform.clock,
        )

    async def act(self, plan: handlers.Plan) -> handlers.Outcome:
        """Sign, outside any transaction."""
        return await handlers.sign(
            plan,
            permits=self.permits,
            keys=self.keys,
            status=self.status,
            writer=self.writer,
            vault=self.platform.blobs,
            clock=self.platform.clock,
            least_auth_level=self.least_auth_level,
        )

    async def finish(
        self, event: Event[SigningRequested], plan: handlers.Plan, result: handlers.Outcome, tx: Tx
    ) -> Sequence[Fact]:
        """Say that it is signed."""
        return await handlers.finish(plan, result, slots=store.SqlSlots(tx))

    async def refuse(self, event: Event[SigningRequested], fault: Refused, tx: Tx) -> Sequence[Fact]:
        """Say that it is not."""
        return handlers.refuse(event.fact, fault)


@dataclass(frozen=True)
class _Kept:
    """Where private keys are kept, what must be closed at the end, which routes come with it."""

    keys: KeyStore
    closing: Sequence[AbstractAsyncContextManager[object]] = ()
    routes: Sequence[Route] = ()


def _key_store(platform: Platform, settings: SignerSettings) -> _Kept:
    clock, outbound = platform.clock, platform.outbound
    match settings.keys:
        case "pkcs11":
            from services.signer.adapters.pkcs11_keys import Pkcs11Keys  # a C library: loaded only where it is used

            module, token, pin = _given(settings.pkcs11_module), _given(settings.pkcs11_token), settings.pkcs11_pin_file
            store = Pkcs11Keys(module, token, _given(pin), settings.pkcs11_sessions)
            return _Kept(store, [store])
        case "csc":
            access = Access(
                url=_given(settings.provider_url),
                client=_given(settings.provider_client),
                secret=SecretStr(secret(_given(settings.provider_secret_file))),
                user=settings.provider_user,
                pin=SecretStr(secret(settings.provider_pin_file)) if settings.provider_pin_file else None,
                callback=settings.callback,
            )
            provider = CscProvider(outbound, access, clock, timeout=settings.remote_timeout)
            keys = _remote(platform, settings, provider)
            return _Kept(keys, routes=remote_routes(keys))
        case "hub":
            partner = Partner(
                url=_given(settings.hub_url),
                code=_given(settings.hub_partner),
                secret=SecretStr(secret(_given(settings.hub_secret_file))),
            )
            caller = Hub(outbound, partner, clock, timeout=settings.remote_timeout)
            hub = HubProvider(caller, _given(settings.hub_originator), clock)
            keys = _remote(platform, settings, hub)
            return _Kept(keys, routes=[*remote_routes(keys), hub_route(keys, hub)])
        case "file":
            passphrase = SecretStr(secret(_given(settings.passphrase_file)))
            return _Kept(FileKeys(_given(settings.key_folder), passphrase))


def _remote(platform: Platform, settings: SignerSettings, provider: Provider) -> RemoteKeys:
    # One call at the hub may take four requests: a token and the call, and both again when the token was refused.
    grace = 4 * settings.remote_timeout + 5
    books = SqlRemoteBooks(platform.database)
    return RemoteKeys(provider, books, platform.clock, new_id, poll=settings.remote_poll, grace=grace)


def _given(value: T | None) -> T:
    """A setting that `SignerSettings` has made sure of.

    Raises:
        ValueError: it has not.
    """
    if value is None:
        raise ValueError("a setting that SignerSettings should have asked for")
    return value


def build(
    platform: Platform,
    settings: SignerSettings,
    *,
    keys: KeyStore | None = None,
) -> Service:
    """The signer as a service of this process.

    Raises:
        Refused: no trusted roots.
        Malformed: the passphrase file cannot be read, or the PKCS#11 module cannot be loaded.
    """
    anchors = load_anchors(settings.anchors)
    kept = _Kept(keys) if keys is not None else _key_store(platform, settings)
    vault = kept.keys
    status = OnlineStatus(
        platform.outbound,
        anchors,
        platform.clock,
        timeout=settings.status_timeout,
        limit=settings.status_limit,
        embedded=settings.status_embedded,
    )
    authority = OrderedAuthorities(
        [
            Rfc3161Authority(
                platform.outbound,
                url,
                anchors,
                platform.clock,
                skew=timedelta(seconds=settings.tsa_skew),
                timeout=settings.tsa_timeout,
            )
            for url in settings.tsa
        ],
        platform.clock,
        status.evidence,
    )
    jwks = Jwks(
        platform.outbound, settings.authority_jwks or settings.authority.rstrip("/") + "/jwks.json", platform.clock
    )
    permits = SignedActivations(jwks, platform.database, issuer=settings.authority, audience=settings.audience)
    writer = EitherWriter(vault, authority, status)
    bounded = BoundedWriter(vault, authority, status)
    signing = Signing(platform, permits, vault, status, writer, settings.least_auth_level)
    owner = new_id()
    server = csc_server(
        clients={client.id: client for client in settings.csc_clients},
        books=SqlBooks(platform.database),
        approvals=permits,
        keys=vault,
        status=status,
        writer=bounded,
        authority=authority,
        vault=platform.blobs,
        clock=platform.clock,
        owner=owner,
    )
    press = Press(
        ledgers=SqlLedgers(platform.database),
        approvals=permits,
        status=status,
        writer=bounded,
        vault=platform.blobs,
        clock=platform.clock,
        owner=owner,
    )

    async def find(credential: CredentialId) -> Credential | None:
        async with platform.database.read() as connection:
            return await store.find_credential(connection, credential)

    async def note_approval(event: Event[PartyConfirmed], tx: Tx) -> Sequence[Fact]:
        return await handlers.note_approval(event.fact, event.time, slots=store.SqlSlots(tx))

    async def follow(event: Event[BindingFact], tx: Tx) -> Sequence[Fact]:
        return await handlers.follow(event.fact, credentials=store.SqlCredentials(tx))

    reactions: dict[type[Fact], Reaction] = {PartyConfirmed: note_approval}
    for fact in (CertificateBound, CertificateSuspended, CertificateReleased, CertificateRevoked):
        reactions[fact] = follow
    return Service(
        NAME,
        schemas=(store.schema,),
        routes=[
            *routes(vault, find),
            *kept.routes,
            *csc_routes(server, settings.trusted_proxies),
            *batch_routes(press),
        ],
        subscribers=(Subscriber(NAME, reactions, {SigningRequested: signing}),),
        loops={"signer.csc": server.answers.run, "signer.batch": pressing(press)},
        resources=(*kept.closing, compilation.told()),
    )
