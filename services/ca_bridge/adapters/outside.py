"""The CA, the enterprise registry and the key store, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from events.errors import Refused, Unavailable
from events.values import CredentialId, IdentityId, KeyAlgorithm
from services.ca_bridge.adapters.examiner import Examiner
from services.ca_bridge.model import Application, RegistryEntry
from services.ca_bridge.ports import Issued, Wanted
from services.runtime.clock import Clock
from services.runtime.outbound import Answer, Outbound

_REASONS = {
    "cessation-of-operation": "cessationOfOperation",
    "superseded": "superseded",
    "key-compromise": "keyCompromise",
    "affiliation-changed": "affiliationChanged",
}
"""CRLReason names (RFC 5280 clause 5.3.1) of our reasons."""


T = TypeVar("T", bound=BaseModel)


class _Certified(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    certificate: str
    chain: tuple[str, ...]
    serial: str


class HttpCa:
    """`CertificateAuthority` of the public-CA shape that lab/ serves."""

    def __init__(
        self,
        outbound: Outbound,
        base: str,
        token: str,
        examiner: Examiner,
        clock: Clock,
        keys: HttpKeyStore,
        *,
        days: int,
        timeout: float,
    ) -> None:
        self._outbound = outbound
        self._clock = clock
        self._base = base.rstrip("/")
        self._token = token
        self._examiner = examiner
        self._keys = keys
        self._days = days
        self._timeout = timeout

    async def certify(self, application: Application, wanted: Wanted) -> Issued:
        """Have the key made, prove possession, have a certificate issued, and examine it.

        Raises:
            Refused: the request or the CA's answer is not acceptable.
            Unavailable: the key store or the CA does not answer, or answers nonsense.
        """
        csr = await self._keys.make(application.credential, wanted.key_algorithm, application.challenge)
        self._examiner.possession(csr, application.challenge, wanted.key_algorithm)
        subject: dict[str, str] = {}
        if wanted.person is not None:
            subject |= {"full_name": wanted.person.full_name, "personal_number": wanted.person.number}
        if wanted.organisation is not None and wanted.tax_code is not None:
            subject |= {"organisation_name": wanted.organisation, "tax_code": wanted.tax_code}
        document = {
            "csr": csr.decode("ascii"),
            "profile": wanted.profile.value,
            "subject": subject,
            "validity_days": self._days,
        }
        answer = await self._call("POST", "/ca/certificates", document, {"Idempotency-Key": str(application.id)})
        found = _read(_Certified, answer, "the CA")
        return self._examiner.issued(
            found.certificate, found.chain, csr, wanted, days=self._days, now=self._clock.now()
        )

    async def suspend(self, serial: str, reason: str) -> None:
        """Put it on hold."""
        await self._change(serial, "suspend", {"reason": "certificateHold"})

    async def release(self, serial: str) -> None:
        """Take the hold off."""
        await self._change(serial, "release", {})

    async def revoke(self, serial: str, reason: str) -> None:
        """End it for good."""
        await self._change(serial, "revoke", {"reason": _REASONS.get(reason, "unspecified")})

    async def _change(self, serial: str, act: str, document: dict[str, str]) -> None:
        # Only "revoked for good" is a decision here: whatever else keeps a hold or an end from the CA must be mended.
        await self._call("POST", f"/ca/certificates/{quote(serial, safe='')}/{act}", document, {}, decisions=(409,))

    async def _call(
        self,
        method: str,
        path: str,
        document: Any,
        headers: dict[str, str],
        *,
        decisions: tuple[int, ...] = (400, 409, 422),
    ) -> Answer:
        answer = await self._outbound.call(
            method,
            self._base + path,
            document=document,
            headers={"Authorization": f"Bearer {self._token}", **headers},
            limit=256 * 1024,
            timeout=self._timeout,
        )
        return _settled(answer, "the CA", decisions)


class HttpRegistry:
    """`Registry` over HTTP."""

    def __init__(self, outbound: Outbound, base: str, *, timeout: float) -> None:
        self._outbound = outbound
        self._base = base.rstrip("/")
        self._timeout = timeout

    async def look_up(self, tax_code: str) -> RegistryEntry:
        """What is entered.

        Raises:
            Refused: no such enterprise.
            Unavailable: the registry does not answer, or answers nonsense.
        """
        url = f"{self._base}/enterprises/{quote(tax_code, safe='')}"
        answer = _settled(
            await self._outbound.call("GET", url, limit=64 * 1024, timeout=self._timeout),
            "the enterprise registry",
            (404, 410),
        )
        return _read(RegistryEntry, answer, "the enterprise registry")


class HttpAuthority:
    """`EventSource` at the e-identity authority."""

    def __init__(self, outbound: Outbound, base: str, *, timeout: float) -> None:
        self._outbound = outbound
        self._base = base.rstrip("/")
        self._timeout = timeout

    async def events(self, identity: IdentityId, after: int) -> Sequence[bytes]:
        """The signed events of an identity with a sequence above `after`, each as JSON, in order.

        Raises:
            Unavailable: the authority does not answer, or answers nonsense.
        """
        url = f"{self._base}/subjects/{identity}/events?after={after}"
        answer = _settled(
            await self._outbound.call("GET", url, limit=4 << 20, timeout=self._timeout), "the authority", ()
        )
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise _nonsense("the authority", "list of events")
        return [json.dumps(event, ensure_ascii=False).encode() for event in found]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    csr: str


class HttpKeyStore:
    """The key store, at the signer's API: keys are made or linked there and never leave it."""

    def __init__(self, outbound: Outbound, base: str, token: str) -> None:
        self._outbound = outbound
        self._base = base.rstrip("/")
        self._token = token

    async def make(self, credential: CredentialId, algorithm: KeyAlgorithm, challenge: str) -> bytes:
        """A PKCS#10 request, PEM; the same credential has the same key.

        Raises:
            Refused: the key store says no.
            Unavailable: it does not answer.
        """
        answer = await self._outbound.call(
            "POST",
            f"{self._base}/v1/credentials",
            document={"credential": str(credential), "key_algorithm": algorithm.value, "challenge": challenge},
            headers={"Authorization": f"Bearer {self._token}", "Idempotency-Key": str(credential)},
            limit=64 * 1024,
            timeout=30,
        )
        return _read(_Request, _settled(answer, "the key store", (400, 409, 422)), "the key store").csr.encode()

    async def link(self, credential: CredentialId, remote: str, certificate: str, algorithm: KeyAlgorithm) -> None:
        """Put a provider's key behind the credential; the same once more changes nothing. `certificate` is PEM.

        Raises:
            Refused: the key store says no, as it does for a key that stands behind another credential.
            Unavailable: it does not answer.
        """
        answer = await self._outbound.call(
            "PUT",
            f"{self._base}/v1/credentials/{credential}/remote",
            document={"remote": remote, "certificate": certificate, "key_algorithm": algorithm.value},
            headers={"Authorization": f"Bearer {self._token}"},
            limit=64 * 1024,
            timeout=30,
        )
        _settled(answer, "the key store", (400, 409, 422))


def _settled(answer: Answer, who: str, decisions: tuple[int, ...]) -> Answer:
    """2xx goes on; these statuses with problem details (RFC 9457) are decisions; everything else is a wait.

    A page of a proxy or a wrong address must not end an application, nor keep a revocation from the CA.
    """
    if 200 <= answer.status < 300:
        return answer
    kind = answer.headers.get("content-type", "")
    if answer.status in decisions and kind.partition(";")[0].strip().lower() == "application/problem+json":
        raise Refused(
            _code(answer),
            found=f"a refusal by {who} (status {answer.status})",
            expected="an acceptance",
            remedy="correct what it names and apply anew",
        )
    raise Unavailable(
        "outside-unavailable",
        found=f"status {answer.status} from {who}",
        expected="2xx, or a refusal with problem details",
        remedy="it is tried again; check the address and our token there",
    )


def _code(answer: Answer) -> str:
    """The last part of the problem's type, if it is a plain code."""
    try:
        name = str(answer.json().get("type", "")).rpartition(":")[2].rpartition("/")[2]
    except (ValueError, AttributeError):
        return "refused-outside"
    plain = name.replace("-", "").isalnum() and name.isascii() and name.islower() and len(name) <= 50
    return f"outside-{name}" if plain else "refused-outside"


def _read(kind: type[T], answer: Answer, who: str) -> T:
    try:
        return kind.model_validate(answer.json())
    except (ValueError, ValidationError) as fault:
        raise _nonsense(who, kind.__name__.strip("_").lower()) from fault


def _nonsense(who: str, what: str) -> Unavailable:
    return Unavailable(
        "outside-nonsense",
        found=f"an answer of {who} that does not fit",
        expected=f"a {what} as agreed",
        remedy="it is tried again; check the address",
    )
