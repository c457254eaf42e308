"""What a contract decides, by the table of `lifecycle.py` and without touching anything.

A decision takes a contract and something that happened and returns the contract after it with the facts to say. What
the table does not list raises `Refused` and changes nothing. Sources: Law 20/2023/QH15 Art 22 (approval bound to the
content approved), Art 34-38 (contracts by data messages, agreed terms of signing).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from events.contract import (
    ContractCompleted,
    ContractExpired,
    ContractFact,
    ContractSent,
    ContractVoided,
    ContractWithdrawn,
    PartyConfirmed,
    PartyDeclined,
    Seat,
    SigningRequested,
)
from events.errors import Refused
from events.signing import DocumentSigned, SigningRefused
from events.values import BaselineLevel, Code, Digest, IdentityId, Slot
from events.verification import SignatureRejected, SignatureVerified
from services.contracts.aggregate import Approval, Contract, Party
from services.contracts.lifecycle import LIFECYCLE, ContractState, Move, SlotState, Trigger, either
from services.contracts.standing import Standing

GRACE = timedelta(days=1)
"""How long after the deadline a signature ordered in time may still be made; then the contract expires all the same."""


Decision = tuple[Contract, tuple[ContractFact, ...]]


# --- what people decide ------------------------------------------------------------------------------------------


def send(contract: Contract, now: datetime) -> Decision:
    """Send a draft to its parties; its text no longer changes.

    Raises:
        Refused: it is not a draft, or the deadline has passed.
    """
    move = _allowed(Trigger.SEND, contract)
    if contract.deadline <= now:
        raise Refused(
            "deadline-passed",
            found=f"a deadline of {contract.deadline.isoformat()}",
            expected=f"a deadline after {now.isoformat()}",
            remedy="draft the contract anew with a later deadline",
        )
    sent = _after(contract, move)
    fact = ContractSent(
        contract=contract.id,
        document=contract.document,
        pages=contract.pages,
        level=contract.terms.level,
        seats=tuple(Seat(slot=each.slot, identity=each.identity, order=each.order) for each in contract.parties),
        deadline=contract.deadline,
    )
    return _onward(sent, fact)


def confirm(contract: Contract, slot: Slot, approval: Approval, now: datetime) -> Decision:
    """A party approves what it was shown; when it is its turn, its signature is ordered at once.

    Raises:
        Refused: the contract is not open, it is not this slot's turn, the slot is confirmed or signed already, the
            approval is somebody else's, the party is held, the deadline has passed, or the digest is not what was
            shown.
    """
    party = contract.party(slot)
    if approval.identity != party.identity:
        raise _not_the_party(slot)
    move = _allowed(Trigger.CONFIRM, contract, party)
    _in_time(contract, now)
    if party.held:
        raise Refused(
            "party-held",
            found=f"the party of {slot} cannot sign now: {', '.join(party.held)}",
            expected="an unlocked e-identity and a certificate that is neither suspended nor revoked",
            remedy="have the hold lifted at the e-identity authority, then confirm again",
            status=409,
        )
    _was_shown(contract, approval.shown)
    confirmed = party.model_copy(
        update={
            "state": move.slot_after,
            "shown": approval.shown,
            "activation": approval.activation,
            "confirmed_at": now,
            "credential": approval.credential,
            "certificate": approval.certificate,
            "reason": None,
        }
    )
    fact = PartyConfirmed(
        contract=contract.id,
        slot=slot,
        identity=party.identity,
        shown=approval.shown,
        activation=approval.activation,
    )
    return _onward(_with(contract, confirmed), fact)


def decline(contract: Contract, slot: Slot, identity: IdentityId, shown: Digest, reason: Code) -> Decision:
    """A party says no, which ends the contract.

    Raises:
        Refused: the contract is not open, the slot is not invited or its signature was ordered already, the refusal is
            somebody else's, or the digest is not what was shown.
    """
    party = contract.party(slot)
    if identity != party.identity:
        raise _not_the_party(slot)
    move = _allowed(Trigger.DECLINE, contract, party)
    _was_shown(contract, shown)
    declined = party.model_copy(update={"state": move.slot_after, "shown": shown, "reason": reason})
    fact = PartyDeclined(contract=contract.id, slot=slot, identity=identity, reason=reason)
    return _after(_with(contract, declined), move, reason), (fact,)


def withdraw(contract: Contract, reason: Code) -> Decision:
    """The sender takes the contract back.

    Raises:
        Refused: it has ended, or the last signature is being made: the parties have all agreed by then.
    """
    move = _allowed(Trigger.WITHDRAW, contract)
    rest = [party for party in contract.parties if party.state is not SlotState.VERIFIED]
    if rest and all(party.state.outstanding for party in rest):
        raise Refused(
            "being-concluded",
            found="every party has agreed and the last signature is being made",
            expected="a contract that somebody has yet to confirm",
            remedy="wait for the outcome; a concluded contract is ended by an agreement of its parties",
            status=409,
        )
    facts = (ContractWithdrawn(contract=contract.id, reason=reason),) if contract.state is ContractState.SENT else ()
    return _after(contract, move, reason), facts


# --- what time and the e-identity decide ---------------------------------------------------------------------------


def expire(contract: Contract, now: datetime) -> Decision:
    """End a contract whose deadline has passed; a signature that was ordered in time gets a day's grace.

    Raises:
        Refused: it has ended, was never sent, or the moment has not come.
    """
    move = _allowed(Trigger.EXPIRE, contract)
    ends = contract.deadline + (GRACE if contract.outstanding else timedelta())
    if now < ends:
        raise Refused(
            "not-due",
            found=f"a contract that may run until {ends.isoformat()}",
            expected="a contract whose time is over",
            remedy="come back then",
            status=409,
        )
    fact = ContractExpired(contract=contract.id, deadline=contract.deadline)
    return _after(contract, move, Code("deadline-passed")), (fact,)


def bar(contract: Contract, identity: IdentityId, reason: Code) -> Decision:
    """A party can never sign again; a contract it has not signed is void. What it signed before stays valid."""
    party = contract.of(identity)
    if party is None or contract.state.ended:
        return contract, ()
    if contract.state is ContractState.DRAFT:
        return hold(contract, identity, reason)
    if party.state in (SlotState.SIGNED, SlotState.VERIFIED):
        return contract, ()
    move = _allowed(Trigger.BAR, contract, party)
    return _void(contract, party, move, reason)


def hold(contract: Contract, identity: IdentityId, reason: Code) -> Decision:
    """A party cannot sign for now. A confirmation that waits for its turn is forgotten; a made signature stands."""
    party = contract.of(identity)
    if party is None or contract.state.ended:
        return contract, ()
    if reason not in party.held:
        party = party.model_copy(update={"held": (*party.held, reason)})
    return _forget(_with(contract, party), party)


def release(contract: Contract, identity: IdentityId, reason: Code) -> Decision:
    """One ground why a party could not sign has ended; the others, if any, remain."""
    party = contract.of(identity)
    if party is None or contract.state.ended or reason not in party.held:
        return contract, ()
    held = tuple(each for each in party.held if each != reason)
    return _with(contract, party.model_copy(update={"held": held})), ()


def reconsider(contract: Contract, identity: IdentityId) -> Decision:
    """Something about a party changed (name, level, representative): a confirmation that waits is forgotten."""
    party = contract.of(identity)
    if party is None or contract.state.ended:
        return contract, ()
    return _forget(contract, party)


def stand(contract: Contract, identity: IdentityId, standing: Standing, *, anew: bool = False) -> Decision:
    """Let a contract follow how one of its parties stands now; `anew`: what it confirmed must be confirmed again."""
    party = contract.of(identity)
    if party is None or contract.state.ended:
        return contract, ()
    if standing.ended is not None and contract.state is ContractState.SENT:
        return bar(contract, identity, standing.ended)
    for reason in standing.held:
        contract, _ = hold(contract, identity, reason)
    for reason in party.held:
        if reason not in standing.held:
            contract, _ = release(contract, identity, reason)
    if anew:
        contract, _ = reconsider(contract, identity)
    return contract, ()


# --- what the signer and the verifier say --------------------------------------------------------------------------


def hear_signed(contract: Contract, fact: DocumentSigned) -> Decision:
    """The signer claims a signature. Nothing is believed before the verifier has judged the file.

    Raises:
        Refused: nobody ordered this signature.
    """
    party = contract.party(fact.slot)
    if contract.state.ended or (party.state is not SlotState.REQUESTED and party.signed == fact.signed):
        return contract, ()
    move = _allowed(Trigger.HEAR_SIGNED, contract, party)
    _as_ordered(party, base=fact.base)
    if (fact.shown, fact.certificate, fact.identity) != (party.shown, party.certificate, party.identity):
        raise _not_ordered(party.slot, "a signature with another certificate or on another approval")
    return _with(contract, party.model_copy(update={"state": move.slot_after, "signed": fact.signed})), ()


def hear_refused(contract: Contract, fact: SigningRefused) -> Decision:
    """The signer would not sign; the party may confirm anew, the next one who confirmed has its turn.

    Raises:
        Refused: nobody ordered this signature.
    """
    party = contract.party(fact.slot)
    if contract.state.ended:
        return contract, ()
    move = _allowed(Trigger.HEAR_REFUSED, contract, party)
    _as_ordered(party, base=fact.base)
    return _onward(_with(contract, _cleared(party, move, fact.reason)))


def hear_verified(contract: Contract, fact: SignatureVerified) -> Decision:
    """The verifier passed the file: it is released, the next party's turn comes or the contract is complete.

    A file below the agreed level voids the contract. May be heard before the signer's own claim: the two come by
    different ways.

    Raises:
        Refused: nobody ordered this signature.
    """
    party = contract.party(fact.slot)
    if contract.state.ended or (party.state is SlotState.VERIFIED and party.signed == fact.signed):
        return contract, ()
    _allowed(Trigger.HEAR_VERIFIED, contract, party)
    _as_ordered(party, base=fact.base, signed=fact.signed)
    judged = party.model_copy(update={"signed": fact.signed, "report": fact.report})
    if _rank(fact.level) < _rank(contract.terms.level):
        move = _allowed(Trigger.HEAR_REJECTED, contract, party)
        return _void(contract, judged, move, Code("level-not-reached"))
    verified = judged.model_copy(update={"state": SlotState.VERIFIED, "reason": None})
    released = _with(contract, verified).model_copy(update={"latest": fact.signed})
    if any(each.state is not SlotState.VERIFIED for each in released.parties):
        return _onward(released)
    move = _allowed(Trigger.COMPLETE, released)
    done = ContractCompleted(
        contract=contract.id,
        document=fact.signed,
        signatures=len(released.parties),
        level=fact.level,
        report=fact.report,
    )
    return _after(released, move), (done,)


def hear_rejected(contract: Contract, fact: SignatureRejected) -> Decision:
    """The verifier rejected the file: it is never released and the contract is void.

    Raises:
        Refused: nobody ordered this signature.
    """
    party = contract.party(fact.slot)
    if contract.state.ended:
        return contract, ()
    move = _allowed(Trigger.HEAR_REJECTED, contract, party)
    _as_ordered(party, base=fact.base, signed=fact.signed)
    judged = party.model_copy(update={"signed": fact.signed, "report": fact.report})
    return _void(contract, judged, move, fact.reason)


# --- the table at work ---------------------------------------------------------------------------------------------


def _allowed(trigger: Trigger, contract: Contract, party: Party | None = None) -> Move:
    """The row of the table for this move.

    Raises:
        Refused: there is none.
    """
    rows = [move for move in LIFECYCLE if move.trigger is trigger]
    open_rows = [move for move in rows if contract.state in move.contract]
    if not open_rows:
        named = either(state.value for move in rows for state in move.contract)
        raise Refused(
            f"contract-{contract.state.value}",
            found=f"a contract that is {contract.state.value}",
            expected=f"a contract that is {named}",
            remedy=_remedy_of(contract.state),
            status=409,
        )
    for move in open_rows:
        if party is None or party.state in move.slot:
            return move
    if party is None:  # pragma: no cover - a contract row without a slot always matches
        raise AssertionError(trigger)
    code, remedy = _WHY_NOT[party.state]
    raise Refused(
        code,
        found=f"the slot {party.slot} is {party.state.value}",
        expected=f"a slot that is {either(state.value for move in open_rows for state in move.slot)}",
        remedy=remedy,
        status=409,
    )


def _remedy_of(state: ContractState) -> str:
    if state is ContractState.DRAFT:
        return "send the contract first"
    return "nothing can be done with it any more; draft a new contract" if state.ended else "read the contract again"


_WHY_NOT: dict[SlotState, tuple[str, str]] = {
    SlotState.WAITING: ("out-of-turn", "wait until the parties before have signed; an invitation follows"),
    SlotState.INVITED: ("not-requested", "the party has yet to confirm"),
    SlotState.CONFIRMED: ("already-confirmed", "nothing is left to do: the signature follows when its turn comes"),
    SlotState.REQUESTED: ("signing-in-progress", "wait for the outcome; the signature has been ordered"),
    SlotState.SIGNED: ("signing-in-progress", "wait for the outcome; the signature is being judged"),
    SlotState.VERIFIED: ("slot-already-signed", "nothing is left to do: this slot holds a verified signature"),
    SlotState.DECLINED: ("slot-declined", "draft the contract anew"),
    SlotState.REJECTED: ("slot-rejected", "draft the contract anew"),
    SlotState.BARRED: ("slot-barred", "draft the contract anew"),
}


def _onward(contract: Contract, *said: ContractFact) -> Decision:
    """What follows by itself: invite those whose turn has come, order one signature if none is outstanding."""
    rest = [party for party in contract.parties if party.state is not SlotState.VERIFIED]
    turn = min((party.order for party in rest), default=0)
    for party in rest:
        if party.order == turn and party.state is SlotState.WAITING:
            move = _allowed(Trigger.INVITE, contract, party)
            contract = _with(contract, party.model_copy(update={"state": move.slot_after}))
    if contract.outstanding is not None:
        return contract, said
    for index, party in enumerate(contract.parties):
        if party.state is SlotState.CONFIRMED:
            ordered, request = _request(contract, index)
            return ordered, (*said, request)
    return contract, said


def _request(contract: Contract, index: int) -> tuple[Contract, SigningRequested]:
    party = contract.parties[index]
    move = _allowed(Trigger.REQUEST, contract, party)
    if party.shown is None or party.activation is None or party.credential is None or party.certificate is None:
        raise AssertionError(f"the slot {party.slot} is confirmed without an approval")
    request = SigningRequested(
        contract=contract.id,
        slot=party.slot,
        index=index,
        identity=party.identity,
        credential=party.credential,
        certificate=party.certificate,
        base=contract.revision,
        shown=party.shown,
        activation=party.activation,
        level=contract.terms.level,
        placement=party.placement,
    )
    return _with(contract, party.model_copy(update={"state": move.slot_after, "base": contract.revision})), request


def _with(contract: Contract, party: Party) -> Contract:
    parties = tuple(party if each.slot == party.slot else each for each in contract.parties)
    return contract.model_copy(update={"parties": parties})


def _after(contract: Contract, move: Move, reason: Code | None = None) -> Contract:
    return contract.model_copy(update={"state": move.contract_after, "reason": reason})


def _void(contract: Contract, party: Party, move: Move, reason: Code) -> Decision:
    barred = party.model_copy(update={"state": move.slot_after, "reason": reason})
    fact = ContractVoided(contract=contract.id, slot=party.slot, reason=reason)
    return _after(_with(contract, barred), move, reason), (fact,)


def _forget(contract: Contract, party: Party) -> Decision:
    if party.state is not SlotState.CONFIRMED:
        return contract, ()
    move = _allowed(Trigger.FORGET, contract, party)
    return _with(contract, _cleared(party, move, Code("confirm-anew"))), ()


def _cleared(party: Party, move: Move, reason: Code) -> Party:
    """The party before its approval; what it approved and the claim about it are gone."""
    gone = dict.fromkeys(("shown", "activation", "confirmed_at", "credential", "certificate", "base", "signed"))
    return party.model_copy(update={**gone, "state": move.slot_after, "reason": reason})


def _was_shown(contract: Contract, shown: Digest) -> None:
    if shown not in (contract.document, contract.revision):
        raise Refused(
            "digest-not-shown",
            found=f"an approval of {shown.short}",
            expected=f"the document {contract.document.short} or its latest revision {contract.revision.short}",
            remedy="show the party the contract as it stands now and let it decide on that digest",
        )


def _in_time(contract: Contract, now: datetime) -> None:
    if now >= contract.deadline:
        raise Refused(
            "deadline-passed",
            found=f"a confirmation at {now.isoformat()}",
            expected=f"one before the deadline {contract.deadline.isoformat()}",
            remedy="ask the sender for a new contract",
            status=409,
        )


def _as_ordered(party: Party, *, base: Digest, signed: Digest | None = None) -> None:
    if base != party.base:
        raise _not_ordered(party.slot, f"a signature on {base.short}")
    if signed is not None and party.signed not in (None, signed):
        raise _not_ordered(party.slot, f"a verdict on {signed.short}, which is not the file the signer made")


def _not_ordered(slot: Slot, what: str) -> Refused:
    return Refused(
        "not-as-ordered",
        found=f"for the slot {slot}: {what}",
        expected="the signature that was ordered",
        remedy="nothing changes here; look into the speaker of this fact",
        status=409,
    )


def _not_the_party(slot: Slot) -> Refused:
    return Refused(
        "not-the-party",
        found=f"an activation of another e-identity than the one that holds the slot {slot}",
        expected="the party's own activation",
        remedy="let the party itself approve",
        status=403,
    )


def _rank(level: BaselineLevel) -> int:
    return list(BaselineLevel).index(level)
