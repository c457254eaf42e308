"""Keys in a PKCS#11 module (HSM, token, SoftHSM): made there, used there, never outside it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pkcs11
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.exceptions import (
    DeviceMemory,
    KeySizeRange,
    MechanismInvalid,
    MechanismParamInvalid,
    MultipleTokensReturned,
    NoSuchToken,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserAlreadyLoggedIn,
    UserPinNotInitialized,
)
from pkcs11.util.ec import encode_named_curve_parameters

from events.errors import AntinError, Malformed, Refused, Unavailable
from events.values import CredentialId
from services.runtime.settings import secret
from services.signer.adapters import requests
from services.signer.model import KeyPermit, SigningAlgorithm

log = structlog.get_logger()

T = TypeVar("T")

_CURVES: dict[SigningAlgorithm, tuple[str, ec.EllipticCurve, int]] = {
    SigningAlgorithm.P256: ("secp256r1", ec.SECP256R1(), 32),
    SigningAlgorithm.P384: ("secp384r1", ec.SECP384R1(), 48),
}
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""DigestInfo of SHA-256 up to its 32 octets (RFC 8017 clause 9.2, note 1)."""

_PRIVATE = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
}
_PIN_FAULTS = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired, UserPinNotInitialized)


@dataclass(frozen=True)
class _Key:
    algorithm: SigningAlgorithm
    private: Any
    spki: bytes


class Pkcs11Keys:
    """A `KeyStore` on one token of one PKCS#11 module.

    `module`: the vendor's shared library. `token`: the token's label. `pin_file`: the user PIN, in a file of mode 0600,
    read at each login. The library that speaks to the module initialises it for one thread (C_Initialize without
    arguments), so one thread with one session does all the work, off the event loop; more processes give more.

    A PIN the token has refused is not tried again until the file holds another, and the last try before it locks is
    left to a person: tokens lock after a few wrong ones.

    Raises:
        Malformed: the module cannot be loaded.
    """

    waits = False

    def __init__(self, module: Path, token: str, pin_file: Path) -> None:
        self._label = token
        self._pin_file = pin_file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        self._session: Any = None
        self._keys: dict[CredentialId, _Key] = {}
        self._refused_pin: tuple[bytes, Unavailable] | None = None
        try:
            self._module = _modules(str(module))
        except (PKCS11Error, OSError) as fault:
            raise Malformed(
                "pkcs11-module",
                found=f"a PKCS#11 module that cannot be loaded ({module.name}, {type(fault).__name__})",
                expected="the shared library of the token's vendor, for this processor, configured as it wants",
                remedy="correct ANTIN_SIGNER__PKCS11_MODULE; for SoftHSM also SOFTHSM2_CONF",
            ) from fault

    async def create(self, credential: CredentialId, algorithm: SigningAlgorithm) -> bytes:
        """Make the credential's key on the token, or find the one already made; its SubjectPublicKeyInfo, DER.

        Raises:
            Refused: the credential has a key of another algorithm.
            Unavailable: the token is away, full, locked, or was asked for the same key twice at once.
        """
        made = await self._do(lambda session: self._create(session, credential, algorithm))
        if made.algorithm is not algorithm:
            raise Refused(
                "credential-exists",
                found=f"a key for {made.algorithm.value} under this credential id",
                expected=f"none, or one for {algorithm.value}",
                remedy="use a new credential id",
                status=409,
            )
        return made.spki

    async def csr(self, credential: CredentialId, challenge: str) -> bytes:
        """A PKCS#10 request (PEM), signed on the token.

        Raises:
            Refused: no such key, or a challenge that is empty or longer than 255 characters.
            Unavailable: the token cannot be used.
        """

        def work(session: Any) -> bytes:
            key = self._known(session, credential)
            info = requests.to_sign(key.spki, challenge)
            return requests.signed(info, key.algorithm, _sign(key, hashlib.sha256(info).digest()))

        return await self._do(work)

    async def algorithm(self, credential: CredentialId) -> SigningAlgorithm | None:
        """The algorithm of the credential's key, or none where there is no key."""
        found = await self._do(lambda session: self._find(session, credential))
        return found.algorithm if found else None

    async def sign(self, permit: KeyPermit) -> bytes:
        """The raw signature over the permit's attributes digest (RFC 8017 clause 8, FIPS 186-5; ECDSA in DER).

        Raises:
            Refused: no such key, or its algorithm is not the permit's.
            Unavailable: the token cannot be used.
        """

        def work(session: Any) -> bytes:
            key = self._known(session, permit.credential)
            if key.algorithm is not permit.algorithm:
                raise Refused(
                    "key-algorithm",
                    found=f"a key for {key.algorithm.value}",
                    expected=f"one for {permit.algorithm.value}",
                    remedy="bind the certificate to the key it was issued for",
                )
            return _sign(key, permit.attributes.raw, permit.salt)

        return await self._do(work)

    async def ready(self, jti: str) -> None:
        """At once: nobody else has to approve."""

    async def close(self) -> None:
        """Log out and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._forget)
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Pkcs11Keys:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- on the thread

    async def _do(self, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)

    def _guarded(self, work: Callable[[Any], T]) -> T:
        """Do the work in the session; a session that has died is replaced once."""
        alive = self._session is not None
        try:
            return work(self._session or self._login())
        except DeviceMemory as fault:
            raise _wait("pkcs11-token-full", "a token without room", "room for one more key pair", fault) from fault
        except (MechanismInvalid, MechanismParamInvalid, KeySizeRange) as fault:
            raise Refused(
                "pkcs11-mechanism",
                found=f"a token that cannot make or use this kind of key ({type(fault).__name__})",
                expected="RSA-3072 with CKM_RSA_PKCS and CKM_RSA_PKCS_PSS, P-256 and P-384 with CKM_ECDSA",
                remedy="choose an algorithm the token has, or another token",
            ) from fault
        except PKCS11Error as fault:
            # Whatever it was, the session is not trusted any more: handles die with the token, or with another's login.
            self._forget()
            if not alive:
                raise _away(fault) from fault
            log.warning("pkcs11-session-lost", fault=type(fault).__name__)
        try:
            return work(self._login())
        except PKCS11Error as fault:
            self._forget()
            raise _away(fault) from fault

    def _login(self) -> Any:
        """A session in which the user is logged in.

        Raises:
            Unavailable: no such token, or its PIN is wrong, locked, expired or cannot be read.
        """
        try:
            pin = secret(self._pin_file)
        except AntinError as fault:
            raise _wait("pkcs11-pin-unreadable", fault.found, fault.expected, None) from fault
        mark = hashlib.sha256(pin.encode()).digest()
        if self._refused_pin is not None:
            if self._refused_pin[0] == mark:
                raise self._refused_pin[1]
            self._refused_pin = None
        token = self._token()
        if token.flags & (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED):
            raise _last_try(bool(token.flags & TokenFlag.USER_PIN_LOCKED))
        try:
            try:
                self._session = token.open(rw=True, user_pin=pin)
            except UserAlreadyLoggedIn:  # a login is of the process, not of the session (PKCS#11 v2.40 clause 5.6)
                self._session = token.open(rw=True)
        except _PIN_FAULTS as fault:
            refusal = _pin_refused(fault)
            self._refused_pin = (mark, refusal)
            log.error("pkcs11-login-refused", code=refusal.code)
            raise refusal from fault
        return self._session

    def _token(self) -> Any:
        for last in (False, True):
            try:
                return self._module.get_token(token_label=self._label)
            except MultipleTokensReturned as fault:
                raise _wait(
                    "pkcs11-token-ambiguous", "several tokens with the configured label", "one", fault
                ) from fault
            except NoSuchToken as fault:
                if last:
                    raise _wait(
                        "pkcs11-token-absent",
                        "no token with the configured label",
                        "the token in its slot, initialised under ANTIN_SIGNER__PKCS11_TOKEN",
                        fault,
                    ) from fault
            # Many modules list their slots once, when they are initialised: a token that came back is seen then.
            self._module.reinitialize()
        raise AssertionError("not reached")

    def _forget(self) -> None:
        self._keys.clear()
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except PKCS11Error:
                log.info("pkcs11-session-was-dead")

    def _find(self, session: Any, credential: CredentialId) -> _Key | None:
        held = self._keys.get(credential)
        if held is not None:
            return held
        found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: _id(credential)}))
        if not found:
            return None
        if len(found) > 1:
            raise Refused(
                "key-ambiguous",
                found=f"{len(found)} private keys under this credential id",
                expected="one",
                remedy="see which one the certificate names and take the others off the token",
            )
        public = list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: _id(credential)}))
        algorithm = _labelled(found[0])
        if algorithm is None or len(public) != 1 or found[0].key_type is not _kind(algorithm):
            raise Refused(
                "key-foreign",
                found="a key of this id that was not made here",
                expected="a key pair whose label ends in its algorithm",
                remedy="use a new credential id",
                status=409,
            )
        key = self._keys[credential] = _Key(algorithm, found[0], _spki(algorithm, public[0]))
        return key

    def _known(self, session: Any, credential: CredentialId) -> _Key:
        key = self._find(session, credential)
        if key is None:
            raise Refused(
                "key-unknown",
                found="no key under this credential id on the token",
                expected="a credential whose key this store made",
                remedy="create the credential first",
                status=404,
            )
        return key

    def _create(self, session: Any, credential: CredentialId, algorithm: SigningAlgorithm) -> _Key:
        found = self._find(session, credential)
        if found is not None:
            return found
        public, private = _generate(session, credential, algorithm)
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE] or not private[Attribute.PRIVATE]:
            public.destroy()
            private.destroy()
            raise Refused(
                "key-extractable",
                found="a token that makes extractable keys though told not to",
                expected="CKA_SENSITIVE, CKA_PRIVATE and not CKA_EXTRACTABLE (Circular 15/2025/TT-BKHCN Art 5)",
                remedy="use another token or correct its policy; the key was deleted",
            )
        twins = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: _id(credential)}))
        if len(twins) > 1:
            # PKCS#11 knows no unique ids. Two processes made one at once: each takes its own back and looks again.
            public.destroy()
            private.destroy()
            raise Unavailable(
                "key-made-twice",
                found="another process that made this credential's key at the same time",
                expected="one maker",
                remedy="ours was taken back; it is tried again",
                retry_after=1.0,
            )
        key = self._keys[credential] = _Key(algorithm, private, _spki(algorithm, public))
        return key


_loading = threading.Lock()


def _modules(path: str) -> Any:
    with _loading:
        return pkcs11.lib(path)


def _id(credential: CredentialId) -> bytes:
    return UUID(str(credential)).bytes


def _kind(algorithm: SigningAlgorithm) -> KeyType:
    return KeyType.RSA if algorithm.is_rsa else KeyType.EC


def _labelled(key: Any) -> SigningAlgorithm | None:
    """The algorithm at the end of the label: a token does not say which padding an RSA key was made for."""
    try:
        return SigningAlgorithm(str(key.label).rpartition(".")[2])
    except ValueError:
        return None


def _generate(session: Any, credential: CredentialId, algorithm: SigningAlgorithm) -> tuple[Any, Any]:
    named: dict[str, Any] = {
        "id": _id(credential),
        "label": f"{credential}.{algorithm.value}",
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": _PRIVATE,
    }
    if algorithm.is_rsa:
        public, private = session.generate_keypair(KeyType.RSA, 3072, **named)
        return public, private
    curve = encode_named_curve_parameters(_CURVES[algorithm][0])
    parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
    public, private = parameters.generate_keypair(**named)
    return public, private


def _spki(algorithm: SigningAlgorithm, public: Any) -> bytes:
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    if algorithm.is_rsa:
        exponent, modulus = (int.from_bytes(public[one]) for one in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    else:
        _, curve, size = _CURVES[algorithm]
        # The point, uncompressed, within an OCTET STRING (PKCS#11 v2.40 clause 2.3.3); some tokens leave that off.
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, bytes(public[Attribute.EC_POINT])[-2 * size - 1 :])
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(key: _Key, digest: bytes, salt: int = 32) -> bytes:
    """The signature over a SHA-256 digest, as X.509 and CMS have it; `salt` in octets, for PSS."""
    if key.algorithm.is_pss:
        return bytes(
            key.private.sign(
                digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=(Mechanism.SHA256, pkcs11.MGF.SHA256, salt)
            )
        )
    if key.algorithm.is_rsa:
        return bytes(key.private.sign(_SHA256_INFO + digest, mechanism=Mechanism.RSA_PKCS))
    raw = bytes(key.private.sign(digest, mechanism=Mechanism.ECDSA))
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def _pin_refused(fault: PKCS11Error) -> Unavailable:
    if isinstance(fault, PinLocked):
        found, remedy = "a user PIN that the token has locked", "have the token's security officer unlock it"
    elif isinstance(fault, PinExpired | UserPinNotInitialized):
        found, remedy = "a user PIN that has expired or was never set", "set it with the vendor's tool"
    else:
        found, remedy = "a user PIN that the token refuses", "put the right PIN into the file"
    return Unavailable(
        "pkcs11-pin-locked" if isinstance(fault, PinLocked) else "pkcs11-pin",
        found=found,
        expected="the token's user PIN in ANTIN_SIGNER__PKCS11_PIN_FILE",
        remedy=f"{remedy}; this PIN is not tried again before the file changes, or the signer is started anew",
        retry_after=60.0,
    )


def _last_try(locked: bool) -> Unavailable:
    """Whether the PIN is right or wrong: a token's last try before it locks is a person's to spend."""
    return Unavailable(
        "pkcs11-pin-locked" if locked else "pkcs11-pin-final-try",
        found="a token whose user PIN is locked" if locked else "a token that locks at the next wrong PIN",
        expected="a token with tries left",
        remedy="have its security officer unlock it"
        if locked
        else "log in once with the vendor's tool and the right PIN",
        retry_after=60.0,
    )


def _away(fault: PKCS11Error) -> Unavailable:
    return _wait(
        "pkcs11-token-away", "a token that was taken out, or that failed", "a token that works, in its slot", fault
    )


def _wait(code: str, found: str, expected: str, fault: PKCS11Error | None) -> Unavailable:
    why = f" ({type(fault).__name__})" if fault is not None else ""
    return Unavailable(code, found=found + why, expected=expected, remedy="nothing was signed; it is tried again")
