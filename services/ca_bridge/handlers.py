"""Certificates follow the identity, and the CA's books follow ours; every function returns the facts it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.binding import CertificateReleased, CertificateRevoked, CertificateSuspended
from events.errors import Refused
from events.fact import Fact
from events.identity import ConsentWithdrawn, IdentityFact, IdentityVerified, OrganisationVerified
from events.values import Code, Digest, KeyAlgorithm, SubjectKind
from services.ca_bridge import model
from services.ca_bridge.intake import Identity, IdentityState
from services.ca_bridge.issuing import NewId, give_up, opened, reapply, revoked
from services.ca_bridge.model import (
    PENDING,
    ApplicationState,
    Certificate,
    CertificateState,
    Effects,
    Hold,
    Pending,
    Release,
    Replace,
    Revoke,
)
from services.ca_bridge.ports import Books, CertificateAuthority, Registry


async def identity_changed(
    fact: IdentityFact,
    books: Books,
    *,
    algorithms: Mapping[SubjectKind, KeyAlgorithm],
    replace_within: timedelta,
    now: datetime,
    new_id: NewId,
) -> Sequence[Fact]:
    """Carry a fact about an identity over to its certificates and applications, at once.

    Holds and revocations count here from this moment; the CA is told by `tell_ca` on the facts said here. Releases go
    the other way round: first the CA, then the fact (`plan_releases`).
    """
    touching = await books.certificates.touching(fact.identity)
    effects = model.effects(fact, touching)
    facts: list[Fact] = await _certificates(effects, touching, books, now=now, replace_by=now + replace_within)
    identity = await books.identities.get(fact.identity)
    if identity is None:
        return facts
    facts += await _applications(fact, effects, identity, books, now=now)
    verified = isinstance(fact, IdentityVerified | OrganisationVerified) and model.consents(identity, now)
    if effects.reapply or (verified and not await _served(identity, books, now)):
        facts += await reapply(identity, algorithms[identity.kind], books, now=now, new_id=new_id)
    return facts


async def _certificates(
    effects: Effects, touching: Sequence[Certificate], books: Books, *, now: datetime, replace_by: datetime
) -> list[Fact]:
    after = {one.digest: one for one in touching}
    said: list[Fact] = []
    for effect in effects.certificates:
        before = after[effect.certificate.digest]
        match effect:
            case Hold(_, name, reason):
                after[before.digest] = model.held(before, name)
                if before.state is CertificateState.GOOD:
                    said.append(_suspended(before, reason, now))
            case Revoke(_, reason):
                after[before.digest] = model.revoked(before, reason)
                said.append(revoked(before, reason, now))
            case Replace() if before.replace_by is None:
                after[before.digest] = before.model_copy(update={"replace_by": replace_by})
            case _:
                pass
    for before in touching:
        if after[before.digest] != before:
            await books.certificates.put(after[before.digest])
    return said


async def _applications(
    fact: IdentityFact, effects: Effects, identity: Identity, books: Books, *, now: datetime
) -> list[Fact]:
    pending = effects.pending
    if isinstance(fact, ConsentWithdrawn) and model.consents(identity, now):
        pending = Pending.STAY  # another consent than the one in use
    able = identity.state is IdentityState.ACTIVE and identity.account_level >= 2
    said: list[Fact] = []
    for application in await books.applications.of(identity.id):
        match pending, application.state:
            case Pending.FREEZE, ApplicationState.OPENED:
                await books.applications.put(application.to(ApplicationState.FROZEN))
            case ((Pending.RESUME | Pending.RECHECK), ApplicationState.FROZEN) if able:
                await books.applications.put(application.to(ApplicationState.OPENED))
                said.append(opened(application))
            case Pending.RECHECK, ApplicationState.ISSUED:
                said += await give_up(application, "identity-changed", books, now)
            case Pending.CANCEL, state if state in PENDING:
                said += await give_up(application, "identity-ended-or-consent-withdrawn", books, now)
            case _:
                pass
    return said


async def _served(identity: Identity, books: Books, now: datetime) -> bool:
    """Whether it has a living certificate or an application under way."""
    touching = await books.certificates.touching(identity.id)
    if any(one.identity == identity.id and one.revoked is None and one.not_after > now for one in touching):
        return True
    return any(one.state in PENDING for one in await books.applications.of(identity.id))


async def revoke_overdue(books: Books, *, now: datetime) -> Sequence[Fact]:
    """Revoke what should have been replaced by now because what it says of its holder is no longer right."""
    said: list[Fact] = []
    for certificate in await books.certificates.overdue(now):
        await books.certificates.put(model.revoked(certificate, "superseded"))
        said.append(revoked(certificate, "superseded", now))
    return said


# --- telling the CA


@dataclass(frozen=True)
class Tell:
    """Bring the CA's books to the state in ours."""

    certificate: Certificate


async def plan_tell(fact: CertificateSuspended | CertificateReleased | CertificateRevoked, books: Books) -> Tell | None:
    """What the CA must know: the state as it is now, not as it was when the fact was said."""
    certificate = await books.certificates.get(fact.certificate)
    return None if certificate is None else Tell(certificate)


async def tell_ca(plan: Tell, *, ca: CertificateAuthority) -> None:
    """Suspend, revoke or release at the CA. May be repeated; the last fact of a certificate leaves both books equal.

    Raises:
        Refused: it is revoked there for good.
        Unavailable: the CA does not answer.
    """
    certificate = plan.certificate
    match certificate.state:
        case CertificateState.REVOKED:
            await ca.revoke(certificate.serial, certificate.revoked or "")
        case CertificateState.SUSPENDED:
            await ca.suspend(certificate.serial, certificate.holds[0].partition("/")[0])
        case CertificateState.GOOD:
            await ca.release(certificate.serial)


async def revoked_at_ca(
    fact: CertificateSuspended | CertificateReleased | CertificateRevoked, books: Books, *, now: datetime
) -> Sequence[Fact]:
    """The CA has revoked it on its own: so it is revoked here."""
    certificate = await books.certificates.get(fact.certificate)
    if certificate is None or certificate.revoked is not None:
        return []
    await books.certificates.put(model.revoked(certificate, "revoked-by-ca"))
    return [revoked(certificate, "revoked-by-ca", now)]


@dataclass(frozen=True)
class Releases:
    """Holds whose ground has ended."""

    identity: Identity
    due: Sequence[Release]


async def plan_releases(fact: IdentityFact, books: Books, *, now: datetime) -> Releases | None:
    """The holds whose ground this fact ends, if any, by what is known now."""
    identity = await books.identities.get(fact.identity)
    if identity is None:
        return None
    effects = model.effects(fact, await books.certificates.touching(fact.identity))
    releases = [effect for effect in effects.certificates if isinstance(effect, Release)]
    due = [release for release in releases if await _may_release(release, identity, books, now)]
    return Releases(identity, due) if due else None


async def _may_release(release: Release, identity: Identity, books: Books, now: datetime) -> bool:
    if identity.state is not IdentityState.ACTIVE:
        return False
    if release.name.startswith("level/") and identity.account_level < 2:
        return False
    if release.representative is None:
        return True
    try:
        model.may_represent(identity, await books.identities.get(release.representative), now)
    except Refused:
        return False
    return True


async def ask_ca_to_release(plan: Releases, *, ca: CertificateAuthority, registry: Registry) -> Sequence[Release]:
    """Release at the CA what has no other hold; a new representative must stand in the registry. May be repeated.

    Answers the releases that nobody refused; the other holds stay.

    Raises:
        Unavailable: the CA or the registry does not answer.
    """
    due = list(plan.due)
    if any(release.representative is not None for release in due):
        try:
            code = model.organisation_code(plan.identity)
            model.check_registry(plan.identity, await registry.look_up(code.digits))
        except Refused:
            due = [release for release in due if release.representative is None]
    for certificate in _after(due).values():
        if certificate.state is CertificateState.GOOD:
            try:
                await ca.release(certificate.serial)
            except Refused:
                due = [release for release in due if release.certificate.digest != certificate.digest]
    return due


def _after(due: Sequence[Release]) -> dict[Digest, Certificate]:
    after: dict[Digest, Certificate] = {}
    for release in due:
        certificate = after.get(release.certificate.digest, release.certificate)
        after[certificate.digest] = model.released(certificate, release.name)
    return after


async def released(fact: IdentityFact, due: Sequence[Release], books: Books, *, now: datetime) -> Sequence[Fact]:
    """Take the holds off here; the certificate may sign again when none is left.

    What was locked again while the CA was asked stays held, and the CA is told so once more.
    """
    identity = await books.identities.get(fact.identity)
    facts: list[Fact] = []
    for digest, asked in _after(due).items():
        before = await books.certificates.get(digest)
        if before is None or before.revoked is not None or identity is None:
            continue
        free, reason = before, ""
        for release in due:
            if release.certificate.digest == digest and await _may_release(release, identity, books, now):
                free, reason = model.released(free, release.name, release.representative), release.reason
        if free != before:
            await books.certificates.put(free)
        if free.state is CertificateState.GOOD and before.state is CertificateState.SUSPENDED:
            facts.append(_released(free, reason, now))
        elif free.state is CertificateState.SUSPENDED and asked.state is CertificateState.GOOD:
            facts.append(_suspended(free, "held-again", now))
    return facts


def _suspended(certificate: Certificate, reason: str, now: datetime) -> CertificateSuspended:
    return CertificateSuspended(
        identity=certificate.identity,
        credential=certificate.credential,
        certificate=certificate.digest,
        reason=Code(reason),
        since=now,
    )


def _released(certificate: Certificate, reason: str, now: datetime) -> CertificateReleased:
    return CertificateReleased(
        identity=certificate.identity,
        credential=certificate.credential,
        certificate=certificate.digest,
        reason=Code(reason),
        since=now,
        representative=certificate.representative,
    )
