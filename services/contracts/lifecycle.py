"""The lifecycle of a contract as one table: what can happen, when, what becomes of it, and what is said.

`model.py` decides by it and the documents are drawn from it; what it does not list cannot happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from events.contract import (
    ContractCompleted,
    ContractExpired,
    ContractFact,
    ContractSent,
    ContractVoided,
    ContractWithdrawn,
    PartyConfirmed,
    PartyDeclined,
    SigningRequested,
)


class ContractState(StrEnum):
    """Where a contract stands."""

    DRAFT = "draft"
    SENT = "sent"
    COMPLETED = "completed"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    VOIDED = "voided"

    @property
    def ended(self) -> bool:
        """Whether nothing will ever be said about the contract again."""
        return self not in (ContractState.DRAFT, ContractState.SENT)


class SlotState(StrEnum):
    """Where one party's place stands."""

    WAITING = "waiting"
    INVITED = "invited"
    CONFIRMED = "confirmed"
    REQUESTED = "requested"
    SIGNED = "signed"
    VERIFIED = "verified"
    DECLINED = "declined"
    REJECTED = "rejected"
    BARRED = "barred"

    @property
    def outstanding(self) -> bool:
        """Whether a signature was ordered and has not been judged."""
        return self in (SlotState.REQUESTED, SlotState.SIGNED)


class Trigger(StrEnum):
    """What can happen to a contract: a command of somebody, a fact heard, or what follows by itself."""

    SEND = "send"
    INVITE = "invite"
    CONFIRM = "confirm"
    REQUEST = "request"
    FORGET = "forget"
    HEAR_SIGNED = "hear DocumentSigned"
    HEAR_REFUSED = "hear SigningRefused"
    HEAR_VERIFIED = "hear SignatureVerified"
    HEAR_REJECTED = "hear SignatureRejected"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    BAR = "bar"
    COMPLETE = "complete"


@dataclass(frozen=True)
class Move:
    """One row of the lifecycle. Without `slot` the move is about the contract as a whole."""

    trigger: Trigger
    contract: frozenset[ContractState]
    contract_after: ContractState | None
    slot: frozenset[SlotState]
    slot_after: SlotState | None
    says: tuple[type[ContractFact], ...]
    when: str


def _row(
    trigger: Trigger,
    contract: ContractState | tuple[ContractState, ...],
    slot: tuple[SlotState, ...] | SlotState | None,
    slot_after: SlotState | None,
    says: tuple[type[ContractFact], ...] | type[ContractFact] | None,
    when: str,
    *,
    after: ContractState | None = None,
) -> Move:
    return Move(
        trigger,
        frozenset((contract,) if isinstance(contract, ContractState) else contract),
        after,
        frozenset(() if slot is None else (slot,) if isinstance(slot, SlotState) else slot),
        slot_after,
        () if says is None else says if isinstance(says, tuple) else (says,),
        when,
    )


_S = SlotState
LIFECYCLE: tuple[Move, ...] = (
    _row(
        Trigger.SEND,
        ContractState.DRAFT,
        None,
        None,
        ContractSent,
        "the sender sends it; every party holds a bound certificate; the deadline lies ahead",
        after=ContractState.SENT,
    ),
    _row(Trigger.INVITE, ContractState.SENT, _S.WAITING, _S.INVITED, None, "every slot of a lower order is verified"),
    _row(
        Trigger.CONFIRM,
        ContractState.SENT,
        _S.INVITED,
        _S.CONFIRMED,
        PartyConfirmed,
        "the party approves the digest it was shown: the document or the latest verified revision",
    ),
    _row(
        Trigger.REQUEST,
        ContractState.SENT,
        _S.CONFIRMED,
        _S.REQUESTED,
        SigningRequested,
        "no other signature of the contract is outstanding; the base is the latest verified revision",
    ),
    _row(
        Trigger.FORGET,
        ContractState.SENT,
        _S.CONFIRMED,
        _S.INVITED,
        None,
        "the party was locked, suspended or changed before its turn: it must confirm anew",
    ),
    _row(
        Trigger.HEAR_SIGNED,
        ContractState.SENT,
        _S.REQUESTED,
        _S.SIGNED,
        None,
        "the signer claims a signature on the base",
    ),
    _row(
        Trigger.HEAR_REFUSED,
        ContractState.SENT,
        _S.REQUESTED,
        _S.INVITED,
        None,
        "the signer would not sign; the reason is kept; the party may confirm anew",
    ),
    _row(
        Trigger.HEAR_VERIFIED,
        ContractState.SENT,
        (_S.REQUESTED, _S.SIGNED),
        _S.VERIFIED,
        None,
        "the verifier judged the file itself; it is the base of the next signature",
    ),
    _row(
        Trigger.HEAR_REJECTED,
        ContractState.SENT,
        (_S.REQUESTED, _S.SIGNED),
        _S.REJECTED,
        ContractVoided,
        "the verifier rejected the file, or it does not reach the agreed level",
        after=ContractState.VOIDED,
    ),
    _row(
        Trigger.DECLINE,
        ContractState.SENT,
        (_S.INVITED, _S.CONFIRMED),
        _S.DECLINED,
        PartyDeclined,
        "the party will not sign",
        after=ContractState.DECLINED,
    ),
    _row(
        Trigger.BAR,
        ContractState.SENT,
        (_S.WAITING, _S.INVITED, _S.CONFIRMED, _S.REQUESTED),
        _S.BARRED,
        ContractVoided,
        "the party's e-identity ended or its last certificate was revoked before it had signed",
        after=ContractState.VOIDED,
    ),
    _row(
        Trigger.WITHDRAW,
        ContractState.DRAFT,
        None,
        None,
        None,
        "the sender gives the draft up; nobody had heard of it",
        after=ContractState.WITHDRAWN,
    ),
    _row(
        Trigger.WITHDRAW,
        ContractState.SENT,
        None,
        None,
        ContractWithdrawn,
        "the sender takes it back while somebody has yet to confirm",
        after=ContractState.WITHDRAWN,
    ),
    _row(
        Trigger.EXPIRE,
        ContractState.SENT,
        None,
        None,
        ContractExpired,
        "the deadline passed; an outstanding signature gets a day's grace",
        after=ContractState.EXPIRED,
    ),
    _row(
        Trigger.COMPLETE,
        ContractState.SENT,
        None,
        None,
        ContractCompleted,
        "every slot is verified",
        after=ContractState.COMPLETED,
    ),
)


def either(words: Iterable[str]) -> str:
    """The words as alternatives, each once."""
    return " or ".join(dict.fromkeys(words))


def lifecycle_markdown() -> str:
    """The table for people: the documents are drawn from it, never written by hand."""
    lines = [
        "| what happens | contract is | slot is | slot becomes | contract becomes | said | when |",
        "|" + "---|" * 7,
    ]
    for move in LIFECYCLE:
        cells = (
            move.trigger.value,
            either(state.value for state in ContractState if state in move.contract),
            either(state.value for state in SlotState if state in move.slot) or "-",
            move.slot_after.value if move.slot_after else "-",
            move.contract_after.value if move.contract_after else "-",
            ", ".join(fact.name() for fact in move.says) or "-",
            move.when,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
