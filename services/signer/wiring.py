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
from services.runtime.jwks import Jwks
from services.runtime.outbox import new_id
from services.runtime.process import Platform, Service
from services.runtime.settings import secret
from services.signer import handlers
from services.signer.adapters import store
from services.signer.adapters.activations import SignedActivations
from services.signer.adapters.batch_store import SqlLedgers
from services.signer.adapters.chains import load_anchors
from services.signer.adapters.csc_store import SqlBooks
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.pades_writer import BoundedWriter, EitherWriter
from services.signer.adapters.status import OnlineStatus
from services.signer.adapters.tsa import OrderedAuthorities, Rfc3161Authority
from services.signer.batch.handlers import Press, pressing
from services.signer.batch.routes import routes as batch_routes
from services.signer.csc.handlers import Server, answering
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


def _key_store(settings: SignerSettings) -> tuple[KeyStore, list[AbstractAsyncContextManager[object]]]:
    """The one place where private keys are kept, and what must be closed at the end."""
    if settings.keys == "pkcs11":
        from services.signer.adapters.pkcs11_keys import Pkcs11Keys  # a C library: loaded only where it is used

        module, token, pin = _given(settings.pkcs11_module), _given(settings.pkcs11_token), settings.pkcs11_pin_file
        store = Pkcs11Keys(module, token, _given(pin))
        return store, [store]
    return FileKeys(_given(settings.key_folder), SecretStr(secret(_given(settings.passphrase_file)))), []


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
    vault, closing = (keys, []) if keys is not None else _key_store(settings)
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
    signing = Signing(platform, permits, status, writer, settings.least_auth_level)
    server = Server(
        clients={client.id: client for client in settings.csc_clients},
        books=SqlBooks(platform.database),
        approvals=permits,
        keys=vault,
        status=status,
        writer=bounded,
        authority=authority,
        vault=platform.blobs,
        clock=platform.clock,
        owner=new_id(),
    )
    press = Press(
        ledgers=SqlLedgers(platform.database),
        approvals=permits,
        status=status,
        writer=bounded,
        vault=platform.blobs,
        clock=platform.clock,
        owner=server.owner,
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
        routes=[*routes(vault, find), *csc_routes(server), *batch_routes(press)],
        subscribers=(Subscriber(NAME, reactions, {SigningRequested: signing}),),
        loops={"signer.csc": answering(server), "signer.batch": pressing(press)},
        resources=closing,
    )
