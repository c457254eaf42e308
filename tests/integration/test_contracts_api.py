"""The contracts over HTTP: the way to completion, every refusal with nothing changed, and what may not leak."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from openapi_spec_validator import validate

from events.binding import CertificateReleased, CertificateRevoked, CertificateSuspended
from events.contract import ContractCompleted, ContractVoided, PartyDeclined
from events.identity import (
    IdentityEnded,
    IdentityLocked,
    IdentityUnlocked,
    IdentityUpdated,
    IdentityVerified,
    RepresentativeChanged,
)
from events.signing import SigningRefused
from events.values import Code, Digest
from events.verification import SignatureRejected
from services.contracts.adapters.store import schema
from services.runtime import migrate
from tests.support import novation, pdfs
from tests.support.contract_world import OTHER, READER, World, certificate, credential, person, until, world

PDF = pdfs.minimal()


@pytest.fixture
async def here(tmp_path):
    async with world(tmp_path) as found:
        yield found


async def sent(here: World, *orders: int, **changed: Any) -> dict[str, Any]:
    await here.bind(*range(len(orders)))
    answer = await here.post(PDF, here.draft(*orders, **changed))
    assert answer.status == 201, answer.body
    return dict(answer.body)


async def test_the_tables_are_what_the_migrations_make(here):
    assert await migrate.differences(here.platform.database, schema) == []


async def test_three_parties_two_of_them_in_parallel_sign_and_the_contract_completes(here):
    contract = await sent(here, 1, 1, 2)
    assert contract["state"] == "sent"
    assert contract["waiting_for"] == ["party-0", "party-1"]
    assert (await here.confirm(0, contract)).status == 200
    assert (await here.confirm(1, contract)).body["state"] == "confirmed", "one signature at a time"
    await here.sign(contract)
    await here.sign(contract)
    now = await here.read(contract)
    assert now["waiting_for"] == ["party-2"]
    assert (await here.confirm(2, contract, now["revision"])).status == 200
    claim, _ = await here.sign(contract)
    done = await here.read(contract)
    assert done["state"] == "completed"
    assert done["revision"] == claim.signed
    said = await here.said(contract)
    assert [fact.name() for fact in said] == [
        "ContractSent",
        "PartyConfirmed",
        "SigningRequested",
        "PartyConfirmed",
        "SigningRequested",
        "PartyConfirmed",
        "SigningRequested",
        "ContractCompleted",
    ]
    assert isinstance(said[-1], ContractCompleted)
    assert said[-1].signatures == 3
    assert await here.buried() == []
    answer = await here.call("GET", f"/v1/contracts/{contract['id']}/document")
    assert Digest.of(answer.body) == claim.signed
    assert answer.headers["Content-Type"] == "application/pdf"


async def test_the_evidence_package_shows_every_revision_and_every_event(here):
    contract = await sent(here, 1, 2)
    for number in range(2):
        await here.confirm(number, contract)
        await here.sign(contract)
    package = (await here.call("GET", f"/v1/contracts/{contract['id']}/evidence")).body
    assert [each["slot"] for each in package["revisions"]] == ["party-0", "party-1"]
    assert package["revisions"][0]["base"] == contract["document"]
    assert package["revisions"][1]["base"] == package["revisions"][0]["revision"]
    assert all(each["presign_check"] and each["report"] and each["activation"] for each in package["revisions"])
    types = [each["type"].split(".")[3] for each in package["events"]]
    assert types == [
        "ContractSent",
        "PartyConfirmed",
        "SigningRequested",
        "DocumentSigned",
        "SignatureVerified",
        "PartyConfirmed",
        "SigningRequested",
        "DocumentSigned",
        "SignatureVerified",
        "ContractCompleted",
    ]
    assert len({each["id"] for each in package["events"]}) == len(types)
    activation = Digest(package["revisions"][0]["activation"])
    assert (await here.platform.blobs.fetch(activation)).count(b".") == 2, "the signed activation itself is kept"


async def test_a_template_becomes_a_contract_with_a_placement_for_each_slot(here):
    await here.bind(0, 1, 2)
    slots = ["outgoing-buyer", "incoming-buyer", "supplier"]
    body = {
        "fields": novation.fields(),
        "parties": [
            {"slot": slot, "identity": person(index), "order": 1 if index < 2 else 2}
            for index, slot in enumerate(slots)
        ],
        "deadline": here.draft(1)["deadline"],
        "send": True,
    }
    answer = await here.call("POST", "/v1/templates/power-purchase-novation/contracts", body)
    assert answer.status == 201, answer.body
    assert answer.body["pages"] == 3
    assert all(party["placement"]["page"] == 3 for party in answer.body["parties"])
    schema = (await here.call("GET", "/v1/templates/power-purchase-novation")).body
    assert "meter" in schema["fields"]["properties"]
    assert (await here.call("GET", "/v1/templates")).body["templates"][0]["slots"] == slots
    assert (await here.call("GET", "/v1/templates/none")).code == "unknown-template"
    wrong = {**body, "fields": {**body["fields"], "supplier": {**body["fields"]["supplier"], "number": "0106323763"}}}
    refused = await here.call("POST", "/v1/templates/power-purchase-novation/contracts", wrong)
    assert (refused.status, refused.code) == (422, "invalid-input")
    assert "tax-code-invalid" in refused.body["found"]
    assert "0106323763" not in str(refused.body)
    other = {**body, "parties": [{**body["parties"][0], "slot": "buyer"}, *body["parties"][1:]]}
    assert (
        await here.call("POST", "/v1/templates/power-purchase-novation/contracts", other)
    ).code == "slots-of-template"


@pytest.mark.parametrize("name", sorted(set(pdfs.bad()) - {"xref-bomb", "object-stream-bomb", "huge"}))
async def test_a_bad_upload_gets_one_clear_problem_and_leaves_nothing_behind(tmp_path, name):
    async with world(tmp_path) as here:
        pdf, code = pdfs.bad()[name]
        answer = await here.post(pdf, here.draft(1))
        assert answer.code == code
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert all(answer.body[member] for member in ("found", "expected", "remedy"))
        assert (await here.call("GET", "/v1/contracts")).body["contracts"] == []
        assert not any(path.is_file() for path in (tmp_path / "blobs").rglob("*"))
        assert await here.said() == []


async def test_an_upload_above_the_limit_is_refused(tmp_path):
    async with world(tmp_path, octets=4096) as here:
        assert (await here.post(PDF.ljust(5000), here.draft(1))).code == "pdf-too-large"
        assert (await here.post(PDF.ljust(500_000), here.draft(1))).status == 413


async def test_a_party_without_a_certificate_is_refused_at_sending_and_the_draft_stays(here):
    await here.bind(0)
    refused = await here.post(PDF, here.draft(1, 1))
    assert (refused.status, refused.code) == (409, "party-without-certificate")
    assert "party-1" in refused.body["found"]
    assert (await here.call("GET", "/v1/contracts")).body["contracts"] == []
    drafted = (await here.post(PDF, here.draft(1, 1, send=False))).body
    assert drafted["state"] == "draft"
    refused = await here.call("POST", f"/v1/contracts/{drafted['id']}/send")
    assert refused.code == "party-without-certificate"
    assert (await here.read(drafted))["state"] == "draft"
    assert await here.said() == []
    await here.bind(1)
    assert (await here.call("POST", f"/v1/contracts/{drafted['id']}/send")).body["state"] == "sent"
    assert (await here.call("POST", f"/v1/contracts/{drafted['id']}/send")).code == "contract-sent"


async def test_an_expired_certificate_is_no_certificate(here):
    await here.bind(0, not_after=here.clock.now() + timedelta(days=1))
    here.clock.pass_by(2 * 86400)
    assert (await here.post(PDF, here.draft(1))).code == "party-without-certificate"


async def test_out_of_turn_is_refused_and_nothing_changes(here):
    contract = await sent(here, 1, 2)
    before = await here.read(contract)
    refused = await here.confirm(1, contract)
    assert (refused.status, refused.code) == (409, "out-of-turn")
    assert await here.read(contract) == before
    assert await here.names(contract) == ["ContractSent"]


async def test_a_slot_is_signed_once(here):
    """Law 20/2023/QH15 Art 22: one approval of one content, one signature."""
    contract = await sent(here, 1, 2)
    await here.confirm(0, contract)
    assert (await here.confirm(0, contract)).code == "signing-in-progress"
    await here.sign(contract)
    before = await here.read(contract)
    refused = await here.confirm(0, contract)
    assert (refused.status, refused.code) == (409, "slot-already-signed")
    assert await here.read(contract) == before
    assert (await here.names(contract)).count("SigningRequested") == 1


async def test_a_digest_that_was_not_shown_is_refused(here):
    """Law 20/2023/QH15 Art 22: creation data bound uniquely to the content approved."""
    contract = await sent(here, 1)
    refused = await here.confirm(0, contract, Digest.of(b"another document"))
    assert (refused.status, refused.code) == (422, "digest-not-shown")
    refused = await here.confirm(0, contract, digest=Digest.of(b"another document"))
    assert refused.code == "activation-digest-mismatch"
    assert (await here.read(contract))["waiting_for"] == ["party-0"]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"sub": person(5)}, 403, "activation-not-yours"),
        ({"act_for": person(5)}, 403, "activation-not-yours"),
        ({"account_level": 1}, 403, "activation-level-too-low"),
        ({"auth_level": 1}, 403, "activation-level-too-low"),
        ({"purpose": "decline"}, 422, "activation-purpose-mismatch"),
        ({"txn": "00000000-0000-4000-8000-000000000009/party-0"}, 422, "activation-transaction-mismatch"),
        ({"aud": "somebody-else"}, 422, "activation-not-for-us"),
        ({"iss": "https://example.org"}, 422, "activation-not-for-us"),
        ({"iat": 1, "exp": 200}, 422, "activation-expired"),
        ({"exp": 99999999999}, 422, "activation-too-long-lived"),
        ({"jti": "not-a-uuid"}, 422, "activation-malformed"),
    ],
)
async def test_an_activation_that_does_not_fit_is_refused(here, changed, status, code):
    contract = await sent(here, 1)
    refused = await here.confirm(0, contract, **changed)
    assert (refused.status, refused.code) == (status, code), refused.body
    assert await here.names(contract) == ["ContractSent"]


async def test_an_activation_altered_or_by_an_unknown_key_is_refused(here):
    contract = await sent(here, 1)
    good = here.step_up(0, contract, contract["document"])
    path = f"/v1/contracts/{contract['id']}/slots/party-0/confirm"
    head, body, tail = good.split(".")
    for bad in (f"{head}.{body}.{tail[:-4]}AAAA", f"{head}.{body[:-4]}AAAA.{tail}", "x" * 30, "a.b.c" + "d" * 30):
        refused = await here.call("POST", path, {"activation": bad, "shown": contract["document"]}, key=None)
        assert (refused.status, refused.code) == (401, "signature-of-authority-invalid")
    assert await here.names(contract) == ["ContractSent"]


async def test_an_activation_is_used_once_even_after_the_signer_refused(here):
    contract = await sent(here, 1)
    token = here.step_up(0, contract, contract["document"])
    path = f"/v1/contracts/{contract['id']}/slots/party-0/confirm"
    body = {"activation": token, "shown": contract["document"]}
    assert (await here.call("POST", path, body, key=None)).status == 200
    asked = await here.requested(contract)
    await here.say(
        SigningRefused(
            contract=asked.contract,
            slot=asked.slot,
            identity=asked.identity,
            credential=asked.credential,
            base=asked.base,
            reason=Code("certificate-suspended"),
            found="a suspended certificate",
            expected="a good one",
            remedy="wait",
        )
    )
    now = await here.read(contract)
    assert now["waiting_for"] == ["party-0"]
    assert now["parties"][0]["reason"] == "certificate-suspended"
    assert (await here.call("POST", path, body, key=None)).code == "activation-used"
    assert (await here.confirm(0, contract)).status == 200


async def test_a_decline_ends_it_and_the_words_never_leave(here):
    contract = await sent(here, 1, 1)
    words = "Giá điện không đúng thỏa thuận với ông Đỗ Quỳnh"
    answer = await here.decline(1, contract, reason=words, code="price-not-agreed")
    assert (answer.status, answer.body["contract_state"]) == (200, "declined")
    assert words not in str(answer.body)
    said = (await here.said(contract))[-1]
    assert isinstance(said, PartyDeclined)
    assert said.reason == "price-not-agreed"
    async with here.platform.database.read() as conn:
        rows = await conn.execute(sa.text("select body from runtime_outbox"))
        assert not any(words.encode() in bytes(row[0]) or "Quỳnh" in str(row[0]) for row in rows)
    assert (await here.read(contract))["words"] == words
    assert (await here.confirm(0, contract)).code == "contract-declined"
    assert (await here.decline(0, contract)).code == "contract-declined"


async def test_the_sender_withdraws_once(here):
    contract = await sent(here, 1)
    answer = await here.call("POST", f"/v1/contracts/{contract['id']}/withdraw", {"reason": "nhầm"})
    assert (answer.status, answer.body["state"]) == (200, "withdrawn")
    assert (await here.call("POST", f"/v1/contracts/{contract['id']}/withdraw", {})).code == "contract-withdrawn"
    assert await here.names(contract) == ["ContractSent", "ContractWithdrawn"]


async def test_the_deadline_ends_it_by_itself(here):
    contract = await sent(here, 1)
    here.clock.pass_by(7 * 86400)
    assert (await here.confirm(0, contract)).code in ("deadline-passed", "contract-expired")
    await until(lambda: here.names(contract), 5)

    async def expired() -> bool:
        return (await here.names(contract))[-1] == "ContractExpired"

    await until(expired)
    assert (await here.read(contract))["state"] == "expired"


@pytest.mark.parametrize("days", [-1, 0, 400])
async def test_a_deadline_behind_or_far_ahead_is_refused(here, days):
    deadline = (here.clock.now() + timedelta(days=days)).isoformat()
    assert (await here.post(PDF, here.draft(1, deadline=deadline))).code == "deadline-invalid"


async def test_a_repeated_request_with_one_idempotency_key_happens_once(here):
    await here.bind(0)
    draft = here.draft(1)
    first = await here.post(PDF, draft, once="once-1")
    again = await here.post(PDF, draft, once="once-1")
    assert first.body == again.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len((await here.call("GET", "/v1/contracts")).body["contracts"]) == 1
    other = await here.post(pdfs.good()["rotated"], draft, once="once-1")
    assert (other.status, other.code) == (422, "idempotency-key-reused")
    contract = first.body
    body = {"activation": here.step_up(0, contract, contract["document"]), "shown": contract["document"]}
    path = f"/v1/contracts/{contract['id']}/slots/party-0/confirm"
    one = await here.call("POST", path, body, key=None, once="once-2")
    two = await here.call("POST", path, body, key=None, once="once-2")
    assert (one.status, one.body) == (two.status, two.body) == (200, one.body)
    assert (await here.names(contract)).count("SigningRequested") == 1


async def test_somebody_elses_contract_is_as_unknown_as_none(here):
    contract = await sent(here, 1)
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/document", None),
        ("GET", "/evidence", None),
        ("POST", "/send", None),
        ("POST", "/withdraw", {}),
    ):
        refused = await here.call(method, f"/v1/contracts/{contract['id']}{path}", body, key=OTHER)
        assert (refused.status, refused.code) == (404, "unknown-contract")
    assert (await here.call("GET", "/v1/contracts", key=OTHER)).body["contracts"] == []
    assert (await here.call("POST", f"/v1/contracts/{contract['id']}/send", key=READER)).status == 403
    assert (await here.call("GET", "/v1/contracts", key=None)).status == 401
    assert (await here.call("GET", "/v1/contracts/not-an-id")).status == 404


async def test_lists_come_in_pages_newest_first(here):
    await here.bind(0)
    made = [(await here.post(PDF, here.draft(1, reference=f"R{n}", send=n % 2 == 0))).body["id"] for n in range(5)]
    first = (await here.call("GET", "/v1/contracts?limit=3")).body
    assert [each["id"] for each in first["contracts"]] == made[:1:-1]
    rest = (await here.call("GET", f"/v1/contracts?limit=3&after={first['next']}")).body
    assert [each["id"] for each in rest["contracts"]] == made[1::-1]
    assert "next" not in rest
    assert (await here.call("GET", "/v1/contracts?state=signed")).code == "invalid-input"
    drafts = (await here.call("GET", "/v1/contracts?state=draft")).body["contracts"]
    assert [each["reference"] for each in drafts] == ["R3", "R1"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"surprise": 1}, "invalid-input"),
        ({"parties": []}, "invalid-input"),
        ({"parties": [{"slot": "A", "identity": person(0)}]}, "invalid-input"),
        ({"parties": [{"slot": "a", "identity": person(0)}, {"slot": "a", "identity": person(1)}]}, "party-twice"),
        ({"parties": [{"slot": "a", "identity": person(0)}, {"slot": "b", "identity": person(0)}]}, "party-twice"),
        (
            {
                "parties": [
                    {
                        "slot": "a",
                        "identity": person(0),
                        "placement": {"page": 2, "x": 1, "y": 1, "width": 9, "height": 9},
                    }
                ]
            },
            "placement-outside",
        ),
        (
            {
                "parties": [
                    {
                        "slot": "a",
                        "identity": person(0),
                        "placement": {"page": 1, "x": 500, "y": 1, "width": 200, "height": 9},
                    }
                ]
            },
            "placement-outside",
        ),
        (
            {
                "parties": [
                    {
                        "slot": f"s{n}",
                        "identity": person(n),
                        "placement": {"page": 1, "x": 50 + n, "y": 1, "width": 20, "height": 9},
                    }
                    for n in range(2)
                ]
            },
            "placement-outside",
        ),
        ({"terms": {"level": "PAdES-BASELINE-X"}}, "invalid-input"),
        ({"deadline": "2026-12-01T00:00:00"}, "invalid-input"),
    ],
)
async def test_a_request_that_does_not_fit_is_refused(here, changed, code):
    refused = await here.post(PDF, here.draft(1, **changed))
    assert (refused.status, refused.code) == (422, code), refused.body


async def test_a_locked_party_cannot_confirm_until_it_is_unlocked(here):
    """Design table 3.5, row "locked"."""
    contract = await sent(here, 1, 1)
    base = {"identity": person(0), "effective_at": here.clock.now(), "evidence": Digest.of(b"e")}
    await here.say(IdentityLocked(**base, sequence=2, reason=Code("holder-request")))
    refused = await here.confirm(0, contract)
    assert (refused.status, refused.code) == (409, "party-held")
    assert (await here.read(contract))["parties"][0]["held"] == ["identity-locked"]
    assert (await here.confirm(1, contract)).status == 200, "others go on"
    await here.say(IdentityUnlocked(**base, sequence=3, reason=Code("ground-ended")))
    assert (await here.confirm(0, contract)).status == 200


async def test_what_is_older_than_what_is_known_changes_nothing_and_never_revives(here):
    contract = await sent(here, 1)
    base = {"identity": person(0), "effective_at": here.clock.now(), "evidence": Digest.of(b"e")}
    await here.say(IdentityEnded(**base, sequence=5, reason="deceased"))
    said = (await here.said(contract))[-1]
    assert isinstance(said, ContractVoided)
    assert said.reason == "deceased"
    for sequence in (4, 6):
        await here.say(
            IdentityVerified(
                **base,
                sequence=sequence,
                account_level=2,
                auth_level=3,
                valid_until=here.clock.now() + timedelta(days=1),
                transaction="t",
            )
        )
    assert (await here.post(PDF, here.draft(1))).code == "party-ended"


async def test_an_end_before_the_turn_comes_voids_and_a_signature_made_before_stays(here):
    contract = await sent(here, 1, 2)
    await here.confirm(0, contract)
    claim, _ = await here.sign(contract)
    base = {"effective_at": here.clock.now(), "evidence": Digest.of(b"e"), "sequence": 1}
    await here.say(IdentityEnded(**base, identity=person(0), reason="deceased"))
    assert (await here.read(contract))["state"] == "sent"
    await here.say(IdentityEnded(**base, identity=person(1), reason="missing"))
    now = await here.read(contract)
    assert (now["state"], now["reason"], now["revision"]) == ("voided", "missing", claim.signed)


async def test_a_level_below_two_holds_and_a_correction_wants_a_new_confirmation(here):
    """Design table 3.5, rows "level dropped below 2" and "name/ID corrected"."""
    contract = await sent(here, 1, 1)
    await here.confirm(0, contract)
    assert (await here.confirm(1, contract)).body["state"] == "confirmed"
    base = {"identity": person(1), "effective_at": here.clock.now(), "evidence": Digest.of(b"e")}
    await here.say(IdentityUpdated(**base, sequence=2, account_level=1))
    party = (await here.read(contract))["parties"][1]
    assert (party["state"], party["held"]) == ("invited", ["account-level-too-low"])
    await here.say(IdentityUpdated(**base, sequence=3, account_level=2))
    assert (
        "held" not in (await here.read(contract))["parties"][1] or not (await here.read(contract))["parties"][1]["held"]
    )
    await here.sign(contract)
    assert (await here.confirm(1, contract)).body["state"] == "requested"


async def test_a_suspended_certificate_holds_and_a_revoked_one_voids(here):
    contract = await sent(here, 1, 1)
    base = {"identity": person(0), "credential": credential(0), "certificate": certificate(0)}
    told = {**base, "reason": Code("identity-locked"), "since": here.clock.now()}
    await here.say(CertificateSuspended(**told))
    assert (await here.confirm(0, contract)).code == "party-held"
    await here.say(CertificateReleased(**told))
    assert (await here.read(contract))["waiting_for"] == ["party-0", "party-1"]
    await here.say(CertificateRevoked(**told))
    assert (await here.read(contract))["state"] == "voided"
    await here.say(CertificateReleased(**told))
    assert (await here.post(PDF, here.draft(1))).code == "party-ended"


async def test_a_replaced_certificate_does_not_void(here):
    contract = await sent(here, 1)
    await here.say(here.bound(0, credential=credential(9), certificate=certificate(9)))
    await here.say(
        CertificateRevoked(
            identity=person(0),
            credential=credential(0),
            certificate=certificate(0),
            reason=Code("superseded"),
            since=here.clock.now(),
        )
    )
    assert (await here.confirm(0, contract)).status == 200
    assert (await here.requested(contract)).certificate == certificate(9)


async def test_an_organisation_acts_through_the_representative_bound_to_its_certificate(here):
    """Law 20/2023/QH15 Art 22: sole control; WIRE: sub is the representative, act_for the organisation."""
    await here.bind(0, representative=person(7))
    contract = (await here.post(PDF, here.draft(1))).body
    assert (await here.confirm(0, contract)).code == "activation-not-yours"
    assert (await here.confirm(0, contract, sub=person(7))).code == "activation-not-yours"
    base = {"effective_at": here.clock.now(), "evidence": Digest.of(b"e")}
    await here.say(IdentityLocked(**base, identity=person(7), sequence=1, reason=Code("holder-request")))
    assert (await here.confirm(0, contract, sub=person(7), act_for=person(0))).code == "representative-held"
    await here.say(IdentityUnlocked(**base, identity=person(7), sequence=2, reason=Code("ground-ended")))
    await here.say(RepresentativeChanged(**base, identity=person(0), sequence=3, representative=person(8)))
    assert (await here.confirm(0, contract, sub=person(7), act_for=person(0))).code == "representative-changed"
    told = {
        "identity": person(0),
        "credential": credential(0),
        "certificate": certificate(0),
        "reason": Code("representative-changed"),
        "since": here.clock.now(),
    }
    await here.say(CertificateSuspended(**told))
    await here.say(CertificateReleased(**told, representative=person(8)))
    assert (await here.confirm(0, contract, sub=person(7), act_for=person(0))).code == "activation-not-yours"
    assert (await here.confirm(0, contract, sub=person(8), act_for=person(0))).status == 200


async def test_a_rejected_file_voids_and_is_never_given_out(here):
    contract = await sent(here, 1)
    await here.confirm(0, contract)
    claim, _ = await here.sign(contract, verify=False)
    path = f"/v1/contracts/{contract['id']}/document"
    assert Digest.of((await here.call("GET", path)).body) == contract["document"], "a claim is not yet released"
    await here.say(
        SignatureRejected(
            contract=claim.contract,
            slot=claim.slot,
            base=claim.base,
            signed=claim.signed,
            report=Digest.of(b"report"),
            reason=Code("hash-failure"),
        )
    )
    now = await here.read(contract)
    assert (now["state"], now["reason"]) == ("voided", "hash-failure")
    assert Digest.of((await here.call("GET", path)).body) == contract["document"]
    refused = await here.call("GET", f"{path}?revision={claim.signed}")
    assert (refused.status, refused.code) == (404, "unknown-revision")
    assert "signed" not in now["parties"][0]


async def test_facts_that_nobody_ordered_become_dead_letters_and_change_nothing(here):
    contract = await sent(here, 1)
    await here.confirm(0, contract)
    claim, verdict = await here.sign(contract, verify=False)
    before = await here.read(contract)
    await here.say(verdict.model_copy(update={"signed": Digest.of(b"swapped")}))
    assert await here.read(contract) == before
    await here.say(verdict.model_copy(update={"contract": "00000000-0000-4000-8000-00000000000f"}))
    assert await here.buried() == ["not-as-ordered", "unknown-contract"]
    await here.say(verdict, verdict, claim)
    assert (await here.read(contract))["state"] == "completed"
    assert (await here.names(contract)).count("ContractCompleted") == 1


async def test_nothing_personal_of_a_template_reaches_events_or_problems(here):
    await here.bind(0, 1, 2)
    slots = ["outgoing-buyer", "incoming-buyer", "supplier"]
    fields = novation.fields(incoming={**novation.fields()["incoming"], "number": "001099123456"})
    body = {
        "fields": fields,
        "parties": [{"slot": slot, "identity": person(index)} for index, slot in enumerate(slots)],
        "deadline": here.draft(1)["deadline"],
        "send": True,
    }
    assert (await here.call("POST", "/v1/templates/power-purchase-novation/contracts", body)).status == 201
    async with here.platform.database.read() as conn:
        for table in ("runtime_outbox", "contracts_contracts", "contracts_history"):
            for row in await conn.execute(sa.text(f"select * from {table}")):  # noqa: S608 - names of this file
                text = " ".join(bytes(v).decode() if isinstance(v, bytes | memoryview) else str(v) for v in row)
                assert "001099123456" not in text
                assert "Thắng" not in text


async def test_a_refused_sending_leaves_no_bytes_behind(tmp_path):
    async with world(tmp_path) as here:
        assert (await here.post(PDF, here.draft(1))).code == "party-without-certificate"
        assert not any(path.is_file() for path in (tmp_path / "blobs").rglob("*"))


async def test_two_confirmations_of_one_slot_at_once_order_one_signature(here):
    contract = await sent(here, 1, 1)
    answers = await asyncio.gather(*(here.confirm(number % 2, contract) for number in range(8)))
    assert sorted(answer.status for answer in answers) == [200, 200, 409, 409, 409, 409, 409, 409]
    assert (await here.names(contract)).count("PartyConfirmed") == 2
    assert (await here.names(contract)).count("SigningRequested") == 1


async def test_reasons_that_are_told_come_from_a_closed_list(here):
    contract = await sent(here, 1)
    for code in ("nguyen-van-a", "a001099123456"):
        refused = await here.decline(0, contract, code=code)
        assert (refused.status, refused.code) == (422, "invalid-input")
        refused = await here.call("POST", f"/v1/contracts/{contract['id']}/withdraw", {"code": code})
        assert (refused.status, refused.code) == (422, "invalid-input")
    assert await here.names(contract) == ["ContractSent"]


async def test_an_authority_that_does_not_answer_is_a_wait_and_not_a_refusal(tmp_path):
    async with world(tmp_path, authority_jwks="http://127.0.0.1:9/jwks.json") as here:
        contract = await sent(here, 1)
        answer = await here.confirm(0, contract)
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert await here.names(contract) == ["ContractSent"]


async def test_the_api_describes_itself_in_valid_openapi(here):
    described = (await here.call("GET", "/openapi.json")).body
    validate(described)
    confirm = described["paths"]["/v1/contracts/{id}/slots/{slot}/confirm"]["post"]
    assert confirm["requestBody"]["content"]["application/json"]


async def test_contracts_survive_a_restart(tmp_path):
    async with world(tmp_path) as here:
        contract = await sent(here, 1, 2)
        await here.confirm(0, contract)
        before = await here.read(contract)
    async with world(tmp_path) as here:
        assert await here.read(contract) == before
        await here.sign(contract)
        assert (await here.read(contract))["waiting_for"] == ["party-1"]


async def test_a_late_unlock_does_not_lift_a_later_lock(here):
    contract = await sent(here, 1)
    base = {"identity": person(0), "effective_at": here.clock.now(), "evidence": Digest.of(b"e")}
    await here.say(IdentityLocked(**base, sequence=4, reason=Code("holder-request")))
    await here.say(IdentityUnlocked(**base, sequence=3, reason=Code("ground-ended")))
    assert (await here.confirm(0, contract)).code == "party-held"
