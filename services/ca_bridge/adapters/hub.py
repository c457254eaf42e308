"""Certificates that providers behind the national hub keep for a citizen, key and all: found, examined, linked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from events.errors import Refused
from services.ca_bridge.adapters.examiner import Examiner
from services.ca_bridge.adapters.outside import HttpKeyStore
from services.ca_bridge.model import Application
from services.ca_bridge.ports import Issued, Wanted
from services.runtime.clock import Clock
from services.runtime.hub import Hub, members, nonsense


class _Held(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    credential: str = Field(alias="credentialID", min_length=1, max_length=200)
    certificate: str = Field(max_length=16_000)
    chain: tuple[str, ...] = Field(max_length=8)


class _List(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    certificates: tuple[_Held, ...] = Field(max_length=50)


class HubCertificates:
    """`CertificateAuthority` of citizens who have a key and a certificate at the hub already.

    The hub learns the citizen's number, which it knows; the signer learns the hub's id of the key, and no number.
    """

    def __init__(self, hub: Hub, examiner: Examiner, clock: Clock, keys: HttpKeyStore) -> None:
        self._hub = hub
        self._examiner = examiner
        self._clock = clock
        self._keys = keys

    async def certify(self, application: Application, wanted: Wanted) -> Issued:
        """The citizen's certificate that lives longest, by the rules, and was not bound before.

        Raises:
            Refused: there is none, or it is asked for an organisation, which the hub does not know.
            Unavailable: the hub or the key store does not answer, or answers nonsense.
        """
        if wanted.person is None:
            raise _refused("hub-citizens-only", "an application of an organisation", "one of a citizen")
        reply = await self._hub.post("/api/v1/certificates/list", {"citizenPid": wanted.person.number})
        if reply.status != 200:
            raise nonsense(f"HTTP status {reply.status}")
        try:
            listed = _List.model_validate(members(reply.body)).certificates
        except ValidationError as fault:
            raise nonsense("a list of certificates that does not fit") from fault
        fit: list[tuple[Issued, _Held]] = []
        why: set[str] = set()
        for one in listed:
            try:
                fit.append((self._examiner.held(one.certificate, one.chain, wanted, now=self._clock.now()), one))
            except Refused as fault:
                why.add(fault.code)
        for issued, one in sorted(fit, key=lambda pair: pair[0].not_after, reverse=True):
            try:
                await self._keys.link(application.credential, one.credential, one.certificate, wanted.key_algorithm)
            except Refused as fault:
                why.add(fault.code)
            else:
                return issued
        raise _refused(
            "hub-no-certificate",
            f"{len(listed)} certificates at the hub, none that can be bound"
            + (f" ({', '.join(sorted(why))})" if why else ""),
            f"one in life, of the verified person, with a key for {wanted.key_algorithm.value}, not bound before",
        )

    async def suspend(self, serial: str, reason: str) -> None:
        """Nothing: the partner interface cannot suspend. The certificate is refused here, and stands at its CA."""

    async def release(self, serial: str) -> None:
        """Nothing, as `suspend`."""

    async def revoke(self, serial: str, reason: str) -> None:
        """Nothing, as `suspend`: its holder has it revoked at the provider."""


def _refused(code: str, found: str, expected: str) -> Refused:
    return Refused(
        code,
        found=found,
        expected=expected,
        remedy="have a provider behind the hub issue a certificate, then apply anew",
        status=409,
    )
