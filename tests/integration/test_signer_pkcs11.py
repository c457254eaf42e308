"""Keys in a module: they never leave it, a wrong PIN is tried once, a token may go and come back."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import uuid
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass, TokenFlag
from pkcs11.exceptions import AttributeSensitive, PinLocked, PKCS11Error

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import Desk, EitherWriter, desk

from events.errors import Malformed, Refused, Unavailable
from events.values import BaselineLevel, CredentialId
from services.signer.adapters import pkcs11_sessions
from services.signer.adapters.pkcs11_keys import Pkcs11Keys
from services.signer.adapters.pkcs11_sessions import Module, Opened, loaded
from services.signer.adapters.remote_keys import RemoteKey, verified
from services.signer.model import SigningAlgorithm
from tests.support.permits import permit
from tests.support.tokens import PIN, SoftToken, initialised


def fresh() -> CredentialId:
    return CredentialId(str(uuid.uuid4()))


@pytest.fixture
async def keys(soft_token: SoftToken):
    store = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file)
    yield store
    await store.close()


async def objects(keys: Pkcs11Keys, credential: CredentialId, kind: ObjectClass):
    """The token's objects of this credential, read in the store's own session and thread."""
    wanted = {Attribute.CLASS: kind, Attribute.ID: uuid.UUID(str(credential)).bytes}
    return await keys.sessions.do(lambda opened: list(opened.session.get_objects(wanted)))


SECRETS = {
    KeyType.RSA: (Attribute.PRIVATE_EXPONENT, Attribute.PRIME_1, Attribute.PRIME_2, Attribute.COEFFICIENT),
    KeyType.EC: (Attribute.VALUE,),
}


@pytest.mark.parametrize("algorithm", [SigningAlgorithm.RSA_3072_PSS, SigningAlgorithm.P256, SigningAlgorithm.P384])
async def test_the_private_part_cannot_be_had(keys, algorithm):
    """Circular 15/2025/TT-BKHCN Art 5 S2: the private key is used in the module. PKCS#11 v2.40 clause 4.9:
    CKA_SENSITIVE or not CKA_EXTRACTABLE, its secret attributes cannot be revealed in plain text outside the token.
    """
    one = fresh()
    await keys.create(one, algorithm)
    (key,) = await objects(keys, one, ObjectClass.PRIVATE_KEY)

    def look(_):
        wanted = {
            Attribute.SENSITIVE: True,
            Attribute.ALWAYS_SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.NEVER_EXTRACTABLE: True,
            Attribute.PRIVATE: True,
            Attribute.LOCAL: True,
            Attribute.SIGN: True,
            Attribute.DECRYPT: False,
            Attribute.UNWRAP: False,
        }
        assert {attribute: key[attribute] for attribute in wanted} == wanted
        for attribute in SECRETS[key.key_type]:
            with pytest.raises(AttributeSensitive):
                key[attribute]
        for loosening in ({Attribute.EXTRACTABLE: True}, {Attribute.SENSITIVE: False}):
            ((attribute, value),) = loosening.items()
            with pytest.raises(PKCS11Error):
                key[attribute] = value

    await keys.sessions.do(look)


async def test_wrapping_the_key_out_is_refused(keys):
    """PKCS#11 v2.40 clause 5.14: C_WrapKey of a key that is not CKA_EXTRACTABLE gives CKR_KEY_UNEXTRACTABLE."""
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    (key,) = await objects(keys, one, ObjectClass.PRIVATE_KEY)

    def wrap(opened):
        wrapping = opened.session.generate_key(KeyType.AES, 256, store=False)
        with pytest.raises(PKCS11Error) as refused:
            wrapping.wrap_key(key)
        assert type(refused.value).__name__ in ("KeyUnextractable", "KeyNotWrappable")

    await keys.sessions.do(wrap)


async def test_nobody_sees_the_key_without_the_pin(soft_token):
    """CKA_PRIVATE: without login the object is not even found."""
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file)
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    await keys.close()
    token = pkcs11.lib(str(soft_token.module)).get_token(token_label=soft_token.label)
    with token.open() as session:
        found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
    assert found == []
    again = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file)
    assert await again.algorithm(one) is SigningAlgorithm.P256
    await again.close()


async def test_a_wrong_pin_is_tried_once_and_never_in_a_loop(soft_token, tmp_path, monkeypatch):
    """A token counts: after a few wrong ones it locks (CKF_USER_PIN_LOCKED)."""
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text("000000")
    keys = Pkcs11Keys(soft_token.module, soft_token.label, pin)
    tries = []
    token = keys.sessions._token

    class Counting:
        flags = TokenFlag(0)

        def open(self, **how):
            tries.append(how.get("user_pin"))
            return token().open(**how)

    monkeypatch.setattr(keys.sessions, "_token", Counting)
    for _ in range(5):
        with pytest.raises(Unavailable, match="pkcs11-pin") as found:
            await keys.create(fresh(), SigningAlgorithm.P256)
        assert "000000" not in str(found.value)
        assert found.value.retry_after == 60
    assert tries == ["000000"]
    pin.write_text(PIN)  # the operator mends it: the next call logs in
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    assert await keys.sign(permit(one, SigningAlgorithm.P256))
    await keys.close()


async def test_a_locked_pin_is_said_and_left_alone(soft_token, monkeypatch):
    """SoftHSM never locks; what a token answers that does is put in its place."""
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file)
    tries = []

    class Locked:
        flags = TokenFlag(0)

        def open(self, **_):
            tries.append(1)
            raise PinLocked

    monkeypatch.setattr(keys.sessions, "_token", Locked)
    for _ in range(3):
        with pytest.raises(Unavailable, match="pkcs11-pin-locked"):
            await keys.sign(permit(fresh(), SigningAlgorithm.P256))
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("flag", "code"),
    [(TokenFlag.USER_PIN_FINAL_TRY, "pkcs11-pin-final-try"), (TokenFlag.USER_PIN_LOCKED, "pkcs11-pin-locked")],
)
async def test_the_last_try_before_a_token_locks_is_left_to_a_person(soft_token, monkeypatch, flag, code):
    """PKCS#11 v2.40 clause 3.2: CKF_USER_PIN_FINAL_TRY, an incorrect PIN will lock it. SoftHSM never sets it."""
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file)

    class LastTry:
        flags = flag

        def open(self, **_):
            raise AssertionError("a login")

    monkeypatch.setattr(keys.sessions, "_token", LastTry)
    with pytest.raises(Unavailable) as found:
        await keys.sign(permit(fresh(), SigningAlgorithm.P256))
    assert found.value.code == code


async def test_an_absent_token_and_an_unreadable_pin_are_waits_that_say_what_to_do(soft_token, tmp_path):
    absent = Pkcs11Keys(soft_token.module, "no such token", soft_token.pin_file)
    with pytest.raises(Unavailable, match="pkcs11-token-absent"):
        await absent.create(fresh(), SigningAlgorithm.P256)
    unread = Pkcs11Keys(soft_token.module, soft_token.label, tmp_path / "nowhere")
    with pytest.raises(Unavailable, match="pkcs11-pin-unreadable"):
        await unread.create(fresh(), SigningAlgorithm.P256)


@pytest.mark.parametrize("content", [None, b"not a library"])
async def test_a_module_that_cannot_be_loaded_is_said_at_the_start(tmp_path, content):
    module = tmp_path / "module.so"
    if content is not None:
        module.write_bytes(content)
    with pytest.raises(Malformed, match="pkcs11-module"):
        Pkcs11Keys(module, "any", tmp_path / "pin")


async def test_a_token_that_was_taken_out_is_a_wait_and_one_that_came_back_signs(soft_token):
    soft = initialised(soft_token.folder, "antin-wandering")
    keys = Pkcs11Keys(soft.module, soft.label, soft.pin_file)
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    place, away = soft.folder / "tokens", soft.folder / "away"
    place.rename(away)
    place.mkdir()
    module = loaded(soft.module)
    await asyncio.to_thread(module.restart, module.generation)  # as when the reader says: removed
    for _ in range(2):
        with pytest.raises(Unavailable, match="pkcs11-token"):
            await keys.sign(permit(one, SigningAlgorithm.P256))
    place.rmdir()
    away.rename(place)
    assert await keys.sign(permit(one, SigningAlgorithm.P256))
    await keys.close()


async def test_a_session_that_died_is_replaced_and_the_work_done(soft_token):
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file, sessions=1)
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    await keys.sessions.do(lambda opened: opened.session.close())
    assert await keys.sign(permit(one, SigningAlgorithm.P256))
    await keys.close()


async def test_a_pool_has_one_session_a_thread_and_the_token_does_so_many_at_once(soft_token):
    """PKCS#11 v2.40 clause 5.4, second way: CKF_OS_LOCKING_OK, and the module locks."""
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file, sessions=3)
    all_in = threading.Barrier(3, timeout=30)
    seen: list[Opened] = []

    def meet(opened: Opened) -> None:
        seen.append(opened)
        all_in.wait()

    await asyncio.gather(*(keys.sessions.do(meet) for _ in range(3)))
    assert len({id(one.session) for one in seen}) == 3
    assert len({id(one.login) for one in seen}) == 1
    assert loaded(soft_token.module).locks
    await keys.close()
    for one in seen:
        with pytest.raises(PKCS11Error):  # logged out and closed
            one.session.generate_random(64)


async def test_threads_make_and_use_keys_at_once(soft_token):
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file, sessions=6)

    async def one_party(algorithm: SigningAlgorithm) -> None:
        one = fresh()
        public = await asyncio.gather(*(keys.create(one, algorithm) for _ in range(3)))
        assert len(set(public)) == 1
        allowed = [permit(one, algorithm, tail=bytes([n])) for n in range(10)]
        signatures = await asyncio.gather(*(keys.sign(each) for each in allowed))
        for each, signature in zip(allowed, signatures, strict=True):
            key = RemoteKey(one, "", algorithm, public[0])
            assert verified(key, each.attributes.raw, each.salt, signature) == signature

    await asyncio.gather(*(one_party(algorithm) for algorithm in SigningAlgorithm for _ in range(2)))
    await keys.close()


async def test_a_login_that_was_lost_is_made_again_for_every_session(soft_token):
    """PKCS#11 v2.40 clause 5.6: a login is of the process. Without it private keys are not even found."""
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file, sessions=4)
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    await asyncio.gather(*(keys.sign(permit(one, SigningAlgorithm.P256)) for _ in range(8)))
    await keys.sessions.do(lambda opened: opened.login.session.close())
    signed = await asyncio.gather(*(keys.sign(permit(one, SigningAlgorithm.P256)) for _ in range(20)))
    assert len(signed) == 20
    await keys.close()


async def test_too_many_calls_are_told_to_come_back(keys, monkeypatch):
    monkeypatch.setattr(keys.sessions, "_most", 5)
    one = fresh()
    await keys.create(one, SigningAlgorithm.P256)
    calls = await asyncio.gather(
        *(keys.sign(permit(one, SigningAlgorithm.P256)) for _ in range(9)), return_exceptions=True
    )
    told = [call for call in calls if isinstance(call, Unavailable)]
    assert len(told) == 4
    assert {(each.code, each.retry_after) for each in told} == {("pkcs11-busy", 1.0)}
    assert await keys.sign(permit(one, SigningAlgorithm.P256))  # and then there is room again


async def test_a_module_that_cannot_lock_is_used_by_one_thread_at_a_time(soft_token, monkeypatch):
    """PKCS#11 v2.40 clause 5.4: CKR_CANT_LOCK; then it is initialised for one thread, and one uses it."""
    module = loaded(soft_token.module)
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file, sessions=4)
    monkeypatch.setattr(module, "locks", False)
    inside = most = 0

    def work(_: Opened) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        inside -= 1

    await asyncio.gather(*(keys.sessions.do(work) for _ in range(8)))
    assert most == 1
    await keys.close()


def test_a_module_that_answers_cannot_lock_is_initialised_for_one_thread(soft_token):
    module = loaded(soft_token.module)
    told: list[bool] = []

    class CannotLock:
        @staticmethod
        def finalize(_: object) -> int:
            return 0

        @staticmethod
        def initialize(arguments: object) -> int:
            told.append(arguments is not None)
            return 0x0A if arguments is not None else 0

    other = Module.__new__(Module)
    other._functions = CannotLock  # type: ignore[assignment]
    other._initialize()
    assert told == [True, False]
    assert not other.locks
    assert module.locks


async def test_a_restart_waits_for_calls_in_flight_and_then_says_so(soft_token, monkeypatch):
    """PKCS#11 v2.40 clause 5.4: C_Finalize while other threads are in the module is undefined."""
    monkeypatch.setattr(pkcs11_sessions, "PATIENCE", 0.05)
    keys = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file, sessions=1)
    module, going, end = loaded(soft_token.module), threading.Event(), threading.Event()

    def hang(_: Opened) -> None:
        going.set()
        assert end.wait(30)

    hanging = asyncio.create_task(keys.sessions.do(hang))
    await asyncio.to_thread(going.wait, 30)
    before = module.generation
    with pytest.raises(Unavailable, match="pkcs11-token-away"):
        await asyncio.to_thread(module.restart, before)
    assert module.generation == before
    end.set()
    await hanging
    await keys.close()


async def test_two_processes_that_make_one_key_at_once_end_with_one(keys, soft_token, monkeypatch):
    """PKCS#11 knows no unique id: who sees a twin takes its own key back."""
    one = fresh()
    other = Pkcs11Keys(soft_token.module, soft_token.label, soft_token.pin_file)
    find = Pkcs11Keys._find
    blind = {id(other)}

    def as_if_both_looked_first(self, opened, credential):
        if id(self) in blind:
            blind.clear()
            return None
        return find(self, opened, credential)

    monkeypatch.setattr(Pkcs11Keys, "_find", as_if_both_looked_first)
    first = await keys.create(one, SigningAlgorithm.P256)
    with pytest.raises(Unavailable, match="key-made-twice"):
        await other.create(one, SigningAlgorithm.P256)
    assert await other.create(one, SigningAlgorithm.P256) == first
    assert len(await objects(keys, one, ObjectClass.PRIVATE_KEY)) == 1
    assert len(await objects(keys, one, ObjectClass.PUBLIC_KEY)) == 1


async def test_a_key_that_was_not_made_here_is_left_alone(keys):
    one = fresh()

    def plant(opened):
        parameters = opened.session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp256r1")}, local=True
        )
        parameters.generate_keypair(store=True, id=uuid.UUID(str(one)).bytes, label="somebody else's")

    await keys.sessions.do(plant)
    with pytest.raises(Refused, match="key-foreign"):
        await keys.create(one, SigningAlgorithm.P256)


async def at_the_token(at: Desk, keys: Pkcs11Keys) -> Desk:
    return Desk(at.world, at.outbound, keys, at.status, at.authority, EitherWriter(keys, at.authority, at.status))


@pytest.mark.parametrize("algorithm", list(SigningAlgorithm))
async def test_documents_are_signed_on_the_token(tmp_path, keys, algorithm):
    async with desk(tmp_path) as at:
        party = await (await at_the_token(at, keys)).party(algorithm)
        signed = await asyncio.gather(
            *(party.sign(pdfs.minimal(), level=level) for level in (BaselineLevel.B, BaselineLevel.LTA))
        )
        for pdf in signed:
            assert pdf.startswith(pdfs.minimal())  # the writer has checked the signature against the certificate
