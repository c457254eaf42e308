"""What the bridge does with facts and requests; every function returns the facts it says."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.activation import Activation, Purpose, check_activation
from domain.identifiers import personal_number, tax_code
from events.binding import (
    ApplicationOpened,
    ApplicationRefused,
    CertificateBound,
    CertificateIssued,
    CertificateReleased,
    CertificateRevoked,
    CertificateSuspended,
)
from events.errors import Refused
from events.fact import Fact
from events.identity import IdentityFact, IdentityVerified, OrganisationVerified
from events.values import (
    ApplicationId,
    CertificateProfile,
    Code,
    CredentialId,
    Digest,
    IdentityId,
    KeyAlgorithm,
    SubjectKind,
)
from services.ca_bridge import model
from services.ca_bridge.model import (
    PENDING,
    Application,
    ApplicationState,
    Certificate,
    CertificateState,
    Hold,
    Identity,
    Release,
    Revoke,
)
from services.ca_bridge.ports import (
    Books,
    CertificateAuthority,
    Issued,
    KeyMaker,
    Registry,
    Safe,
    Wanted,
)

NewId = Callable[[], str]


# --- applications


async def open_application(
    identity: Identity, algorithm: KeyAlgorithm, books: Books, *, now: datetime, new_id: NewId
) -> tuple[Application, Sequence[Fact]]:
    """Open an application for an identity that may apply.

    Raises:
        Refused: it may not apply now, or an application is pending already.
    """
    if any(one.state in PENDING for one in await books.applications.of(identity.id)):
        raise Refused(
            "application-pending",
            found="an application of this identity that is not finished",
            expected="none",
            remedy="confirm or wait for the pending one",
            status=409,
        )
    representative = await books.identities.get(identity.representative) if identity.representative else None
    model.may_apply(identity, representative, now)
    natural = identity.kind is SubjectKind.CITIZEN
    application = Application(
        id=ApplicationId(new_id()),
        identity=identity.id,
        profile=CertificateProfile.NATURAL if natural else CertificateProfile.ORGANISATION,
        key_algorithm=algorithm,
        credential=CredentialId(new_id()),
        challenge=secrets.token_urlsafe(24),
        representative=identity.representative,
    )
    await books.applications.put(application)
    return application, [_opened(application)]


async def identity_changed(
    fact: IdentityFact, books: Books, *, algorithms: Mapping[SubjectKind, KeyAlgorithm], now: datetime, new_id: NewId
) -> Sequence[Fact]:
    """Carry a fact about an identity over to its certificates and applications, at once.

    Holds and revocations count here from this moment; the CA is told by `tell_ca` on the facts said here. Releases go
    the other way round: first the CA, then the fact (`releases_due`).
    """
    effects = model.effects(fact, await books.certificates.touching(fact.identity))
    facts: list[Fact] = []
    for effect in effects.certificates:
        match effect:
            case Hold(certificate, name, reason) if name not in certificate.holds:
                await books.certificates.put(model.held(certificate, name))
                if certificate.state is CertificateState.GOOD:
                    facts.append(_suspended(certificate, reason, now))
            case Revoke(certificate, reason):
                await books.certificates.put(certificate.model_copy(update={"revoked": reason}))
                facts.append(_revoked(certificate, reason, now))
            case _:
                pass
    identity = await books.identities.get(fact.identity)
    if identity is None:
        return facts
    facts += await _applications(effects, identity, books)
    wants = isinstance(fact, IdentityVerified | OrganisationVerified) and _asks(identity, now)
    if effects.reapply or (wants and not await _served(identity, books)):
        try:
            _, opened = await open_application(identity, algorithms[identity.kind], books, now=now, new_id=new_id)
            facts += opened
        except Refused as fault:
            facts.append(_refusal(ApplicationId(new_id()), identity.id, fault))
    return facts


async def _applications(effects: model.Effects, identity: Identity, books: Books) -> list[Fact]:
    said: list[Fact] = []
    for application in await books.applications.of(identity.id):
        if effects.freeze and application.state is ApplicationState.OPENED:
            await books.applications.put(application.to(ApplicationState.FROZEN))
        elif effects.resume and application.state is ApplicationState.FROZEN:
            await books.applications.put(application.to(ApplicationState.OPENED))
            said.append(_opened(application))
        elif effects.cancel and application.state in PENDING:
            await books.applications.put(application.to(ApplicationState.CANCELLED, reason="identity-changed"))
            said.append(
                ApplicationRefused(
                    identity=identity.id,
                    application=application.id,
                    reason=Code("identity-changed"),
                    found="an identity that ended or withdrew its consent",
                    expected="an active identity with consent",
                    remedy="apply anew when it is verified again",
                )
            )
    return said


def _asks(identity: Identity, now: datetime) -> bool:
    consent = identity.consent
    return consent is not None and consent.purpose == model.ISSUANCE and consent.expires_at > now


async def _served(identity: Identity, books: Books) -> bool:
    """Whether it has a living certificate or an application under way."""
    touching = await books.certificates.touching(identity.id)
    if any(one.identity == identity.id and one.revoked is None for one in touching):
        return True
    return any(one.state in PENDING for one in await books.applications.of(identity.id))


# --- issuing: plan, act, finish


@dataclass(frozen=True)
class IssuePlan:
    """What to have issued, and for whom."""

    application: Application
    identity: Identity


async def plan_issue(fact: ApplicationOpened, books: Books, *, now: datetime) -> IssuePlan | None:
    """Look once more before acting; nothing to do when it is no longer open.

    Raises:
        Refused: it may no longer apply.
    """
    application = await books.applications.get(fact.application)
    identity = await books.identities.get(fact.identity)
    if application is None or identity is None or application.state is not ApplicationState.OPENED:
        return None
    representative = await books.identities.get(identity.representative) if identity.representative else None
    model.may_apply(identity, representative, now)
    return IssuePlan(application, identity)


async def issue(
    plan: IssuePlan, *, safe: Safe, keys: KeyMaker, ca: CertificateAuthority, registry: Registry, now: datetime
) -> Issued:
    """Have the registry confirm, the key made, possession proven and the certificate issued. May be repeated.

    Raises:
        Refused: the registry, the request or the CA says no.
        Unavailable: one of them does not answer.
    """
    identity, application = plan.identity, plan.application
    if identity.kind is SubjectKind.CITIZEN:
        person = safe.open(identity)
        personal_number(person.number, this_year=now.year)
        wanted = Wanted(application.profile, person, None, None)
    else:
        code = tax_code(identity.tax_code or "")
        entry = await registry.look_up(code.digits)
        model.check_registry(identity, entry)
        wanted = Wanted(application.profile, None, code.shown, identity.organisation_name)
    csr = await keys.make(application.credential, application.key_algorithm, application.challenge)
    return await ca.issue(application.id, csr, application.challenge, wanted)


async def issued(plan: IssuePlan, result: Issued, chain: Digest, books: Books) -> Sequence[Fact]:
    """Keep what was issued; the subscriber has yet to confirm.

    Raises:
        Refused: the key was certified before.
    """
    application = await books.applications.get(plan.application.id)
    if application is None or application.state is not ApplicationState.OPENED:
        return []
    await books.applications.claim_key(application.id, result.key)
    await books.applications.put(
        application.to(
            ApplicationState.ISSUED,
            certificate=result.certificate,
            chain=chain,
            serial=result.serial,
            not_before=result.not_before,
            not_after=result.not_after,
        )
    )
    return [
        CertificateIssued(
            identity=application.identity,
            application=application.id,
            credential=application.credential,
            certificate=result.certificate,
        )
    ]


async def refuse_issue(fact: ApplicationOpened, fault: Refused, books: Books) -> Sequence[Fact]:
    """The application ends here."""
    application = await books.applications.get(fact.application)
    if application is not None and application.state is ApplicationState.OPENED:
        await books.applications.put(application.to(ApplicationState.REFUSED, reason=fault.code))
    return [_refusal(fact.application, fact.identity, fault)]


async def confirm(
    application: Application, activation: Activation, books: Books, *, issuer: str, now: datetime
) -> tuple[Application, Sequence[Fact]]:
    """The subscriber confirms the certificate's content: it is published and bound (Decree 23/2025/ND-CP Art 38).

    Raises:
        Refused: nothing to confirm, not the subscriber's activation, or the identity may no longer hold one.
    """
    bound = application.to(ApplicationState.BOUND)
    identity = await books.identities.get(application.identity)
    if identity is None or identity.state is not model.IdentityState.ACTIVE:
        raise Refused(
            "identity-not-active",
            found="an identity that is locked or has ended",
            expected="an active one",
            remedy="confirm after it is unlocked",
            status=409,
        )
    if application.certificate is None or application.chain is None or application.serial is None:
        raise RuntimeError("an issued application carries its certificate")
    natural = application.profile is CertificateProfile.NATURAL
    check_activation(
        activation,
        now=now,
        issuer=issuer,
        purpose=Purpose.CONFIRM_CERTIFICATE,
        digest=application.certificate,
        txn=str(application.id),
        subject=application.identity if natural else _representative(identity),
        act_for=None if natural else application.identity,
    )
    if application.not_before is None or application.not_after is None:
        raise RuntimeError("an issued application carries its certificate's life")
    representative = None if natural else _representative(identity)
    facts: list[Fact] = []
    for old in await books.certificates.touching(application.identity):
        if old.identity == application.identity and old.revoked is None:
            await books.certificates.put(old.model_copy(update={"revoked": "superseded"}))
            facts.append(_revoked(old, "superseded", now))
    certificate = Certificate(
        digest=application.certificate,
        serial=application.serial,
        credential=application.credential,
        identity=application.identity,
        application=application.id,
        profile=application.profile,
        representative=representative,
        not_after=application.not_after,
    )
    await books.certificates.put(certificate)
    await books.applications.put(bound)
    facts.append(
        CertificateBound(
            identity=application.identity,
            application=application.id,
            credential=application.credential,
            certificate=application.certificate,
            chain=application.chain,
            profile=application.profile,
            key_algorithm=application.key_algorithm,
            representative=representative,
            not_before=application.not_before,
            not_after=application.not_after,
            confirmed_at=now,
        )
    )
    return bound, facts


def _representative(identity: Identity) -> IdentityId:
    if identity.representative is None:
        raise RuntimeError("a verified organisation has a representative")
    return identity.representative


# --- telling the CA


@dataclass(frozen=True)
class Tell:
    """Bring the CA's books to the state in ours."""

    certificate: Certificate


async def plan_tell(fact: CertificateSuspended | CertificateRevoked, books: Books) -> Tell | None:
    """What the CA must know: the state as it is now, not as it was when the fact was said."""
    certificate = await books.certificates.get(fact.certificate)
    if certificate is None or certificate.state is CertificateState.GOOD:
        return None
    return Tell(certificate)


async def tell_ca(plan: Tell, *, ca: CertificateAuthority) -> None:
    """Suspend or revoke at the CA. May be repeated.

    Raises:
        Unavailable: the CA does not answer.
    """
    certificate = plan.certificate
    if certificate.state is CertificateState.REVOKED:
        await ca.revoke(certificate.serial, certificate.revoked or "")
    else:
        await ca.suspend(certificate.serial, certificate.holds[0].partition("/")[0])


@dataclass(frozen=True)
class Releases:
    """Holds whose ground has ended."""

    identity: Identity
    due: Sequence[Release]


async def plan_releases(fact: IdentityFact, books: Books) -> Releases | None:
    """The holds whose ground this fact ends, if any."""
    effects = model.effects(fact, await books.certificates.touching(fact.identity))
    due = [effect for effect in effects.certificates if isinstance(effect, Release)]
    identity = await books.identities.get(fact.identity)
    return Releases(identity, due) if due and identity is not None else None


async def ask_ca_to_release(plan: Releases, *, ca: CertificateAuthority, registry: Registry) -> None:
    """Release at the CA what has no other hold; a new representative must stand in the registry. May be repeated.

    Raises:
        Refused: the registry does not confirm the representative.
        Unavailable: the CA or the registry does not answer.
    """
    if any(release.representative is not None for release in plan.due):
        model.check_registry(plan.identity, await registry.look_up(plan.identity.tax_code or ""))
    after: dict[Digest, Certificate] = {}
    for release in plan.due:
        certificate = after.get(release.certificate.digest, release.certificate)
        after[certificate.digest] = model.released(certificate, release.name)
    for certificate in after.values():
        if certificate.state is CertificateState.GOOD:
            await ca.release(certificate.serial)


async def released(due: Sequence[Release], books: Books, *, now: datetime) -> Sequence[Fact]:
    """Take the holds off here; the certificate may sign again when none is left."""
    facts: list[Fact] = []
    for release in due:
        certificate = await books.certificates.get(release.certificate.digest)
        if certificate is None or release.name not in certificate.holds:
            continue
        free = model.released(certificate, release.name, release.representative)
        await books.certificates.put(free)
        if free.state is CertificateState.GOOD:
            facts.append(
                CertificateReleased(
                    identity=free.identity,
                    credential=free.credential,
                    certificate=free.digest,
                    reason=Code(release.reason),
                    since=now,
                    representative=free.representative,
                )
            )
    return facts


def _opened(application: Application) -> ApplicationOpened:
    return ApplicationOpened(
        identity=application.identity,
        application=application.id,
        profile=application.profile,
        key_algorithm=application.key_algorithm,
    )


def _refusal(application: ApplicationId, identity: IdentityId, fault: Refused) -> ApplicationRefused:
    return ApplicationRefused(
        identity=identity,
        application=application,
        reason=Code(fault.code),
        found=fault.found[:400],
        expected=fault.expected[:400],
        remedy=fault.remedy[:400],
    )


def _suspended(certificate: Certificate, reason: str, now: datetime) -> CertificateSuspended:
    return CertificateSuspended(
        identity=certificate.identity,
        credential=certificate.credential,
        certificate=certificate.digest,
        reason=Code(reason),
        since=now,
    )


def _revoked(certificate: Certificate, reason: str, now: datetime) -> CertificateRevoked:
    return CertificateRevoked(
        identity=certificate.identity,
        credential=certificate.credential,
        certificate=certificate.digest,
        reason=Code(reason),
        since=now,
    )
