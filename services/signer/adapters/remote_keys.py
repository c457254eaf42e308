"""Keys at a remote provider: asked once for each digest, durably, however long its holder takes to approve."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from events.errors import Refused, Unavailable
from events.values import CredentialId, Digest
from services.runtime.clock import Clock
from services.signer.adapters import refusals, requests
from services.signer.model import KeyPermit, SigningAlgorithm

log = structlog.get_logger()

LIFE = timedelta(seconds=300)
"""How long a holder has to approve, where the provider does not say."""


class State(StrEnum):
    """Where an operation stands. `INTENDED` is written before the provider is asked, the others after it answered."""

    INTENDED = "intended"
    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(frozen=True)
class RemoteKey:
    """A credential of ours and the key at the provider that stands behind it. `public`: SubjectPublicKeyInfo, DER."""

    credential: CredentialId
    remote: str
    algorithm: SigningAlgorithm
    public: bytes


@dataclass(frozen=True)
class Operation:
    """One digest to be signed by one key. `id` is ours and travels with the request; `handle` is the provider's."""

    credential: CredentialId
    digest: Digest
    id: str
    jti: str
    salt: int
    state: State
    handle: str | None
    signature: bytes | None
    asked_at: datetime
    expires_at: datetime

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state not in (State.INTENDED, State.WAITING)


@dataclass(frozen=True)
class Answer:
    """What a provider says of an operation; `handle` and `expires_at` where it is waiting."""

    state: State
    handle: str | None = None
    signature: bytes | None = None
    expires_at: datetime | None = None


class NotAsked(Unavailable):
    """The provider has certainly not taken the operation: it may be asked for anew at once."""


class Provider(Protocol):
    """Speaks to one remote signing service."""

    @property
    def same_again(self) -> bool:
        """Whether the same operation id sent again finds the same transaction."""
        ...

    async def offer(self, algorithm: SigningAlgorithm, taken: Collection[str]) -> tuple[str, bytes]:
        """A key of this kind that is free for us: its id there, its SubjectPublicKeyInfo (DER).

        Raises:
            Refused: there is none, or this provider does not list keys.
            Unavailable: no answer.
        """
        ...

    async def start(self, key: RemoteKey, operation: Operation) -> Answer:
        """Ask for the signature; the holder may have to approve it first.

        Raises:
            NotAsked: certainly not taken.
            Unavailable: perhaps taken, perhaps not.
        """
        ...

    async def look(self, key: RemoteKey, operation: Operation) -> Answer:
        """How the operation stands, by its handle.

        Raises:
            Unavailable: no answer.
        """
        ...


class Books(Protocol):
    """Remembers keys and operations; each call is a transaction of its own."""

    async def key(self, credential: CredentialId) -> RemoteKey | None:
        """The key behind a credential."""
        ...

    async def taken(self) -> frozenset[str]:
        """Ids of the provider's keys that stand behind a credential of ours."""
        ...

    async def link(self, key: RemoteKey) -> RemoteKey:
        """Remember the key; what stands there now: the first that was linked stays.

        Raises:
            Refused: the provider's key stands behind another credential.
        """
        ...

    async def intend(self, wanted: Operation) -> tuple[Operation, bool]:
        """Write the intent, or find the operation on the same digest; whether the intent is ours and new."""
        ...

    async def note(self, operation: Operation, answer: Answer) -> None:
        """Write how an operation stands, unless it has ended."""
        ...

    async def forget(self, operation: Operation) -> None:
        """Take an operation out, so that it is asked for anew."""
        ...

    async def of_permit(self, jti: str) -> tuple[Operation, ...]:
        """The operations under a permit."""
        ...

    async def of_id(self, id: str) -> Operation | None:
        """The operation with this id of ours."""
        ...

    async def of_handle(self, handle: str) -> Operation | None:
        """The operation with this handle of the provider's."""
        ...


class RemoteKeys:
    """A `KeyStore` over a provider. `poll`: seconds between two looks at an operation that waits for its holder;
    `grace`: seconds a process is given to note the answer to its request before another takes the operation over.

    An operation is written down before the provider is asked and found again by its digest, so neither a restart nor
    a second process asks the holder twice. Every signature is verified before it is given out.
    """

    waits = True

    def __init__(
        self, provider: Provider, books: Books, clock: Clock, new_id: NewId, *, poll: float = 2.0, grace: float = 15.0
    ) -> None:
        self._provider = provider
        self._books = books
        self._clock = clock
        self._new_id = new_id
        self._poll = poll
        self._grace = timedelta(seconds=grace)

    # --- the port

    async def create(self, credential: CredentialId, algorithm: SigningAlgorithm) -> bytes:
        """The credential's key: the one linked to it, or one the provider keeps for us; SubjectPublicKeyInfo, DER.

        Raises:
            Refused: the linked key is of another kind, or the provider has no free key of this kind.
            Unavailable: the provider does not answer.
        """
        key = await self._books.key(credential) or await self._take(credential, algorithm)
        refusals.check_made(key.algorithm, algorithm)
        return key.public

    async def _take(self, credential: CredentialId, algorithm: SigningAlgorithm) -> RemoteKey:
        taken = set(await self._books.taken())
        while True:
            remote, public = await self._provider.offer(algorithm, taken)
            try:
                return await self._books.link(RemoteKey(credential, remote, algorithm, public))
            except Refused:  # somebody else was quicker with this one
                taken.add(remote)

    async def link(self, credential: CredentialId, remote: str, algorithm: SigningAlgorithm, public: bytes) -> bytes:
        """Put the provider's key `remote` (public half: SubjectPublicKeyInfo, DER) behind a credential.

        Raises:
            Refused: another key stands behind the credential, the key behind another, or it is not of this kind.
        """
        _check_kind(public, algorithm)
        wanted = RemoteKey(credential, remote, algorithm, public)
        if await self._books.link(wanted) != wanted:
            raise Refused(
                "credential-exists",
                found="another key behind this credential id",
                expected="none, or this one",
                remedy="use a new credential id",
                status=409,
            )
        return public

    async def csr(self, credential: CredentialId, challenge: str) -> bytes:
        """A PKCS#10 request (PEM), signed by the remote key: the holder may have to approve it.

        Raises:
            Refused: no such key, a challenge that is empty or longer than 255 characters, or the holder refused.
            Unavailable: the approval is awaited, or the provider does not answer.
        """
        key = await self._known(credential)
        info = requests.to_sign(key.public, challenge)
        digest = Digest.of(info)
        try:
            signature = await self._signature(key, digest, f"csr:{credential}", 32)
        except Refused as fault:
            # Unlike an approval to sign, the same request may be made again: the next call asks the holder anew.
            if fault.code.startswith("remote-signature-"):
                for operation in await self._books.of_permit(f"csr:{credential}"):
                    if operation.digest == digest:
                        await self._books.forget(operation)
            raise
        return requests.signed(info, key.algorithm, signature)

    async def algorithm(self, credential: CredentialId) -> SigningAlgorithm | None:
        """The algorithm of the credential's key, or none where there is no key."""
        key = await self._books.key(credential)
        return key.algorithm if key else None

    async def ready(self, jti: str) -> None:
        """Look at what still waits under this permit.

        Raises:
            Unavailable: the approval is still awaited, or the provider does not answer.
            Refused: it was refused, or came too late.
        """
        for operation in await self._books.of_permit(jti):
            if operation.state is State.WAITING:
                await self._look(await self._known(operation.credential), operation)
            elif operation.state not in (State.INTENDED, State.DONE):
                raise _ended(operation.state)

    async def sign(self, permit: KeyPermit) -> bytes:
        """The raw signature over the permit's attributes digest (ECDSA in DER).

        Raises:
            Refused: no such key, its algorithm is not the permit's, or the holder refused or was too late.
            Unavailable: the approval is awaited, or the provider does not answer.
        """
        key = await self._known(permit.credential)
        refusals.check_used(key.algorithm, permit.algorithm)
        return await self._signature(key, permit.attributes, permit.jti, permit.salt)

    # --- what a provider tells by itself

    async def told(self, *, id: str | None = None, handle: str | None = None, answer: Answer | None = None) -> bool:
        """A provider calls back about an operation, named by our id or by its handle; whether it was known.

        Without an `answer` it is asked how the operation stands: a call back is a hint, not a proof.

        Raises:
            Unavailable: the provider does not answer.
        """
        operation = await self._books.of_id(id) if id else None
        if operation is None and handle:
            operation = await self._books.of_handle(handle)
        if operation is None:
            return False
        if operation.over:
            return True
        key = await self._known(operation.credential)
        try:
            if answer is not None:
                await self._settle(key, operation, answer)
            elif operation.state is State.WAITING:
                await self._look(key, operation)
        except (Refused, Pending):
            pass  # written down; who asked for the signature is told when it looks
        return True

    # --- an operation

    async def _signature(self, key: RemoteKey, digest: Digest, jti: str, salt: int) -> bytes:
        now = self._clock.now()
        fresh = Operation(
            key.credential, digest, self._new_id(), jti, salt, State.INTENDED, None, None, now, now + LIFE
        )
        operation, ours = await self._books.intend(fresh)
        if not _answers(operation, jti, salt):
            await self._books.forget(operation)
            operation, ours = await self._books.intend(fresh)
        if operation.state is State.DONE and operation.signature is not None:
            return operation.signature
        if operation.state is State.WAITING:
            return await self._look(key, operation)
        if operation.state is not State.INTENDED:
            raise _ended(operation.state)
        if not ours:
            await self._left_behind(operation, now)
        return await self._start(key, operation)

    async def _left_behind(self, operation: Operation, now: datetime) -> None:
        """An intent without an answer: another process is at it now, or one died at it.

        Raises:
            Unavailable: it must be waited for, because asking again could mean asking twice.
        """
        patience = self._grace if self._provider.same_again else operation.expires_at - operation.asked_at
        left = (operation.asked_at + patience - now).total_seconds()
        if left > 0:
            raise Unavailable(
                "remote-signature-unanswered",
                found="a request to the key's provider whose answer is not known",
                expected="its answer, or the end of its time",
                remedy="it is waited for: the holder is not to be asked twice",
                retry_after=min(left, max(self._poll, 1.0)),
            )
        if not self._provider.same_again:
            log.warning("remote-signature-asked-again", operation=operation.id)
            await self._books.forget(operation)
            raise Unavailable(
                "remote-signature-unanswered",
                found="a request that was never answered and whose time is over",
                expected="a fresh request",
                remedy="it is asked for anew",
                retry_after=0.0,
            )

    async def _start(self, key: RemoteKey, operation: Operation) -> bytes:
        try:
            answer = await self._provider.start(key, operation)
        except NotAsked:
            await self._books.forget(operation)
            raise
        return await self._settle(key, operation, answer)

    async def _look(self, key: RemoteKey, operation: Operation) -> bytes:
        now = self._clock.now()
        try:
            answer = await self._provider.look(key, operation)
        except Unavailable:
            if now <= operation.expires_at + LIFE:
                raise
            answer = Answer(State.EXPIRED)  # whatever became of it, nobody can tell any more
        if answer.state in (State.WAITING, State.FAILED) and now > operation.expires_at:
            answer = Answer(State.EXPIRED)
        return await self._settle(key, operation, answer)

    async def _settle(self, key: RemoteKey, operation: Operation, answer: Answer) -> bytes:
        """Write the answer down, then act on it.

        Raises:
            Pending: the holder has still to approve.
            Refused: the operation ended without a signature.
        """
        if answer.state is State.DONE:
            found = await asyncio.to_thread(
                verified, key, operation.digest.raw, operation.salt, answer.signature or b""
            )
            await self._books.note(operation, Answer(State.DONE, signature=found))
            return found
        await self._books.note(operation, answer)
        if answer.state is State.WAITING:
            raise Pending(self._poll)
        raise _ended(answer.state)

    async def _known(self, credential: CredentialId) -> RemoteKey:
        key = await self._books.key(credential)
        if key is None:
            raise refusals.key_unknown()
        return key


def _answers(operation: Operation, jti: str, salt: int) -> bool:
    """Whether an operation on the same digest is the one wanted: a signature of that kind is; a refusal, or an approval
    that came too late, is not once the holder has approved anew.
    """
    if operation.state is State.DONE:
        return operation.salt == salt
    return not operation.over or operation.jti == jti


class NewId(Protocol):
    """Makes ids of operations."""

    def __call__(self) -> str:
        """A fresh UUID."""
        ...


class Pending(Unavailable):
    """The holder has still to approve."""

    def __init__(self, poll: float) -> None:
        super().__init__(
            "approval-pending",
            found="a signature that its holder has not approved yet",
            expected="the approval in the provider's application, in time",
            remedy="it is looked at again; nobody is asked twice",
            retry_after=poll,
        )


def _ended(state: State) -> Refused:
    found, remedy = {
        State.REFUSED: ("a signature that its holder refused", "ask the party to approve the document again"),
        State.EXPIRED: ("a signature that its holder did not approve in time", "ask the party to approve again"),
    }.get(state, ("a signature that the provider could not make", "see the provider's log, then ask the party again"))
    return Refused(
        f"remote-signature-{state.value}",
        found=found,
        expected="an approval in the provider's application within 300 s",
        remedy=remedy,
        status=409,
    )


def _check_kind(public: bytes, algorithm: SigningAlgorithm) -> None:
    if kind_of(public, pss=algorithm.is_pss) is not algorithm:
        raise Refused(
            "key-algorithm",
            found="a key of another kind",
            expected=f"one for {algorithm.value}",
            remedy="name the algorithm that the key has",
        )


def kind_of(public: bytes, *, pss: bool) -> SigningAlgorithm | None:
    """What a public key (SubjectPublicKeyInfo, DER) can be used for here, if anything."""
    try:
        key = load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 3072:
        return SigningAlgorithm.RSA_3072_PSS if pss else SigningAlgorithm.RSA_3072_PKCS1
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": SigningAlgorithm.P256, "secp384r1": SigningAlgorithm.P384}.get(key.curve.name)
    return None


def verified(key: RemoteKey, digest: bytes, salt: int, signature: bytes) -> bytes:
    """The signature as X.509 has it, once it was found to be by this key over this SHA-256 digest.

    Raises:
        Unavailable: it is not; nothing of a provider is believed unseen.
    """
    for form in _forms(key, signature):
        if _holds(key, digest, salt, form):
            return form
    raise Unavailable(
        "remote-signature-invalid",
        found="a signature by the provider that does not hold",
        expected="one by the credential's key over the digest that was sent",
        remedy="nothing was released; report it to the provider",
        retry_after=30.0,
    )


def _forms(key: RemoteKey, signature: bytes) -> list[bytes]:
    """As it came, and for ECDSA also read as r and s side by side (IEEE P1363), which some providers send."""
    half = len(signature) // 2
    if key.algorithm.is_rsa or half == 0 or len(signature) % 2:
        return [signature]
    return [signature, encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))]


def _holds(key: RemoteKey, digest: bytes, salt: int, signature: bytes) -> bool:
    public = load_der_public_key(key.public)
    prehashed = Prehashed(hashes.SHA256())
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, digest, ec.ECDSA(prehashed))
            return True
        if isinstance(public, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
            public.verify(signature, digest, pss if key.algorithm.is_pss else padding.PKCS1v15(), prehashed)
            return True
    except (InvalidSignature, ValueError):
        return False
    return False
