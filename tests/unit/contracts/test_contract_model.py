"""The lifecycle of a contract: what is allowed, what is refused, and what no order of events can bring about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

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
from events.errors import Refused
from events.signing import DocumentSigned, SigningRefused
from events.values import BaselineLevel, Code, ContractId, CredentialId, Digest, IdentityId, Slot
from events.verification import SignatureRejected, SignatureVerified
from services.contracts import model
from services.contracts.aggregate import Approval, Contract, Party, SigningTerms
from services.contracts.lifecycle import LIFECYCLE, ContractState, SlotState, lifecycle_markdown

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ID = ContractId("00000000-0000-4000-8000-000000000001")
DOCUMENT = Digest.of(b"the contract")


def someone(number: int) -> IdentityId:
    return IdentityId("abcdefghijklmnopqrstuvwxyz234567"[number] * 52)


def credential(number: int) -> CredentialId:
    return CredentialId(f"00000000-0000-4000-9000-{number:012d}")


def certificate(number: int) -> Digest:
    return Digest.of(b"certificate %d" % number)


def drafted(*orders: int) -> Contract:
    return Contract(
        id=ID,
        document=DOCUMENT,
        pages=3,
        deadline=NOW + timedelta(days=7),
        parties=tuple(
            Party(slot=Slot(f"party-{index}"), identity=someone(index), order=order)
            for index, order in enumerate(orders)
        ),
    )


def sent(*orders: int) -> Contract:
    return model.send(drafted(*orders), NOW)[0]


def approval(number: int, shown: Digest = DOCUMENT, activation: bytes = b"an activation") -> Approval:
    return Approval(
        identity=someone(number),
        shown=shown,
        activation=Digest.of(activation),
        credential=credential(number),
        certificate=certificate(number),
    )


def slot(number: int) -> Slot:
    return Slot(f"party-{number}")


def confirmed(contract: Contract, number: int, shown: Digest | None = None) -> tuple[Contract, Any]:
    return model.confirm(contract, slot(number), approval(number, shown or contract.document), NOW)


def claim(contract: Contract, number: int, **changed: Any) -> DocumentSigned:
    party = contract.party(slot(number))
    made: dict[str, Any] = {
        "contract": ID,
        "slot": party.slot,
        "identity": party.identity,
        "credential": credential(number),
        "certificate": certificate(number),
        "base": contract.revision,
        "shown": party.shown or DOCUMENT,
        "signed": Digest.of(contract.revision.encode() + party.slot.encode()),
        "field": f"Antin-{party.slot}",
        "level": BaselineLevel.LTA,
        "checked": Digest.of(b"checked"),
        "signed_at": NOW,
    }
    return DocumentSigned(**{**made, **changed})


def verdict(contract: Contract, number: int, **changed: Any) -> SignatureVerified:
    made: dict[str, Any] = {
        "contract": ID,
        "slot": slot(number),
        "base": contract.revision,
        "signed": Digest.of(contract.revision.encode() + slot(number).encode()),
        "report": Digest.of(b"report"),
        "level": BaselineLevel.LTA,
        "signatures": 1,
    }
    return SignatureVerified(**{**made, **changed})


def rejection(contract: Contract, number: int) -> SignatureRejected:
    good = verdict(contract, number)
    return SignatureRejected(
        contract=ID, slot=good.slot, base=good.base, signed=good.signed, report=good.report, reason=Code("broken")
    )


def refusal(contract: Contract, number: int) -> SigningRefused:
    return SigningRefused(
        contract=ID,
        slot=slot(number),
        identity=someone(number),
        credential=credential(number),
        base=contract.revision,
        reason=Code("certificate-suspended"),
        found="a suspended certificate",
        expected="a good one",
        remedy="release it",
    )


def signed_and_verified(contract: Contract, number: int) -> tuple[Contract, tuple[ContractFact, ...]]:
    contract, _ = model.hear_signed(contract, claim(contract, number))
    return model.hear_verified(contract, verdict(contract, number))


def names(facts: Any) -> list[str]:
    return [type(fact).__name__ for fact in facts]


def test_sending_tells_all_parties_and_invites_the_first_order_only():
    contract, facts = model.send(drafted(1, 1, 2), NOW)
    assert isinstance(facts[0], ContractSent)
    assert facts[0].deadline == contract.deadline
    assert len(facts) == 1
    assert contract.waiting_for == (slot(0), slot(1))
    assert contract.party(slot(2)).state is SlotState.WAITING


def test_a_sequence_of_three_completes_with_every_slot_on_the_revision_before():
    contract = sent(1, 2, 3)
    for number in range(3):
        contract, facts = confirmed(contract, number, contract.revision)
        assert names(facts) == ["PartyConfirmed", "SigningRequested"]
        assert facts[1].base == contract.revision
        assert facts[1].index == number
        contract, facts = signed_and_verified(contract, number)
    assert names(facts) == ["ContractCompleted"]
    assert contract.state is ContractState.COMPLETED
    assert facts[0].document == contract.latest
    assert facts[0].signatures == 3


def test_parallel_signatures_are_made_one_after_the_other_on_the_latest_revision():
    contract = sent(1, 1)
    contract, first = confirmed(contract, 1)
    contract, second = confirmed(contract, 0)
    assert names(first) == ["PartyConfirmed", "SigningRequested"]
    assert names(second) == ["PartyConfirmed"], "one signature is outstanding: the other waits"
    contract, facts = signed_and_verified(contract, 1)
    assert names(facts) == ["SigningRequested"]
    assert facts[0].slot == slot(0)
    assert facts[0].base == contract.revision != DOCUMENT
    assert facts[0].shown == DOCUMENT, "what the party saw is what its permit carries"


def test_a_slot_out_of_turn_is_refused_and_nothing_changes():
    contract = sent(1, 2)
    with pytest.raises(Refused) as told:
        confirmed(contract, 1)
    assert told.value.code == "out-of-turn"
    assert contract == sent(1, 2)


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda c: confirmed(c, 0)[0], "signing-in-progress"),
        (lambda c: model.hear_signed(confirmed(c, 0)[0], claim(confirmed(c, 0)[0], 0))[0], "signing-in-progress"),
        (lambda c: signed_and_verified(confirmed(c, 0)[0], 0)[0], "slot-already-signed"),
        (lambda c: model.withdraw(c, Code("mistake"))[0], "contract-withdrawn"),
    ],
)
def test_a_slot_is_signed_once(prepare, code):
    """Law 20/2023/QH15 Art 22: one approval, one signature."""
    contract = prepare(sent(1, 2))
    with pytest.raises(Refused) as told:
        confirmed(contract, 0)
    assert told.value.code == code
    assert told.value.status == 409


def test_an_approval_of_another_digest_than_the_one_shown_is_refused():
    """Law 20/2023/QH15 Art 22: creation data bound uniquely to the content approved."""
    with pytest.raises(Refused, match="digest-not-shown"):
        confirmed(sent(1), 0, Digest.of(b"another contract"))


def test_an_intermediate_revision_that_is_no_longer_the_latest_is_refused():
    contract, _ = confirmed(sent(1, 2, 3), 0)
    contract, _ = signed_and_verified(contract, 0)
    old = contract.revision
    contract, _ = confirmed(contract, 1)
    contract, _ = signed_and_verified(contract, 1)
    with pytest.raises(Refused, match="digest-not-shown"):
        confirmed(contract, 2, old)
    assert confirmed(contract, 2, DOCUMENT)[1]
    assert confirmed(contract, 2, contract.revision)[1]


def test_somebody_else_cannot_confirm_or_decline():
    contract = sent(1, 1)
    with pytest.raises(Refused, match="not-the-party"):
        model.confirm(contract, slot(0), approval(1), NOW)
    with pytest.raises(Refused, match="not-the-party"):
        model.decline(contract, slot(0), someone(1), DOCUMENT, Code("changed-mind"))


def test_a_slot_that_does_not_exist_is_named():
    with pytest.raises(Refused) as told:
        model.confirm(sent(1), Slot("nobody"), approval(0), NOW)
    assert told.value.status == 404
    assert "party-0" in told.value.expected


def test_a_decline_ends_the_contract_and_tells_only_the_code():
    contract, facts = model.decline(sent(1, 1), slot(1), someone(1), DOCUMENT, Code("price-not-agreed"))
    assert isinstance(facts[0], PartyDeclined)
    assert contract.state is ContractState.DECLINED
    assert facts[0].data() == {
        "contract": ID,
        "slot": "party-1",
        "identity": someone(1),
        "reason": "price-not-agreed",
    }


def test_declining_what_was_not_shown_or_is_being_signed_is_refused():
    contract = sent(1, 1)
    with pytest.raises(Refused, match="digest-not-shown"):
        model.decline(contract, slot(0), someone(0), Digest.of(b"x"), Code("no"))
    contract, _ = confirmed(contract, 0)
    with pytest.raises(Refused, match="signing-in-progress"):
        model.decline(contract, slot(0), someone(0), DOCUMENT, Code("no"))


def test_a_draft_withdrawn_says_nothing_for_nobody_had_heard_of_it():
    contract, facts = model.withdraw(drafted(1), Code("mistake"))
    assert (contract.state, facts) == (ContractState.WITHDRAWN, ())


def test_the_sender_cannot_withdraw_when_all_have_agreed_and_the_last_signature_is_being_made():
    contract, _ = confirmed(sent(1, 2), 0)
    ended, facts = model.withdraw(contract, Code("mistake"))
    assert isinstance(facts[0], ContractWithdrawn)
    assert model.hear_signed(ended, claim(contract, 0)) == (ended, ())
    contract, _ = signed_and_verified(contract, 0)
    contract, _ = confirmed(contract, 1)
    with pytest.raises(Refused, match="being-concluded"):
        model.withdraw(contract, Code("mistake"))


def test_the_deadline_ends_an_open_contract_and_gives_an_ordered_signature_a_day():
    contract = sent(1, 2)
    with pytest.raises(Refused, match="not-due"):
        model.expire(contract, contract.deadline - timedelta(seconds=1))
    expired, facts = model.expire(contract, contract.deadline)
    assert isinstance(facts[0], ContractExpired)
    assert expired.state is ContractState.EXPIRED
    ordered, _ = confirmed(contract, 0)
    with pytest.raises(Refused, match="not-due"):
        model.expire(ordered, contract.deadline + timedelta(hours=23))
    assert model.expire(ordered, contract.deadline + model.GRACE)[0].state is ContractState.EXPIRED
    with pytest.raises(Refused, match="deadline-passed"):
        model.confirm(contract, slot(0), approval(0), contract.deadline)
    with pytest.raises(Refused, match="deadline-passed"):
        model.send(drafted(1), drafted(1).deadline)


def test_a_lock_holds_the_party_and_its_end_lets_it_go_on():
    """Design table 3.5, row "locked": the next signature is refused; row "unlocked": resume."""
    contract, _ = model.hold(sent(1), someone(0), Code("identity-locked"))
    contract, _ = model.hold(contract, someone(0), Code("certificate-suspended"))
    with pytest.raises(Refused, match="party-held"):
        confirmed(contract, 0)
    contract, _ = model.release(contract, someone(0), Code("identity-locked"))
    with pytest.raises(Refused, match="certificate-suspended"):
        confirmed(contract, 0)
    contract, _ = model.release(contract, someone(0), Code("certificate-suspended"))
    assert confirmed(contract, 0)[1]


def test_a_lock_before_ones_turn_forgets_the_confirmation_that_waits():
    contract, _ = confirmed(sent(1, 1), 0)
    contract, _ = confirmed(contract, 1)
    contract, _ = model.hold(contract, someone(1), Code("identity-locked"))
    assert contract.party(slot(1)).state is SlotState.INVITED
    assert contract.party(slot(1)).activation is None
    contract, facts = signed_and_verified(contract, 0)
    assert facts == (), "a held party's signature is not ordered"


def test_an_ended_identity_voids_what_it_has_not_signed_and_leaves_what_it_has():
    """Design table 3.5, row "deceased": void the unsigned slot; earlier signatures stay valid."""
    contract, _ = confirmed(sent(1, 2), 0)
    contract, _ = signed_and_verified(contract, 0)
    assert model.bar(contract, someone(0), Code("deceased")) == (contract, ())
    contract, facts = model.bar(contract, someone(1), Code("deceased"))
    assert isinstance(facts[0], ContractVoided)
    assert (facts[0].slot, facts[0].reason) == (slot(1), "deceased")
    assert contract.state is ContractState.VOIDED


def test_a_refused_signature_opens_the_slot_again_and_lets_the_other_go_first():
    contract, _ = confirmed(sent(1, 1), 0)
    contract, _ = confirmed(contract, 1)
    contract, facts = model.hear_refused(contract, refusal(contract, 0))
    assert names(facts) == ["SigningRequested"]
    assert facts[0].slot == slot(1)
    assert contract.party(slot(0)).state is SlotState.INVITED
    assert contract.party(slot(0)).reason == "certificate-suspended"


def test_a_rejected_file_voids_the_contract_and_is_never_released():
    contract, _ = confirmed(sent(1), 0)
    contract, facts = model.hear_rejected(contract, rejection(contract, 0))
    assert isinstance(facts[0], ContractVoided)
    assert contract.latest is None


def test_a_file_below_the_agreed_level_is_not_released():
    contract, _ = confirmed(sent(1), 0)
    contract, facts = model.hear_verified(contract, verdict(contract, 0, level=BaselineLevel.T))
    assert isinstance(facts[0], ContractVoided)
    assert facts[0].reason == "level-not-reached"
    assert contract.latest is None


@pytest.mark.parametrize(
    "changed",
    [
        {"base": Digest.of(b"another base")},
        {"shown": Digest.of(b"another")},
        {"certificate": Digest.of(b"another")},
    ],
)
def test_a_claim_that_is_not_what_was_ordered_is_refused(changed):
    contract, _ = confirmed(sent(1), 0)
    with pytest.raises(Refused, match="not-as-ordered"):
        model.hear_signed(contract, claim(contract, 0, **changed))


def test_a_verdict_on_another_file_than_the_claimed_one_is_refused():
    contract, _ = confirmed(sent(1), 0)
    contract, _ = model.hear_signed(contract, claim(contract, 0))
    with pytest.raises(Refused, match="not-as-ordered"):
        model.hear_verified(contract, verdict(contract, 0, signed=Digest.of(b"swapped")))


def test_a_verdict_may_be_heard_before_the_claim_and_neither_counts_twice():
    contract, _ = confirmed(sent(1, 2), 0)
    late, good = claim(contract, 0), verdict(contract, 0)
    contract, _ = model.hear_verified(contract, good)
    assert model.hear_signed(contract, late) == (contract, ())
    assert model.hear_verified(contract, good) == (contract, ())


def test_a_signature_that_nobody_ordered_is_refused():
    contract = sent(1)
    with pytest.raises(Refused, match="not-requested"):
        model.hear_verified(contract, verdict(contract, 0))
    with pytest.raises(Refused, match="not-requested"):
        model.hear_refused(contract, refusal(contract, 0))


@pytest.mark.parametrize("change", [{"slot": "party-0"}, {"identity": someone(0)}])
def test_two_parties_share_neither_slot_nor_identity(change):
    parties = [party.model_dump() for party in drafted(1, 1).parties]
    parties[1].update(change)
    with pytest.raises(ValidationError):
        Contract.model_validate({**drafted(1, 1).model_dump(), "parties": parties})


def test_the_documents_table_shows_every_row_of_the_one_table():
    drawn = lifecycle_markdown().splitlines()
    assert len(drawn) == len(LIFECYCLE) + 2
    assert all(line.count("|") == 8 for line in drawn)


def test_every_state_is_reached_by_some_row_and_no_row_leaves_an_end():
    reached = {row.contract_after for row in LIFECYCLE} | {ContractState.DRAFT, None}
    assert reached - {None} == set(ContractState)
    assert {row.slot_after for row in LIFECYCLE} - {None} == set(SlotState) - {SlotState.WAITING}
    assert not any(state.ended for row in LIFECYCLE for state in row.contract)


numbers = st.integers(0, 3)


class AnyOrder(RuleBasedStateMachine):
    """Commands, facts and time in any order, honest and not, repeated and late."""

    @initialize(orders=st.lists(st.integers(1, 3), min_size=1, max_size=4), level=st.sampled_from(BaselineLevel))
    def begin(self, orders: list[int], level: BaselineLevel) -> None:
        self.contract = drafted(*orders).model_copy(update={"terms": SigningTerms(level=level)})
        self.size = len(orders)
        self.now = NOW
        self.said: list[ContractFact] = []
        self.heard: list[Any] = []
        self.ended = False

    def do(self, decide: Any, *given: Any) -> None:
        before, count = self.contract, len(self.said)
        try:
            after, facts = decide(before, *given)
        except Refused:
            assert self.contract is before
            return
        for fact in facts:
            self.say(fact)
        self.contract = after
        if before.state.ended:
            assert after == before
            assert len(self.said) == count
        self.step(before, after, decide)

    def say(self, fact: ContractFact) -> None:
        assert not self.ended, "a fact for an ended contract"
        if isinstance(fact, SigningRequested):
            party = self.contract.party(fact.slot)
            assert party.state is not SlotState.VERIFIED, "a second signature for a slot that holds a verified one"
            assert fact.shown in {DOCUMENT, *(each.signed for each in self.contract.parties), fact.base}
        self.said.append(fact)
        self.ended = isinstance(
            fact, ContractCompleted | ContractVoided | ContractWithdrawn | ContractExpired | PartyDeclined
        )

    def step(self, before: Contract, after: Contract, decide: Any) -> None:
        """Every change of a slot is a way through rows of the table."""
        ways = {(old, row.slot_after) for row in LIFECYCLE for old in row.slot}
        for old, new in zip(before.parties, after.parties, strict=True):
            two = {(a, d) for a, b in ways for c, d in ways if b is c}
            three = {(a, d) for a, b in two for c, d in ways if b is c}
            if old.state is not new.state:
                assert (old.state, new.state) in ways | two | three, decide

    @rule()
    def send(self) -> None:
        self.do(model.send, self.now)

    @rule(number=numbers, latest=st.booleans(), wrong=st.booleans(), who=numbers, honest=st.booleans())
    def confirm(self, number: int, latest: bool, wrong: bool, who: int, honest: bool) -> None:
        shown = Digest.of(b"wrong") if wrong and not honest else self.contract.revision if latest else DOCUMENT
        if number < self.size:
            self.do(model.confirm, slot(number), approval(number if honest else who, shown), self.now)

    @precondition(lambda self: self.contract.state is ContractState.SENT)
    @rule(number=numbers)
    def confirm_well(self, number: int) -> None:
        if number < self.size:
            self.do(model.confirm, slot(number), approval(number), self.now)

    @precondition(lambda self: self.contract.outstanding is not None)
    @rule(what=st.sampled_from(["claim", "claim and verdict", "verdict", "low", "refusal", "rejection"]))
    def judged(self, what: str) -> None:
        number = self.contract.parties.index(self.contract.outstanding)
        heard: list[tuple[Any, Any]] = []
        if "claim" in what:
            heard.append((model.hear_signed, claim(self.contract, number)))
        if "verdict" in what:
            heard.append((model.hear_verified, verdict(self.contract, number)))
        if what == "low":
            heard.append((model.hear_verified, verdict(self.contract, number, level=BaselineLevel.B)))
        if what == "refusal":
            heard.append((model.hear_refused, refusal(self.contract, number)))
        if what == "rejection":
            heard.append((model.hear_rejected, rejection(self.contract, number)))
        for decide, fact in heard:
            self.heard.append((decide, fact))
            self.do(decide, fact)

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def heard_again(self, data: Any) -> None:
        self.do(*data.draw(st.sampled_from(self.heard)))

    @rule(number=numbers)
    def made_up_verdict(self, number: int) -> None:
        if number < self.size:
            self.do(model.hear_verified, verdict(self.contract, number, signed=Digest.of(b"made up")))

    @rule(number=numbers, what=st.sampled_from([model.hold, model.release, model.bar]), code=st.sampled_from("ab"))
    def identity(self, number: int, what: Any, code: str) -> None:
        self.do(what, someone(number), Code(code))

    @rule(number=numbers)
    def reconsider(self, number: int) -> None:
        self.do(model.reconsider, someone(number))

    @rule(number=numbers)
    def decline(self, number: int) -> None:
        if number < self.size:
            self.do(model.decline, slot(number), someone(number), self.contract.revision, Code("no"))

    @rule()
    def withdraw(self) -> None:
        self.do(model.withdraw, Code("mistake"))

    @rule(hours=st.integers(1, 200))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.do(model.expire, self.now)

    @invariant()
    def one_outstanding(self) -> None:
        if hasattr(self, "contract"):
            assert sum(party.state.outstanding for party in self.contract.parties) <= 1

    @invariant()
    def complete_means_every_slot(self) -> None:
        if hasattr(self, "contract") and self.contract.state is ContractState.COMPLETED:
            assert all(party.state is SlotState.VERIFIED for party in self.contract.parties)
            done = [fact for fact in self.said if isinstance(fact, ContractCompleted)]
            assert [fact.document for fact in done] == [self.contract.latest]

    @invariant()
    def nobody_before_its_turn(self) -> None:
        if hasattr(self, "contract"):
            for party in self.contract.parties:
                if party.state not in (SlotState.WAITING, SlotState.BARRED):
                    before = [each for each in self.contract.parties if each.order < party.order]
                    assert all(each.state is SlotState.VERIFIED for each in before)

    @invariant()
    def each_confirmation_was_said_before_its_request(self) -> None:
        if hasattr(self, "contract"):
            open_approvals = 0
            for fact in self.said:
                open_approvals += isinstance(fact, PartyConfirmed)
                open_approvals -= isinstance(fact, SigningRequested)
                assert open_approvals >= 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
