"""Certificates live and die with identities: every interleaving of facts, CA calls, issuing and confirming."""

from __future__ import annotations

import uuid
from collections import deque
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.activation import Activation
from events.binding import (
    ApplicationOpened,
    ApplicationRefused,
    BindingFact,
    CertificateBound,
    CertificateIssued,
    CertificateReleased,
    CertificateRevoked,
    CertificateSuspended,
)
from events.errors import Refused
from events.fact import Fact
from events.identity import IdentityEnded, IdentityFact, IdentityLocked, IdentityUnlocked, OrganisationDissolved
from events.values import Digest, IdentityId, KeyAlgorithm, SubjectKind
from services.ca_bridge import handlers, issuing
from services.ca_bridge.intake import Accepted, IdentityState
from services.ca_bridge.model import Application, ApplicationState, CertificateState
from tests.support.bridge_books import ISSUER, NOON, Ca, World, books, event, pseudonym, run, taken

ANN, BEN, FIRM = (pseudonym(name) for name in ("ann", "ben", "firm"))
PEOPLE = (ANN, BEN)
ALGORITHMS = dict.fromkeys(SubjectKind, KeyAlgorithm.P256)
WITHIN = timedelta(days=30)


class Lives(RuleBasedStateMachine):
    """Two citizens and a firm; facts of one identity are handled in order, those of different ones in any."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOON
        self.books = books()
        self.ca = Ca()
        self.world = World(representative=ANN)
        self.places = dict.fromkeys((ANN, BEN, FIRM), 0)
        self.identity: dict[IdentityId, deque[Fact]] = {who: deque() for who in self.places}
        self.binding: dict[IdentityId, deque[Fact]] = {who: deque() for who in self.places}
        self.releasing: dict[IdentityId, deque[IdentityFact]] = {who: deque() for who in self.places}
        self.asking: dict[IdentityId, tuple[IdentityFact, Any]] = {}
        self.issuing: dict[IdentityId, tuple[issuing.IssuePlan, Any]] = {}
        self.told: dict[str, CertificateState] = {}
        self.ended: set[IdentityId] = set()
        self.locked: set[IdentityId] = set()
        self.after: dict[Digest, set[IdentityId | None]] = {}
        """Certificates confirmed when the authority had lifted a lock, though the bridge had not followed yet."""
        self.ids = 0

    @initialize()
    def begin(self) -> None:
        """Both citizens and the firm hold certificates when the story begins."""
        for who in (ANN, BEN):
            self.verify(who, 2)
        self.verify_firm(ANN)
        for who in (ANN, BEN, FIRM):
            for step in (self.follow, self.release, self.bind, self.finish_issuing, self.confirm):
                step(who)
            self._catch_up(who)
        assert len(self.told) == 3

    # --- what happens outside

    @rule(who=st.sampled_from(PEOPLE), level=st.sampled_from([1, 2, 2, 2]))
    def verify(self, who: IdentityId, level: int) -> None:
        self._say("identity.verified", who, account_level=level)

    @rule(who=st.sampled_from(PEOPLE), level=st.sampled_from([1, 2]))
    def update(self, who: IdentityId, level: int) -> None:
        self._say("identity.updated", who, account_level=level)

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def lock(self, who: IdentityId) -> None:
        self._say("identity.locked", who)

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def unlock(self, who: IdentityId) -> None:
        self._say("identity.unlocked", who)

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def end(self, who: IdentityId) -> None:
        self._say("org.dissolved" if who == FIRM else "identity.ended", who)

    @rule(who=st.sampled_from(PEOPLE))
    def verify_firm(self, who: IdentityId) -> None:
        self._say("org.verified", FIRM, representative=who)

    @rule(who=st.sampled_from(PEOPLE))
    def change_representative(self, who: IdentityId) -> None:
        self._say("org.representative_changed", FIRM, representative=who)

    @rule(who=st.sampled_from(PEOPLE))
    def registry_says(self, who: IdentityId) -> None:
        self.world.representative = who

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def withdraw_consent(self, who: IdentityId) -> None:
        self._say("consent.withdrawn", who, consent={"id": "consent-1"})

    @rule(days=st.integers(1, 20))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days)
        self._hear(run(handlers.revoke_overdue(self.books, now=self.now)))

    # --- what the bridge does, one step at a time

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def follow(self, who: IdentityId) -> None:
        """Handle the next fact of an identity; what it may release waits for its own turn."""
        if self.identity[who]:
            fact = self.identity[who].popleft()
            assert isinstance(fact, IdentityFact)
            self._change(fact)
            self.releasing[who].append(fact)

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def release(self, who: IdentityId) -> None:
        """Ask the CA to release what the next fact allows; our books come later."""
        if who in self.asking or not self.releasing[who]:
            return
        fact = self.releasing[who].popleft()
        plan = run(handlers.plan_releases(fact, self.books, now=self.now))
        if plan is not None:
            self.asking[who] = (fact, run(handlers.ask_ca_to_release(plan, ca=self.ca, registry=self.world)))

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def finish_releasing(self, who: IdentityId) -> None:
        if who in self.asking:
            fact, due = self.asking.pop(who)
            self._hear(run(handlers.released(fact, due, self.books, now=self.now)))

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def bind(self, who: IdentityId) -> None:
        """Handle the next binding fact of an identity; issuing stays open between the CA's answer and the books."""
        if who in self.issuing or not self.binding[who]:
            return
        fact = self.binding[who].popleft()
        if isinstance(fact, ApplicationOpened):
            try:
                plan = run(issuing.plan_issue(fact, self.books, now=self.now))
                if plan is not None:
                    result = run(issuing.issue(plan, safe=self.world, ca=self.ca, registry=self.world, now=self.now))
                    self.issuing[who] = (plan, result)
            except Refused as fault:
                self._hear(run(issuing.refuse_issue(fact, fault, self.books)))
        elif isinstance(fact, CertificateSuspended | CertificateReleased | CertificateRevoked):
            tell = run(handlers.plan_tell(fact, self.books))
            assert tell is not None
            run(handlers.tell_ca(tell, ca=self.ca))

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def finish_issuing(self, who: IdentityId) -> None:
        if who in self.issuing:
            plan, result = self.issuing.pop(who)
            chain = Digest.of(b"chain")
            self._hear(run(issuing.issued(plan, result, chain, self.books, now=self.now, new_id=self._id)))

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def confirm(self, who: IdentityId) -> None:
        issued = [one for one in self._applications(who) if one.state is ApplicationState.ISSUED]
        if issued:
            self._confirm(issued[-1], who)

    @rule()
    def everything_is_handled(self) -> None:
        for who in (ANN, BEN, FIRM):
            self._catch_up(who)

    @rule(who=st.sampled_from((ANN, BEN, FIRM)))
    def apply(self, who: IdentityId) -> None:
        known = run(self.books.identities.get(who))
        if known is not None:
            try:
                _, facts = run(
                    issuing.open_application(known, KeyAlgorithm.P256, self.books, now=self.now, new_id=self._id)
                )
            except Refused:
                return
            self._hear(facts)

    # --- what must hold

    @invariant()
    def nothing_of_the_ended_is_ever_usable(self) -> None:
        """Decree 23/2025/ND-CP: revoked when its holder has died or was dissolved; and nothing revives it."""
        for one in run(self._certificates()):
            assert one.identity not in self.ended or one.state is CertificateState.REVOKED

    @invariant()
    def nothing_of_the_locked_is_usable(self) -> None:
        """vietnam.md 3.5: locked holds everything of the person, also as representative."""
        for one in run(self._certificates()):
            about = ({one.identity, one.representative} & self.locked) - self.after.get(one.digest, set())
            assert not about or one.state is not CertificateState.GOOD

    @invariant()
    def subscribers_know_the_state(self) -> None:
        """What was said of a certificate adds up to how it stands."""
        for one in run(self._certificates()):
            assert self.told[one.digest] is one.state

    @precondition(lambda self: not self.asking and not self.issuing and not any(self.binding.values()))
    @invariant()
    def the_cas_books_are_ours(self) -> None:
        """When everything is told, the CA says what we say; what was never bound is not left good for the dead."""
        for one in run(self._certificates()):
            assert self.ca.status[one.serial] == one.state.value
        if not any(self.identity.values()):
            for application in self.books.applications.kept.values():  # type: ignore[attr-defined]
                dead = application.identity in self.ended and application.serial is not None
                assert not dead or self.ca.status[application.serial] == "revoked"

    @precondition(lambda self: not self.asking and not self.issuing and not any(self.identity.values()))
    @invariant()
    def what_is_good_stands_on_good_ground(self) -> None:
        """When every fact is handled: holder and representative are active at level 2, and the representative acts."""
        for one in run(self._certificates()):
            if one.state is not CertificateState.GOOD:
                continue
            for who in {one.identity, one.representative} - {None}:
                known = run(self.books.identities.get(who))
                assert known is not None
                assert (known.state, known.account_level) == (IdentityState.ACTIVE, 2)
            holder = run(self.books.identities.get(one.identity))
            assert holder is not None
            assert holder.representative == one.representative

    # --- inside

    def _catch_up(self, who: IdentityId) -> None:
        while self._busy(who):
            for step in (self.finish_releasing, self.follow, self.release, self.finish_issuing, self.bind):
                step(who)

    def _busy(self, who: IdentityId) -> bool:
        waits = self.identity[who] or self.binding[who] or self.releasing[who]
        return bool(waits) or who in self.asking or who in self.issuing

    def _say(self, what: str, who: IdentityId, **data: Any) -> None:
        self.places[who] += 1
        told = event(what, who, self.places[who], at=self.now, **data)
        outcome = taken(told, run(self.books.identities.get(who)), now=self.now)
        run(self.books.identities.put(outcome.identity))
        if isinstance(outcome, Accepted):
            self.identity[who].append(outcome.fact)

    def _change(self, fact: IdentityFact) -> None:
        said = handlers.identity_changed(
            fact, self.books, algorithms=ALGORITHMS, replace_within=WITHIN, now=self.now, new_id=self._id
        )
        self._hear(run(said))
        match fact:
            case IdentityEnded() | OrganisationDissolved():
                self.ended.add(fact.identity)
            case IdentityLocked():
                self.locked.add(fact.identity)
                for holders in self.after.values():
                    holders.discard(fact.identity)
            case IdentityUnlocked():
                self.locked.discard(fact.identity)

    def _hear(self, facts: Any) -> None:
        for fact in facts:
            assert isinstance(fact, BindingFact)
            self.binding[fact.identity].append(fact)
            match fact:
                case CertificateBound():
                    assert fact.certificate not in self.told
                    self.told[fact.certificate] = CertificateState.GOOD
                    self.after[fact.certificate] = {fact.identity, fact.representative} & self.locked
                case CertificateSuspended():
                    assert self.told[fact.certificate] is not CertificateState.REVOKED
                    self.told[fact.certificate] = CertificateState.SUSPENDED
                case CertificateReleased():
                    assert self.told[fact.certificate] is CertificateState.SUSPENDED
                    self.told[fact.certificate] = CertificateState.GOOD
                case CertificateRevoked():
                    assert self.told.get(fact.certificate) is not CertificateState.REVOKED
                    self.told[fact.certificate] = CertificateState.REVOKED
                case CertificateIssued() | ApplicationOpened() | ApplicationRefused():
                    pass

    def _confirm(self, application: Application, who: IdentityId) -> None:
        known = run(self.books.identities.get(who))
        assert known is not None
        organisation = known.kind is SubjectKind.ORGANISATION
        activation = Activation.model_validate(
            {
                "iss": ISSUER,
                "aud": "antin",
                "sub": known.representative if organisation else who,
                "act_for": who if organisation else None,
                "iat": int(self.now.timestamp()),
                "exp": int(self.now.timestamp()) + 300,
                "jti": str(uuid.UUID(int=1)),
                "account_level": 2,
                "auth_level": 3,
                "purpose": "confirm-certificate",
                "digest": application.certificate,
                "txn": str(application.id),
            }
        )
        try:
            _, facts = run(issuing.confirm(application, activation, self.books, issuer=ISSUER, now=self.now))
        except Refused:
            assert known.state is not IdentityState.ACTIVE or organisation or known.account_level < 2
            return
        assert known.state is IdentityState.ACTIVE
        self._hear(facts)

    def _applications(self, who: IdentityId) -> list[Application]:
        return [one for one in self.books.applications.kept.values() if one.identity == who]  # type: ignore[attr-defined]

    async def _certificates(self) -> Any:
        return list(self.books.certificates.kept.values())  # type: ignore[attr-defined]

    def _id(self) -> str:
        self.ids += 1
        return str(uuid.UUID(int=self.ids))


def story() -> Lives:
    """A story told by hand: everybody holds a certificate."""
    lives = Lives()
    lives.begin()
    return lives


def check(lives: Lives) -> None:
    """Handle everything that is left; then everything must hold."""
    lives.everything_is_handled()
    lives.nothing_of_the_ended_is_ever_usable()
    lives.nothing_of_the_locked_is_usable()
    lives.subscribers_know_the_state()
    lives.the_cas_books_are_ours()
    lives.what_is_good_stands_on_good_ground()


def states(lives: Lives) -> dict[IdentityId, list[CertificateState]]:
    found: dict[IdentityId, list[CertificateState]] = {ANN: [], BEN: [], FIRM: []}
    for one in run(lives._certificates()):
        found[one.identity].append(one.state)
    return found


GOOD, SUSPENDED, REVOKED = CertificateState.GOOD, CertificateState.SUSPENDED, CertificateState.REVOKED


def test_a_lock_holds_the_seal_too_and_only_its_own_unlock_lifts_it() -> None:
    """vietnam.md 3.5: all of the person, also as representative; unlock releases only holds made by that lock."""
    lives = story()
    lives.lock(ANN)
    lives.lock(FIRM)
    check(lives)
    assert states(lives) == {ANN: [SUSPENDED], BEN: [GOOD], FIRM: [SUSPENDED]}
    lives.unlock(FIRM)
    check(lives)
    assert states(lives) == {ANN: [SUSPENDED], BEN: [GOOD], FIRM: [SUSPENDED]}
    lives.unlock(ANN)
    check(lives)
    assert states(lives) == {ANN: [GOOD], BEN: [GOOD], FIRM: [GOOD]}


def test_a_lock_that_arrives_while_the_ca_is_asked_to_release_wins() -> None:
    lives = story()
    lives.lock(FIRM)
    lives.everything_is_handled()
    lives.unlock(FIRM)
    lives.follow(FIRM)
    lives.release(FIRM)  # the CA has released; our books wait
    lives.lock(ANN)
    lives.follow(ANN)
    check(lives)
    assert states(lives)[FIRM] == [SUSPENDED]


def test_a_second_lock_accepted_before_the_first_unlock_is_handled_keeps_the_hold() -> None:
    lives = story()
    lives.lock(ANN)
    lives.everything_is_handled()
    lives.unlock(ANN)
    lives.lock(ANN)
    lives.follow(ANN)
    lives.release(ANN)
    assert ANN not in lives.asking
    check(lives)
    assert states(lives) == {ANN: [SUSPENDED], BEN: [GOOD], FIRM: [SUSPENDED]}


def test_a_new_representative_frees_the_seal_of_the_old_ones_holds() -> None:
    """vietnam.md 3.5: suspend until the new one confirms; the old one's lock holds the old one only."""
    lives = story()
    lives.lock(ANN)
    lives.change_representative(BEN)
    check(lives)
    lives.verify_firm(BEN)
    check(lives)
    assert states(lives)[FIRM] == [SUSPENDED]  # the registry still names the old one
    lives.registry_says(BEN)
    lives.verify_firm(BEN)
    check(lives)
    assert states(lives) == {ANN: [SUSPENDED], BEN: [GOOD], FIRM: [GOOD]}
    lives.lock(BEN)
    check(lives)
    assert states(lives)[FIRM] == [SUSPENDED]


def test_a_verification_that_names_another_representative_is_a_change() -> None:
    """Even when the change itself was never told: held first, then freed by the registry's word."""
    lives = story()
    lives.verify_firm(BEN)
    lives.follow(FIRM)
    assert states(lives)[FIRM] == [SUSPENDED]
    check(lives)
    assert states(lives)[FIRM] == [SUSPENDED]
    lives.registry_says(BEN)
    lives.verify_firm(BEN)
    check(lives)
    assert states(lives)[FIRM] == [GOOD]


def test_a_representative_who_has_died_frees_no_seal() -> None:
    lives = story()
    lives.end(ANN)
    lives.verify_firm(ANN)
    check(lives)
    assert states(lives) == {ANN: [REVOKED], BEN: [GOOD], FIRM: [SUSPENDED]}


def test_a_level_that_falls_suspends_and_one_that_rises_releases_only_its_own() -> None:
    """vietnam.md 3.5: level dropped below 2."""
    lives = story()
    lives.verify(ANN, 1)
    check(lives)
    assert states(lives) == {ANN: [SUSPENDED], BEN: [GOOD], FIRM: [SUSPENDED]}
    lives.verify_firm(ANN)
    check(lives)
    assert states(lives)[FIRM] == [SUSPENDED]
    lives.verify(ANN, 2)
    check(lives)
    assert states(lives) == {ANN: [GOOD], BEN: [GOOD], FIRM: [GOOD]}


def test_what_the_ca_issues_for_somebody_who_died_meanwhile_is_revoked_there() -> None:
    lives = story()
    lives.apply(BEN)
    lives.bind(BEN)  # the CA has issued; our books wait
    lives.end(BEN)
    lives.follow(BEN)
    check(lives)
    assert states(lives)[BEN] == [REVOKED, REVOKED]
    assert not [one for one in lives.ca.status.values() if one == "good"][2:]


def test_what_was_issued_under_a_name_that_was_corrected_is_never_bound() -> None:
    """vietnam.md 3.5: re-verify pending applications; replace within the period, then revoke."""
    lives = story()
    lives.apply(BEN)
    lives.bind(BEN)
    lives.update(BEN, 2)
    lives.finish_issuing(BEN)
    check(lives)
    assert [one.state for one in lives._applications(BEN)] == [
        ApplicationState.BOUND,
        ApplicationState.CANCELLED,
        ApplicationState.ISSUED,
    ]
    assert states(lives)[BEN] == [GOOD, REVOKED]
    lives.time_passes(31)
    check(lives)
    assert states(lives)[BEN] == [REVOKED, REVOKED]


def test_a_replacement_supersedes_before_the_period_ends() -> None:
    lives = story()
    lives.update(BEN, 2)
    lives.everything_is_handled()
    lives.confirm(BEN)
    check(lives)
    assert states(lives)[BEN] == [REVOKED, GOOD]
    lives.time_passes(31)
    assert states(lives)[BEN] == [REVOKED, GOOD]


def test_a_locked_representative_cannot_confirm_a_seal() -> None:
    lives = story()
    lives.apply(FIRM)
    lives.everything_is_handled()
    lives.lock(ANN)
    lives.confirm(FIRM)
    check(lives)
    assert len(states(lives)[FIRM]) == 1


def test_a_locked_applicants_application_waits_and_goes_on() -> None:
    """vietnam.md 3.5: freeze, resume."""
    lives = story()
    lives.apply(BEN)
    lives.lock(BEN)
    lives.bind(BEN)  # before the lock's fact is handled
    assert lives._applications(BEN)[-1].state is ApplicationState.OPENED
    lives.everything_is_handled()
    assert lives._applications(BEN)[-1].state is ApplicationState.FROZEN
    lives.unlock(BEN)
    lives.everything_is_handled()
    lives.confirm(BEN)
    check(lives)
    assert states(lives)[BEN] == [REVOKED, GOOD]


def test_withdrawn_consent_stops_applications_and_leaves_certificates() -> None:
    """vietnam.md 3.5: no automatic revocation unless asked."""
    lives = story()
    lives.apply(BEN)
    lives.withdraw_consent(BEN)
    check(lives)
    assert lives._applications(BEN)[-1].state is ApplicationState.CANCELLED
    assert states(lives)[BEN] == [GOOD]


def test_what_the_ca_revokes_on_its_own_is_revoked_here() -> None:
    lives = story()
    certificate = next(one for one in run(lives._certificates()) if one.identity == BEN)
    lives.ca.status[certificate.serial] = "revoked"
    lives.lock(BEN)
    lives.follow(BEN)
    fact = lives.binding[BEN][0]
    assert isinstance(fact, CertificateSuspended)
    tell = run(handlers.plan_tell(fact, lives.books))
    assert tell is not None
    with pytest.raises(Refused, match="outside-revoked-for-good"):
        run(handlers.tell_ca(tell, ca=lives.ca))
    lives.binding[BEN].clear()
    lives._hear(run(handlers.revoked_at_ca(fact, lives.books, now=lives.now)))
    check(lives)
    assert states(lives)[BEN] == [REVOKED]


Lives.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLives = Lives.TestCase
