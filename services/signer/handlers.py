"""What the signer does on what it hears: follows the bindings, notes approvals, signs slots."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from events.binding import BindingFact, CertificateBound, CertificateReleased, CertificateRevoked, CertificateSuspended
from events.contract import PartyConfirmed, SigningRequested
from events.errors import Refused, Unavailable
from events.fact import Fact
from events.signing import DocumentSigned, SigningRefused
from events.values import BaselineLevel, Code, Digest
from services.runtime.clock import Clock
from services.signer.model import (
    Order,
    Redemption,
    SigningAlgorithm,
    SigningOrder,
    admit,
    artefact_name,
    continues,
)
from services.signer.ports import (
    Credential,
    Credentials,
    CredentialState,
    KeyStore,
    PadesWriter,
    Permits,
    Slots,
    StatusSource,
    Vault,
)

PATIENCE = timedelta(hours=1)
"""How long a request waits for its credential's binding, which travels on another key, before it is refused."""


# --- bindings ------------------------------------------------------------------------------------------------------


async def follow(fact: BindingFact, *, credentials: Credentials) -> list[Fact]:
    """Keep the projection of one credential. What was revoked stays revoked, whatever comes later."""
    match fact:
        case CertificateBound():
            known = await credentials.find(fact.credential)
            if known is None or known.state is not CredentialState.REVOKED:
                await credentials.keep(_bound(fact))
        case CertificateSuspended():
            await _move(fact, CredentialState.SUSPENDED, credentials)
        case CertificateReleased():
            await _move(fact, CredentialState.BOUND, credentials)
        case CertificateRevoked():
            await _move(fact, CredentialState.REVOKED, credentials)
    return []


async def _move(
    fact: CertificateSuspended | CertificateReleased | CertificateRevoked,
    state: CredentialState,
    credentials: Credentials,
) -> None:
    known = await credentials.find(fact.credential)
    if known is None or known.state is CredentialState.REVOKED or known.certificate != fact.certificate:
        return
    representative = known.representative
    if isinstance(fact, CertificateReleased) and fact.representative is not None:
        representative = fact.representative
    await credentials.keep(replace(known, state=state, representative=representative))


def _bound(fact: CertificateBound) -> Credential:
    return Credential(
        credential=fact.credential,
        identity=fact.identity,
        algorithm=SigningAlgorithm.of(fact.key_algorithm),
        state=CredentialState.BOUND,
        certificate=fact.certificate,
        chain=fact.chain,
        profile=fact.profile,
        representative=fact.representative,
        not_before=fact.not_before,
        not_after=fact.not_after,
    )


# --- approvals -----------------------------------------------------------------------------------------------------


async def note_approval(fact: PartyConfirmed, at: datetime, *, slots: Slots) -> list[Fact]:
    """Remember when the party approved: an activation must have been alive then, not when the queue is empty."""
    await slots.note_approval(fact.activation, at)
    return []


# --- signing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """A slot to sign: the request, the key and certificate to use, when the party approved."""

    request: SigningRequested
    credential: Credential
    approved_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """A slot that was signed; the record of it is the published artefact."""

    signed: Digest
    checked: Digest
    field: str
    level: BaselineLevel
    signed_at: datetime

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(
            {
                "signed": self.signed,
                "checked": self.checked,
                "field": self.field,
                "level": self.level.value,
                "signed_at": self.signed_at.isoformat(),
            },
            sort_keys=True,
        ).encode()

    @classmethod
    def load(cls, data: bytes) -> Outcome:
        """From JSON."""
        found: dict[str, Any] = json.loads(data)
        return cls(
            Digest(found["signed"]),
            Digest(found["checked"]),
            found["field"],
            BaselineLevel(found["level"]),
            datetime.fromisoformat(found["signed_at"]),
        )


async def plan(
    request: SigningRequested, said_at: datetime, *, credentials: Credentials, slots: Slots, clock: Clock
) -> Plan:
    """Look whether the slot may be signed with this credential as far as the bindings tell.

    Raises:
        Refused: the slot is signed, or the credential is not the party's, suspended, revoked or another certificate.
        Unavailable: the binding has not been heard yet.
    """
    if await slots.signed(request.contract, request.slot) is not None:
        raise Refused(
            "slot-already-signed",
            found="a signature in this slot",
            expected="an empty slot",
            remedy="do not ask for a second signature of one slot",
            status=409,
        )
    known = await credentials.find(request.credential)
    if known is None:
        if clock.now() - said_at > PATIENCE:
            raise _unbound("no certificate bound to the credential")
        raise Unavailable(
            "credential-not-known-yet",
            found="a credential whose binding has not been heard",
            expected="its CertificateBound, which travels on another key",
            remedy="it is tried again",
            retry_after=1.0,
        )
    if known.identity != request.identity or known.certificate != request.certificate:
        raise _unbound("a credential bound to another e-identity or another certificate")
    if known.state is not CredentialState.BOUND:
        raise Refused(
            f"certificate-{known.state.value}",
            found=f"a certificate that is {known.state.value}",
            expected="a bound certificate in good standing",
            remedy="lift the suspension or bind a new certificate, then ask the party again",
            status=409,
        )
    return Plan(request, known, await slots.approved(request.activation) or said_at)


async def sign(
    plan: Plan,
    *,
    permits: Permits,
    keys: KeyStore,
    status: StatusSource,
    writer: PadesWriter,
    vault: Vault,
    clock: Clock,
    least_auth_level: int = 2,
) -> Outcome:
    """Sign the slot, or find what an earlier try has already published.

    The order of steps is what makes a crash harmless: permit redeemed durably, status checked, key moved once per
    try, record published under a name that only one gets.

    Raises:
        Refused: the permit, the certificate or the PDF does not allow it.
        Unavailable: the authority, the CA, the timestamp authority or the vault does not answer, or the holder has
            not approved yet at the provider of a remote key.
    """
    request, known = plan.request, plan.credential
    name = artefact_name(request.contract, request.slot, request.base)
    earlier = await vault.published(name)
    if earlier is not None:
        return Outcome.load(await vault.fetch(earlier))
    permit = await permits.verify(await vault.fetch(request.activation))
    order = Order(
        contract=request.contract,
        slot=request.slot,
        identity=request.identity,
        credential=request.credential,
        base=request.base,
        shown=request.shown,
        level=request.level,
    )
    admit(
        permit, order, said_at=plan.approved_at, representative=known.representative, least_auth_level=least_auth_level
    )
    base = await vault.fetch(request.base)
    if request.shown != request.base:
        continues(base, await vault.fetch(request.shown))
    redemption = await permits.redeem(
        Redemption(
            jti=permit.jti,
            contract=request.contract,
            slot=request.slot,
            credential=request.credential,
            algorithm=known.algorithm,
            shown=request.shown,
            base=request.base,
            base_size=len(base),
            redeemed_at=clock.now(),
        )
    )
    await keys.ready(redemption.jti)
    check = await status.check(bound_chain(known, await vault.fetch(known.chain)))
    check.decide()
    checked = await vault.keep(json.dumps(check.data(), sort_keys=True).encode())
    signed = await writer.sign(
        base,
        SigningOrder(
            redemption=redemption,
            chain=check.path,
            level=request.level,
            field=str(request.slot),
            index=request.index,
            # The same on every try: a try that is repeated signs the same bytes, so a remote key is asked once.
            signed_at=redemption.redeemed_at.replace(microsecond=0),
            placement=request.placement,
        ),
        check.evidence,
    )
    await vault.keep(signed.pdf)
    outcome = Outcome(signed.digest, checked, signed.field, signed.level, signed.signed_at)
    published, ours = await vault.publish(name, outcome.dump())
    return outcome if ours else Outcome.load(await vault.fetch(published))


async def finish(plan: Plan, outcome: Outcome, *, slots: Slots) -> list[Fact]:
    """Remember the slot as signed and say so."""
    request = plan.request
    await slots.note_signed(request.contract, request.slot, request.base, outcome.signed, outcome.signed_at)
    return [
        DocumentSigned(
            contract=request.contract,
            slot=request.slot,
            identity=request.identity,
            credential=request.credential,
            certificate=request.certificate,
            base=request.base,
            shown=request.shown,
            signed=outcome.signed,
            field=outcome.field,
            level=outcome.level,
            checked=outcome.checked,
            signed_at=outcome.signed_at,
        )
    ]


def refuse(request: SigningRequested, fault: Refused) -> list[Fact]:
    """Say that the slot was not signed, and why."""
    return [
        SigningRefused(
            contract=request.contract,
            slot=request.slot,
            identity=request.identity,
            credential=request.credential,
            base=request.base,
            reason=Code(fault.code),
            found=fault.found[:400],
            expected=fault.expected[:400],
            remedy=fault.remedy[:400],
        )
    ]


def bound_chain(known: Credential, pem: bytes) -> tuple[bytes, ...]:
    """The certificates in PEM (RFC 7468) as DER, in their order; the first is the one that was bound.

    Raises:
        Refused: not PEM, or another certificate.
    """
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    try:
        chain = tuple(
            base64.b64decode(b"".join(part.split(end)[0].split()), validate=True) for part in pem.split(begin)[1:]
        )
    except ValueError as fault:
        raise _unbound("a certificate chain that is not PEM") from fault
    if not chain or Digest.of(chain[0]) != known.certificate:
        raise _unbound("a chain that does not begin with the bound certificate")
    return chain


def _unbound(found: str) -> Refused:
    return Refused(
        "credential-not-bound",
        found=found,
        expected="the credential and certificate that were bound to this party",
        remedy="bind a certificate to the credential, then ask the party again",
        status=409,
    )
