"""What the service does on a command or a fact: load, decide by the model, keep, return the facts to say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from domain.activation import Activation, Purpose, check_activation
from events.binding import CertificateBound, CertificateReleased, CertificateRevoked, CertificateSuspended
from events.contract import ContractFact
from events.errors import Refused
from events.identity import (
    IdentityEnded,
    IdentityLocked,
    IdentityUnlocked,
    IdentityUpdated,
    IdentityVerified,
    OrganisationDissolved,
    OrganisationVerified,
    RepresentativeChanged,
)
from events.signing import DocumentSigned, SigningRefused
from events.values import Code, ContractId, Digest, IdentityId, Slot
from events.verification import SignatureRejected, SignatureVerified
from services.contracts import model
from services.contracts.aggregate import Approval, Contract
from services.contracts.lifecycle import ContractState
from services.contracts.model import Decision
from services.contracts.ports import Book, Ending, Record, Sheet, Standings
from services.contracts.standing import LOCKED, Binding, BindingState, Holder, standing, usable

IdentityNews = (
    IdentityVerified
    | IdentityUpdated
    | IdentityLocked
    | IdentityUnlocked
    | IdentityEnded
    | OrganisationVerified
    | RepresentativeChanged
    | OrganisationDissolved
)
BindingNews = CertificateBound | CertificateSuspended | CertificateReleased | CertificateRevoked
Judged = DocumentSigned | SigningRefused | SignatureVerified | SignatureRejected

Facts = Sequence[ContractFact]
Told = tuple[Record, Facts]


# --- commands of the sender ----------------------------------------------------------------------------------------


def check_placements(contract: Contract, sheets: Sequence[Sheet]) -> None:
    """Every visible signature lies on a page and none hides another.

    Raises:
        Refused: a placement is outside its page, or two overlap.
    """
    placed = [(party.slot, party.placement) for party in contract.parties if party.placement is not None]
    for slot, place in placed:
        if place.page > len(sheets):
            raise _placement(f"the slot {slot} on page {place.page} of {len(sheets)}")
        sheet = sheets[place.page - 1]
        if place.x + place.width > sheet.width + 0.5 or place.y + place.height > sheet.height + 0.5:
            raise _placement(f"the slot {slot} beyond the edge of a page of {sheet.width:g} by {sheet.height:g} points")
    for index, (slot, one) in enumerate(placed):
        for other, two in placed[index + 1 :]:
            apart = (
                one.page != two.page
                or one.x + one.width <= two.x
                or two.x + two.width <= one.x
                or one.y + one.height <= two.y
                or two.y + two.height <= one.y
            )
            if not apart:
                raise _placement(f"the slots {slot} and {other} over each other")


async def draft(record: Record, *, book: Book, now: datetime, send_now: bool) -> Told:
    """Keep a new contract and, if wanted, send it.

    Raises:
        Refused: the deadline has passed; when sending: as `send`.
    """
    if record.contract.deadline <= now:
        raise Refused(
            "deadline-passed",
            found=f"a deadline of {record.contract.deadline.isoformat()}",
            expected=f"a deadline after {now.isoformat()}",
            remedy="choose a later deadline",
        )
    await book.add(record)
    return await _sent(record, book=book, now=now) if send_now else (record, ())


async def send(contract: ContractId, sender: str, *, book: Book, now: datetime) -> Told:
    """Send a draft to its parties.

    Raises:
        Refused: unknown, not a draft, the deadline has passed, or a party has no bound certificate.
    """
    return await _sent(await owned(contract, sender, book=book), book=book, now=now)


async def withdraw(contract: ContractId, sender: str, ending: Ending, *, book: Book, now: datetime) -> Told:
    """Take a contract back.

    Raises:
        Refused: unknown, ended, or being concluded.
    """
    record = await owned(contract, sender, book=book)
    return await _kept(record, model.withdraw(record.contract, ending.code), book=book, now=now, words=ending.words)


async def owned(contract: ContractId, sender: str, *, book: Book) -> Record:
    """A contract of this sender; somebody else's is as unknown as one that never was.

    Raises:
        Refused: 404.
    """
    record = await book.load(contract)
    if record.sender != sender:
        raise unknown_contract()
    return record


async def check_parties(contract: Contract, *, standings: Standings, now: datetime) -> Contract:
    """Every party can sign, now or when a hold ends; the contract comes back with the holds.

    Raises:
        Refused: a party can never sign again, or has no certificate.
    """
    without: list[Slot] = []
    for party in contract.parties:
        bindings = await standings.bindings(party.identity)
        how = standing(await standings.holder(party.identity), bindings)
        if how.ended is not None:
            raise Refused(
                "party-ended",
                found=f"the party of the slot {party.slot} can no longer sign ({how.ended})",
                expected="parties whose e-identity lives and whose certificate was not revoked",
                remedy="draft the contract anew with a party that can sign",
                status=409,
            )
        if not bindings or (usable(bindings, now) is None and not how.held):
            without.append(party.slot)
        contract, _ = model.stand(contract, party.identity, how)
    if without:
        raise Refused(
            "party-without-certificate",
            found=f"no valid bound certificate for {', '.join(without)}",
            expected="a certificate bound to the e-identity of every party",
            remedy="let these parties apply for a certificate, then send the contract",
            status=409,
        )
    return contract


async def _sent(record: Record, *, book: Book, now: datetime) -> Told:
    model.send(record.contract, now)  # what cannot be sent at all is told before its parties are looked at
    contract = await check_parties(record.contract, standings=book, now=now)
    return await _kept(record, model.send(contract, now), book=book, now=now)


# --- commands of a party -------------------------------------------------------------------------------------------


async def confirm(
    contract: ContractId,
    slot: Slot,
    shown: Digest,
    activation: Activation,
    evidence: Digest,
    *,
    book: Book,
    issuer: str,
    now: datetime,
) -> Told:
    """A party approves what it was shown; `evidence` is the blob of the signed activation.

    Raises:
        Refused: the activation does not fit, was used before, or the party may not confirm now.
    """
    record = await book.load(contract)
    party = record.contract.party(slot)
    bindings = await book.bindings(party.identity)
    await _check(record, slot, Purpose.SIGN, shown, activation, book=book, issuer=issuer, now=now)
    # A held party is refused by the model, which knows the reason; it may have no usable certificate just now.
    binding = usable(bindings, now) or (bindings[-1] if bindings and party.held else None)
    if binding is None:
        raise Refused(
            "party-without-certificate",
            found=f"no valid bound certificate for the slot {slot}",
            expected="a certificate bound to the party's e-identity and within its validity",
            remedy="apply for a certificate, then confirm",
            status=409,
        )
    approval = Approval(
        identity=party.identity,
        shown=shown,
        activation=evidence,
        credential=binding.credential,
        certificate=binding.certificate,
    )
    decided = model.confirm(record.contract, slot, approval, now)
    await _redeem(activation, contract, slot, book=book)
    return await _kept(record, decided, book=book, now=now)


async def decline(
    contract: ContractId,
    slot: Slot,
    activation: Activation,
    ending: Ending,
    *,
    book: Book,
    issuer: str,
    now: datetime,
) -> Told:
    """A party says no. Its words stay here; only the code is told.

    Raises:
        Refused: the activation does not fit, was used before, or the party may not decline now.
    """
    record = await book.load(contract)
    party = record.contract.party(slot)
    await _check(record, slot, Purpose.DECLINE, activation.digest, activation, book=book, issuer=issuer, now=now)
    decided = model.decline(record.contract, slot, party.identity, activation.digest, ending.code)
    await _redeem(activation, contract, slot, book=book)
    return await _kept(record, decided, book=book, now=now, words=ending.words)


async def _check(
    record: Record,
    slot: Slot,
    purpose: Purpose,
    shown: Digest,
    activation: Activation,
    *,
    book: Book,
    issuer: str,
    now: datetime,
) -> None:
    """The activation is by who may act for the party: itself, or the representative bound to its certificate."""
    party = record.contract.party(slot)
    bindings = await book.bindings(party.identity)
    holder = await book.holder(party.identity)
    live = [each for each in bindings if each.state is not BindingState.REVOKED]
    bound = usable(bindings, now) or (live[-1] if live else None)
    representative = bound.representative if bound else None
    if representative is not None:
        if holder is not None and holder.representative not in (None, representative):
            raise Refused(
                "representative-changed",
                found="an organisation whose representative changed after its certificate was bound",
                expected="the present representative bound to the organisation's certificate",
                remedy="let the new representative confirm the certificate first",
                status=409,
            )
        how = standing(await book.holder(representative), ())
        if how.held or how.ended:
            raise Refused(
                "representative-held",
                found=f"a representative who cannot act now ({', '.join(how.held) or how.ended})",
                expected="a representative whose e-identity is neither locked nor ended",
                remedy="have the hold lifted, or appoint another representative",
                status=409,
            )
    check_activation(
        activation,
        now=now,
        issuer=issuer,
        purpose=purpose,
        digest=shown,
        txn=f"{record.contract.id}/{slot}",
        subject=representative or party.identity,
        act_for=party.identity if representative is not None else None,
    )


async def _redeem(activation: Activation, contract: ContractId, slot: Slot, *, book: Book) -> None:
    if not await book.redeem(activation.jti, contract, slot):
        raise Refused(
            "activation-used",
            found="an activation that was used before",
            expected="one activation for one decision",
            remedy="approve again on the phone",
            status=409,
        )


# --- facts ---------------------------------------------------------------------------------------------------------


async def hear_identity(news: IdentityNews, *, book: Book, now: datetime) -> Facts:
    """An e-identity changed: its open contracts follow. What is older than what is known changes nothing."""
    before = await book.holder(news.identity) or Holder(identity=news.identity)
    if news.sequence <= before.sequence:
        return ()
    after = _after(before, news).model_copy(update={"sequence": news.sequence})
    await book.keep_holder(after)
    anew = isinstance(news, IdentityUpdated | RepresentativeChanged)
    return await _follow(news.identity, book=book, now=now, anew=anew)


def _after(holder: Holder, news: IdentityNews) -> Holder:
    match news:
        case IdentityVerified() | IdentityUpdated():
            changed: dict[str, object] = {"account_level": news.account_level}
        case OrganisationVerified():
            changed = {"account_level": news.account_level, "representative": news.representative}
        case RepresentativeChanged():
            changed = {"representative": news.representative}
        case IdentityLocked():
            changed = {"locks": (LOCKED,)}
        case IdentityUnlocked():
            changed = {"locks": ()}
        case IdentityEnded() | OrganisationDissolved():
            # Never overwritten: a late "verified" does not revive.
            changed = {"ended": holder.ended or Code(news.reason)}
    return holder.model_copy(update=changed)


async def hear_binding(news: BindingNews, *, book: Book, now: datetime) -> Facts:
    """A certificate was bound, suspended, released or revoked: the holder's open contracts follow."""
    known = {binding.credential: binding for binding in await book.bindings(news.identity)}
    before = known.get(news.credential)
    if isinstance(news, CertificateBound):
        if before is None:
            await book.keep_binding(
                Binding(
                    credential=news.credential,
                    identity=news.identity,
                    certificate=news.certificate,
                    state=BindingState.BOUND,
                    representative=news.representative,
                    not_before=news.not_before,
                    not_after=news.not_after,
                    confirmed_at=news.confirmed_at,
                )
            )
    elif before is None or before.state is BindingState.REVOKED:
        # A certificate that was never confirmed cannot sign here; one that was revoked never comes back.
        return ()
    else:
        changed: dict[str, object] = {"state": _STATES[type(news)]}
        if isinstance(news, CertificateReleased) and news.representative is not None:
            changed["representative"] = news.representative
        await book.keep_binding(before.model_copy(update=changed))
    return await _follow(news.identity, book=book, now=now)


_STATES: dict[type, BindingState] = {
    CertificateSuspended: BindingState.SUSPENDED,
    CertificateReleased: BindingState.BOUND,
    CertificateRevoked: BindingState.REVOKED,
}


async def _follow(identity: IdentityId, *, book: Book, now: datetime, anew: bool = False) -> Facts:
    bindings = await book.bindings(identity)
    how = standing(await book.holder(identity), bindings)
    good = {each.credential for each in bindings if each.state is BindingState.BOUND}
    said: list[ContractFact] = []
    for record in await book.open_with(identity):
        party = record.contract.of(identity)
        lost = party is not None and party.credential is not None and party.credential not in good
        decided = model.stand(record.contract, identity, how, anew=anew or lost)
        _, facts = await _kept(record, decided, book=book, now=now)
        said.extend(facts)
    return said


async def hear_judged(news: Judged, *, book: Book, now: datetime) -> Facts:
    """The signer or the verifier said something about a slot.

    Raises:
        Refused: nobody here ordered it; a dead letter for people to look at.
    """
    record = await book.load(news.contract)
    match news:
        case DocumentSigned():
            decided = model.hear_signed(record.contract, news)
        case SigningRefused():
            decided = model.hear_refused(record.contract, news)
        case SignatureVerified():
            decided = model.hear_verified(record.contract, news)
        case SignatureRejected():
            decided = model.hear_rejected(record.contract, news)
    return (await _kept(record, decided, book=book, now=now))[1]


async def expire(contract: ContractId, *, book: Book, now: datetime) -> Facts:
    """End a contract whose time is over; nothing happens while an ordered signature has its day of grace."""
    record = await book.load(contract)
    try:
        decided = model.expire(record.contract, now)
    except Refused:
        return ()
    return (await _kept(record, decided, book=book, now=now))[1]


async def _kept(record: Record, decided: Decision, *, book: Book, now: datetime, words: str = "") -> Told:
    contract, facts = decided
    if contract == record.contract:
        return record, facts
    changed: dict[str, object] = {"contract": contract, "version": record.version + 1}
    if contract.state is not ContractState.DRAFT and record.contract.state is ContractState.DRAFT and facts:
        changed["sent_at"] = now
    if contract.state.ended:
        changed["ended_at"] = now
    if words:
        changed["words"] = words
    after = record.model_copy(update=changed)
    await book.save(after)
    return after, facts


def unknown_contract() -> Refused:
    """The refusal of a contract that is not there, or not for this caller."""
    return Refused(
        "unknown-contract",
        found="no such contract",
        expected="the id of a contract of yours",
        remedy="check the id",
        status=404,
    )


def _placement(found: str) -> Refused:
    return Refused(
        "placement-outside",
        found=found,
        expected="every visible signature inside its page, none over another",
        remedy="give page, x, y, width and height in points from the lower left corner of the page as displayed",
    )
