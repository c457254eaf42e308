"""What the CSC API server decides without touching anything: algorithms, lifetimes, which answer for which fault."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from asn1crypto import algos
from pydantic import BaseModel, ConfigDict, Field

from events.errors import AntinError, Refused, Unavailable
from events.values import BaselineLevel, CredentialId, Digest
from services.signer.model import Authorization, SigningAlgorithm

SHA256 = "2.16.840.1.101.3.4.2.1"
_PKCS1, _RSA, _PSS = "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"
_ECDSA = "1.2.840.10045.4.3.2"
ALGORITHMS: dict[SigningAlgorithm, tuple[str, ...]] = {
    SigningAlgorithm.RSA_3072_PKCS1: (_PKCS1, _RSA),
    SigningAlgorithm.RSA_3072_PSS: (_PSS,),
    SigningAlgorithm.P256: (_ECDSA,),
    SigningAlgorithm.P384: (_ECDSA,),
}
"""signAlgo of each key, the preferred first."""
CURVES = {SigningAlgorithm.P256: "1.2.840.10045.3.1.7", SigningAlgorithm.P384: "1.3.132.0.34"}
LENGTHS = {SigningAlgorithm.P256: 256, SigningAlgorithm.P384: 384}
LEVELS = {
    "Ades-B-B": BaselineLevel.B,
    "Ades-B-T": BaselineLevel.T,
    "Ades-B-LT": BaselineLevel.LT,
    "Ades-B-LTA": BaselineLevel.LTA,
}
METHODS = (
    "info",
    "oauth2/authorize",
    "oauth2/token",
    "credentials/list",
    "credentials/info",
    "credentials/authorize",
    "credentials/extendTransaction",
    "signatures/signHash",
    "signatures/signDoc",
    "signatures/signPolling",
    "signatures/timestamp",
)
TOKEN_LIFE = timedelta(hours=1)
SAD_LIFE = timedelta(minutes=5)
"""How long signature activation data live; they are for one use."""
TRANSACTION_LIFE = timedelta(minutes=15)
"""How long one approval may be extended in all."""
CODE_LIFE = timedelta(minutes=1)
ANSWER_LIFE = timedelta(hours=1)
"""How long an asynchronous answer can be polled."""


class Client(BaseModel):
    """A system that may ask for signatures, as the settings name it. `secret_sha256` of its secret in UTF-8, hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    name: Annotated[str, Field(max_length=100)]
    secret_sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    redirect_uris: tuple[str, ...] = ()

    @property
    def is_app(self) -> bool:
        """Whether it has no secret: a public client (RFC 6749 clause 2.1), which uses the code with PKCE alone."""
        return self.secret_sha256 is None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A living token of a client; with `authorization`, of the credential scope: it is the SAD of that approval."""

    client: str
    authorization: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that signs at once, and until when its process is taken to be alive.

    `again`: should it die, the SAD is unspent again. Only with keys that find an operation that was begun, so that the
    same request moves no key twice (`KeyStore.waits`); elsewhere nobody can tell whether the key moved, and what is
    spent stays spent.
    """

    id: str
    until: datetime
    again: bool


@dataclass(frozen=True, slots=True)
class Sad:
    """Signature activation data as they stand now. `attempt`: the call that is at work with them."""

    authorization: Authorization
    spent: bool
    expires_at: datetime
    attempt: Attempt | None

    def usable(self, now: datetime) -> Authorization:
        """The approval behind them, if they may sign.

        Raises:
            Refused: used, or their time is over.
            Unavailable: a call is at work whose outcome decides.
        """
        if now < self.expires_at and self.attempt is not None and self.attempt.again:
            raise self.busy(self.attempt, now)
        if self.spent or now >= self.expires_at:
            raise refused(
                "invalid-sad",
                "a SAD that was used or whose time is over",
                "a fresh one: each is for one call",
                remedy="call credentials/extendTransaction, or let the holder approve again",
            )
        return self.authorization

    def extendable(self, now: datetime) -> Authorization:
        """The approval behind them, if others may follow them.

        Raises:
            Refused: their time is over (CSC API v2.0, credentials/extendTransaction: the current unexpired SAD).
            Unavailable: a call is at work whose outcome decides what is left.
        """
        if now >= self.expires_at:
            raise refused(
                "invalid-sad",
                "a SAD whose time is over",
                "the last one, in its time",
                remedy="let the holder approve again",
            )
        if self.attempt is not None:
            raise self.busy(self.attempt, now)
        return self.authorization

    @staticmethod
    def busy(attempt: Attempt, now: datetime) -> Unavailable:
        """The fault that another call is at work."""
        return Unavailable(
            "sad-at-work",
            found="a call with this SAD that has not ended",
            expected="one call at a time",
            remedy="send the same request again later: if that call died, this one goes on where it stood",
            retry_after=min((attempt.until - now).total_seconds(), 5.0),
        )


def secret_fits(client: Client | None, secret: str | None) -> bool:
    """Whether this is the client's secret. It takes as long for a client that does not exist."""
    kept = client.secret_sha256 if client is not None else None
    found = hashlib.sha256((secret or "").encode("utf-8", "surrogateescape")).hexdigest()
    return hmac.compare_digest(kept or "0" * 64, found) and kept is not None and secret is not None


def digests_of(hashes: Sequence[str], algorithm: str | None) -> tuple[Digest, ...]:
    """The hashes as digests.

    Raises:
        Refused: not base64 of 32 octets, or another algorithm than SHA-256.
    """
    if algorithm is not None and algorithm != SHA256:
        raise refused("unsupported-hash", f"the hash algorithm {algorithm[:60]}", f"SHA-256 ({SHA256})")
    found = []
    for text in hashes:
        try:
            raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        except (ValueError, binascii.Error) as fault:
            raise refused("invalid-hash", "a hash that is not base64", "base64 of 32 octets") from fault
        if len(raw) != 32:
            raise refused("invalid-hash", f"a hash of {len(raw)} octets", "32 octets: SHA-256")
        found.append(Digest.from_raw(raw))
    return tuple(found)


def salt_of(algorithm: SigningAlgorithm, oid: str, parameters: str | None) -> int:
    """The octets of RSASSA-PSS salt that the client's `signAlgoParams` ask for (RFC 4055 clause 3.1); 32 without PSS.

    Raises:
        Refused: an algorithm that is not the key's, or parameters that it does not sign with.
    """
    if oid not in ALGORITHMS[algorithm]:
        raise refused(
            "unsupported-algorithm",
            f"signAlgo {oid[:60]}",
            " or ".join(ALGORITHMS[algorithm]) + ", as credentials/info says",
        )
    if oid != _PSS or parameters is None:
        return 32
    try:
        asked = algos.RSASSAPSSParams.load(base64.b64decode(parameters, validate=True), strict=True)
        hashed = asked["hash_algorithm"]["algorithm"].native
        mask = asked["mask_gen_algorithm"]["parameters"]["algorithm"].native
        salt = int(asked["salt_length"].native)
        trailer = asked["trailer_field"].native
    except (ValueError, TypeError, KeyError) as fault:
        raise refused("invalid-parameters", "signAlgoParams that are no RSASSA-PSS-params", "RFC 4055 DER") from fault
    room = 3072 // 8 - 32 - 2
    if (hashed, mask) != ("sha256", "sha256") or trailer not in (1, "trailer_field_bc") or not 0 <= salt <= room:
        raise refused(
            "invalid-parameters",
            f"hash {hashed}, mask {mask}, salt {salt}",
            f"SHA-256 in both, and a salt of 0 to {room} octets",
        )
    return salt


def level_of(text: str) -> BaselineLevel:
    """The conformance level.

    Raises:
        Refused: not one of ours.
    """
    found = LEVELS.get(text)
    if found is None:
        raise refused("unsupported-level", f"conformance_level {text[:40]}", ", ".join(LEVELS))
    return found


def credential_of(text: str) -> CredentialId:
    """The credential's id.

    Raises:
        Refused: not of the form of one.
    """
    try:
        return CredentialId(text)
    except ValueError as fault:
        raise refused("invalid-credential", "a credentialID of another form", CredentialId.expected) from fault


def challenge_fits(challenge: str, verifier: str) -> bool:
    """RFC 7636 clause 4.6, S256."""
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii", "replace")).digest()).rstrip(b"=")
    return hmac.compare_digest(made, challenge.encode("ascii", "replace"))


_ERRORS = {
    401: "invalid_token",
    403: "access_denied",
    413: "invalid_request",
    415: "invalid_request",
    429: "temporarily_unavailable",
}


def error_of(fault: AntinError) -> tuple[int, str, str]:
    """HTTP status, `error` and `error_description` of a fault (CSC API v2.0 clause 10.1, RFC 6749 clause 5.2)."""
    told = f"Found {fault.found}; expected {fault.expected}; {fault.remedy}."
    if isinstance(fault, Unavailable):
        return 503, "temporarily_unavailable", told
    status = fault.status if isinstance(fault, Refused) else 400
    if fault.code.startswith("oauth-"):
        return status, fault.code.removeprefix("oauth-").replace("-", "_"), told
    if fault.code.startswith(("activation-", "signature-of-authority-")):
        return 400, "invalid_otp", told
    return (status if status in _ERRORS else 400), _ERRORS.get(status, "invalid_request"), told


def refused(code: str, found: str, expected: str, *, remedy: str = "correct the request", status: int = 400) -> Refused:
    """A refusal of this API."""
    return Refused(code, found=found, expected=expected, remedy=remedy, status=status)


def sad_unknown() -> Refused:
    """The refusal of a SAD that is not this client's, or not this credential's."""
    return refused("invalid-sad", "an unknown SAD", "one given to this client for this credential")


def new_secret() -> str:
    """A token, code or SAD: 256 random bits."""
    return secrets.token_urlsafe(32)
