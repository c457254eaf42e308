"""Applications: opened, issued with proof of possession, confirmed by the subscriber, or given up."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain import names
from domain.activation import Activation, Purpose, check_activation
from domain.identifiers import personal_number
from events.binding import (
    ApplicationOpened,
    ApplicationRefused,
    CertificateBound,
    CertificateIssued,
    CertificateRevoked,
)
from events.errors import Refused
from events.fact import Fact
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
from services.ca_bridge.intake import Identity, IdentityState
from services.ca_bridge.model import PENDING, Application, ApplicationState, Certificate
from services.ca_bridge.ports import Books, CertificateAuthority, Issued, Registry, Safe, Wanted

NewId = Callable[[], str]


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
    return application, [opened(application)]


async def give_up(application: Application, reason: str, books: Books, now: datetime) -> list[Fact]:
    """End a pending application; what the CA may have issued for it is revoked, though it was never bound."""
    await books.applications.put(application.to(ApplicationState.CANCELLED, reason=reason))
    said: list[Fact] = [
        ApplicationRefused(
            identity=application.identity,
            application=application.id,
            reason=Code(reason),
            found="an identity that has changed, ended or withdrawn its consent since",
            expected="the identity and consent that the application was opened with",
            remedy="apply anew when the identity is verified and consents again",
        )
    ]
    return said + await _revoke_unbound(application, "cessation-of-operation", books, now)


async def _revoke_unbound(application: Application, reason: str, books: Books, now: datetime) -> list[Fact]:
    if application.certificate is None:
        return []
    certificate = _certificate(application)
    await books.certificates.put(model.revoked(certificate, reason))
    return [revoked(certificate, reason, now)]


async def reapply(
    identity: Identity, algorithm: KeyAlgorithm, books: Books, *, now: datetime, new_id: NewId
) -> Sequence[Fact]:
    """Open an application unless one is under way; a refusal is said, not raised."""
    if any(one.state in PENDING for one in await books.applications.of(identity.id)):
        return []
    try:
        _, said = await open_application(identity, algorithm, books, now=now, new_id=new_id)
    except Refused as fault:
        return [_refusal(ApplicationId(new_id()), identity.id, fault)]
    return said


@dataclass(frozen=True)
class IssuePlan:
    """What to have issued, and for whom."""

    application: Application
    identity: Identity


async def plan_issue(fact: ApplicationOpened, books: Books, *, now: datetime) -> IssuePlan | None:
    """Look once more before acting; nothing to do when it is no longer open, or about to be frozen.

    Raises:
        Refused: it may no longer apply.
    """
    application = await books.applications.get(fact.application)
    identity = await books.identities.get(fact.identity)
    if application is None or identity is None or application.state is not ApplicationState.OPENED:
        return None
    if identity.state is not IdentityState.ACTIVE:
        return None  # the fact that says so is on its way, and freezes or cancels the application
    representative = await books.identities.get(identity.representative) if identity.representative else None
    model.may_apply(identity, representative, now)
    return IssuePlan(application, identity)


async def issue(plan: IssuePlan, *, safe: Safe, ca: CertificateAuthority, registry: Registry, now: datetime) -> Issued:
    """Have the registry confirm, the key made or found, and its certificate given. May be repeated.

    Raises:
        Refused: the registry, the request or the CA says no.
        Unavailable: one of them does not answer.
    """
    identity, application = plan.identity, plan.application
    profile, algorithm = application.profile, application.key_algorithm
    if identity.kind is SubjectKind.CITIZEN:
        person = safe.open(identity)
        personal_number(person.number, this_year=now.year)
        names.fits(person.full_name, "a personal name")
        wanted = Wanted(profile, algorithm, person, None, None)
    else:
        code = model.organisation_code(identity)
        names.fits(identity.organisation_name or "", "an organisation's name")
        model.check_registry(identity, await registry.look_up(code.digits))
        wanted = Wanted(profile, algorithm, None, code.shown, identity.organisation_name)
    return await ca.certify(application, wanted)


async def issued(
    plan: IssuePlan, result: Issued, chain: Digest, books: Books, *, now: datetime, new_id: NewId
) -> Sequence[Fact]:
    """Keep what was issued; the subscriber has yet to confirm. What came too late is revoked.

    Raises:
        Refused: the key was certified before.
    """
    application = await books.applications.get(plan.application.id)
    identity = await books.identities.get(plan.application.identity)
    if application is None or identity is None or application.state is ApplicationState.BOUND:
        return []
    await books.applications.claim_key(application.id, result.key)
    complete = application.model_copy(
        update={
            "certificate": result.certificate,
            "chain": chain,
            "serial": result.serial,
            "not_before": result.not_before,
            "not_after": result.not_after,
            "representative": plan.identity.representative,
        }
    )
    if application.state not in PENDING:
        await books.applications.put(complete)
        return await _revoke_unbound(complete, "cessation-of-operation", books, now)
    if not model.same_subject(plan.identity, identity):
        said = await give_up(complete, "identity-changed", books, now)
        return [*said, *await reapply(identity, application.key_algorithm, books, now=now, new_id=new_id)]
    if application.state is not ApplicationState.OPENED:
        await books.applications.put(complete)  # frozen meanwhile: it is issued when it is resumed, or revoked
        return []
    await books.applications.put(complete.to(ApplicationState.ISSUED))
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
    if identity is None or application.certificate is None or application.chain is None:
        raise RuntimeError("an issued application carries its identity and certificate")
    natural = application.profile is CertificateProfile.NATURAL
    acting = None if natural else identity.representative
    check_activation(
        activation,
        now=now,
        issuer=issuer,
        purpose=Purpose.CONFIRM_CERTIFICATE,
        digest=application.certificate,
        txn=str(application.id),
        subject=acting or application.identity,
        act_for=None if natural else application.identity,
    )
    representative = await books.identities.get(acting) if acting else None
    model.may_confirm(application, identity, representative, now)
    if application.not_before is None or application.not_after is None:
        raise RuntimeError("an issued application carries its certificate's life")
    facts: list[Fact] = []
    for old in await books.certificates.touching(application.identity):
        if old.identity == application.identity and old.revoked is None:
            await books.certificates.put(model.revoked(old, "superseded"))
            facts.append(revoked(old, "superseded", now))
    await books.certificates.put(_certificate(application).model_copy(update={"representative": acting}))
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
            representative=acting,
            not_before=application.not_before,
            not_after=application.not_after,
            confirmed_at=now,
        )
    )
    return bound, facts


def _certificate(application: Application) -> Certificate:
    if application.certificate is None or application.serial is None or application.not_after is None:
        raise RuntimeError("an issued application carries its certificate")
    return Certificate(
        digest=application.certificate,
        serial=application.serial,
        credential=application.credential,
        identity=application.identity,
        application=application.id,
        profile=application.profile,
        representative=application.representative,
        not_after=application.not_after,
    )


# --- facts


def opened(application: Application) -> ApplicationOpened:
    """The fact that starts the issuing."""
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


def revoked(certificate: Certificate, reason: str, now: datetime) -> CertificateRevoked:
    """The fact that it has ended for good."""
    return CertificateRevoked(
        identity=certificate.identity,
        credential=certificate.credential,
        certificate=certificate.digest,
        reason=Code(reason),
        since=now,
    )
