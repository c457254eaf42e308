"""The CA, the enterprise registry and the key store, over HTTP."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from events.errors import Refused, Unavailable
from events.values import ApplicationId, CredentialId, KeyAlgorithm
from services.ca_bridge.adapters.examiner import Examiner
from services.ca_bridge.model import RegistryEntry
from services.ca_bridge.ports import Issued, Wanted
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
        self, outbound: Outbound, base: str, token: str, examiner: Examiner, *, days: int, timeout: float
    ) -> None:
        self._outbound = outbound
        self._base = base.rstrip("/")
        self._token = token
        self._examiner = examiner
        self._days = days
        self._timeout = timeout

    async def issue(self, request: ApplicationId, csr: bytes, challenge: str, wanted: Wanted) -> Issued:
        """Prove possession, have a certificate issued, and examine it.

        Raises:
            Refused: the request or the CA's answer is not acceptable.
            Unavailable: the CA does not answer, or answers nonsense.
        """
        self._examiner.possession(csr, challenge)
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
        answer = await self._call("POST", "/ca/certificates", document, {"Idempotency-Key": str(request)})
        found = _read(_Certified, answer, "the CA")
        return self._examiner.issued(found.certificate, found.chain, csr, wanted, days=self._days)

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
        await self._call("POST", f"/ca/certificates/{quote(serial, safe='')}/{act}", document, {})

    async def _call(self, method: str, path: str, document: Any, headers: dict[str, str]) -> Answer:
        answer = await self._outbound.call(
            method,
            self._base + path,
            document=document,
            headers={"Authorization": f"Bearer {self._token}", **headers},
            limit=256 * 1024,
            timeout=self._timeout,
        )
        return _settled(answer, "the CA")


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
            await self._outbound.call("GET", url, limit=64 * 1024, timeout=self._timeout), "the enterprise registry"
        )
        return _read(RegistryEntry, answer, "the enterprise registry")


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    csr: str


class HttpKeyMaker:
    """`KeyMaker` at the signer's API."""

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
        return _read(_Request, _settled(answer, "the key store"), "the key store").csr.encode()


def _settled(answer: Answer, who: str) -> Answer:
    """2xx goes on; 5xx, 429 and 401 are waits (an operator can mend them); other 4xx are decisions."""
    if 200 <= answer.status < 300:
        return answer
    if 400 <= answer.status < 500 and answer.status not in (401, 403, 408, 425, 429):
        raise Refused(
            _code(answer),
            found=f"a refusal by {who} (status {answer.status})",
            expected="an acceptance",
            remedy="correct what it names and apply anew",
        )
    raise Unavailable(
        "outside-unavailable",
        found=f"status {answer.status} from {who}",
        expected="2xx",
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
        raise Unavailable(
            "outside-nonsense",
            found=f"an answer of {who} that does not fit",
            expected=f"a {kind.__name__.strip('_').lower()} as agreed",
            remedy="it is tried again; check the address",
        ) from fault
