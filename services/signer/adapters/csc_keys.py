"""A remote signing service that speaks the CSC API, version 1 or 2, as a provider of keys."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from events.errors import Refused, Unavailable
from services.runtime import certificates
from services.runtime.clock import Clock
from services.runtime.json_reading import object_of
from services.runtime.outbound import Answer as Reply
from services.runtime.outbound import Outbound
from services.signer.adapters import requests
from services.signer.adapters.remote_keys import LIFE, Answer, NotAsked, Operation, RemoteKey, State, kind_of
from services.signer.model import SigningAlgorithm

_SHA256 = "2.16.840.1.101.3.4.2.1"
_SIGN = {
    SigningAlgorithm.RSA_3072_PSS: "1.2.840.113549.1.1.10",
    SigningAlgorithm.RSA_3072_PKCS1: "1.2.840.113549.1.1.11",
    SigningAlgorithm.P256: "1.2.840.10045.4.3.2",
    SigningAlgorithm.P384: "1.2.840.10045.4.3.2",
}
"""signAlgo of each algorithm (CSC API v2.0 clause 11.10): all sign SHA-256 digests."""

_AUTHORIZING, _SIGNING = "authorize:", "sign:"
_PAGES = 50
LONGEST_TOKEN = 86_400
"""Seconds after which a new access token is fetched, whatever the provider says of the old one's life."""


@dataclass(frozen=True)
class Access:
    """How we are known to the provider. `url` ends in `/csc/v1` or `/csc/v2`; `user` is the userID whose credentials
    are listed; `pin` activates them; `callback` is where the provider may tell that an operation ended.
    """

    url: str
    client: str
    secret: SecretStr
    user: str | None = None
    pin: SecretStr | None = None
    callback: str | None = None


@dataclass(frozen=True)
class _Info:
    """What `info` told: which names this version of the API has, where tokens are, whether it answers later."""

    first: bool
    oauth: str
    methods: frozenset[str]
    later: bool


class CscProvider:
    """`Provider` by the CSC API: client credentials, hashes bound into the authorization (SCAL2), synchronous or not.

    The names of version 1 (`hash`, `hashAlgo`, `PIN`) are used where `info` says that the service has that version.
    """

    same_again = False
    """The API has no request id: a request without an answer may have been taken."""

    def __init__(self, outbound: Outbound, access: Access, clock: Clock, *, timeout: float = 10.0) -> None:
        self._outbound = outbound
        self._access = access
        self._clock = clock
        self._timeout = timeout
        self._known: _Info | None = None
        self._token: tuple[str, datetime] | None = None

    async def offer(self, algorithm: SigningAlgorithm, taken: Collection[str]) -> tuple[str, bytes]:
        """The first enabled credential of this kind that is not taken: its credentialID, its SubjectPublicKeyInfo.

        Raises:
            Refused: there is none.
            Unavailable: no answer.
        """
        asked: dict[str, Any] = {"onlyValid": True} if not (await self._info()).first else {}
        if self._access.user is not None:
            asked["userID"] = self._access.user
        for _ in range(_PAGES):
            page = await self._call("credentials/list", asked)
            for remote in _texts(page, "credentialIDs"):
                if remote not in taken:
                    public = _public_of(await self._describe(remote), algorithm)
                    if public is not None:
                        return remote, public
            following = page.get("nextPageToken")
            if not isinstance(following, str) or not following:
                break
            asked["pageToken"] = following
        raise Refused(
            "remote-key-none-free",
            found=f"no free credential for {algorithm.value} at the provider",
            expected="an enabled one, with a certificate, that stands behind no credential of ours",
            remedy="have the provider make one",
            status=409,
        )

    async def _describe(self, remote: str) -> dict[str, Any]:
        asked = {"credentialID": remote, "certificates": "single", "certInfo": False, "authInfo": True}
        return await self._call("credentials/info", asked)

    async def start(self, key: RemoteKey, operation: Operation) -> Answer:
        """Authorize the digest, then ask for its signature (CSC API v2.0 clauses 11.6, 11.10).

        Raises:
            NotAsked: certainly not taken.
            Unavailable: perhaps taken, perhaps not.
        """
        try:
            sad = await self._authorize(key, operation)
        except Unavailable as fault:  # an authorization alone signs nothing
            raise NotAsked(
                fault.code, found=fault.found, expected=fault.expected, remedy=fault.remedy, retry_after=5.0
            ) from fault
        if isinstance(sad, Answer):
            return sad
        return await self._sign_hash(key, operation, sad)

    async def look(self, key: RemoteKey, operation: Operation) -> Answer:
        """How the authorization or the signature stands.

        Raises:
            Unavailable: no answer.
        """
        handle = operation.handle or ""
        if handle.startswith(_AUTHORIZING):
            reply = await self._post("credentials/authorizeCheck", {"handle": handle.removeprefix(_AUTHORIZING)})
            found = _json(reply) if reply.status in (200, 202) else {}
            if reply.status == 200 and isinstance(found.get("SAD"), str):
                return await self._sign_hash(key, operation, found["SAD"])
            return Answer(State.WAITING) if reply.status in (200, 202) else _fault(reply)
        reply = await self._post("signatures/signPolling", {"responseID": handle.removeprefix(_SIGNING)})
        if reply.status == 202:
            return Answer(State.WAITING)
        return self._signed(reply, operation)

    async def _authorize(self, key: RemoteKey, operation: Operation) -> str | Answer:
        info = await self._info()
        hashed = base64.b64encode(operation.digest.raw).decode()
        asked: dict[str, Any] = {"credentialID": key.remote, "numSignatures": 1, "clientData": operation.id}
        if info.first:
            asked["hash"] = [hashed]
            if self._access.pin is not None:
                asked["PIN"] = self._access.pin.get_secret_value()
        else:
            asked |= {"hashes": [hashed], "hashAlgorithmOID": _SHA256}
            if self._access.pin is not None:
                asked["authData"] = [{"id": "PIN", "value": self._access.pin.get_secret_value()}]
        reply = await self._post("credentials/authorize", asked)
        found = _json(reply) if reply.status in (200, 202) else {}
        if isinstance(found.get("SAD"), str):
            return str(found["SAD"])
        if isinstance(found.get("handle"), str):
            return Answer(State.WAITING, _AUTHORIZING + found["handle"][:400], expires_at=self._ends(found))
        return _fault(reply)

    async def _sign_hash(self, key: RemoteKey, operation: Operation, sad: str) -> Answer:
        info = await self._info()
        hashed = base64.b64encode(operation.digest.raw).decode()
        asked: dict[str, Any] = {
            "credentialID": key.remote,
            "SAD": sad,
            "signAlgo": _SIGN[key.algorithm],
            "clientData": operation.id,
        }
        asked |= (
            {"hash": [hashed], "hashAlgo": _SHA256}
            if info.first
            else {
                "hashes": [hashed],
                "hashAlgorithmOID": _SHA256,
            }
        )
        if key.algorithm.is_pss:
            asked["signAlgoParams"] = base64.b64encode(requests.pss_parameters(operation.salt)).decode()
        if info.later:
            asked |= {"operationMode": "A", "validity_period": int(2 * LIFE.total_seconds() * 1000)}
            if self._access.callback is not None:
                asked["response_uri"] = f"{self._access.callback.rstrip('/')}/v1/remote/csc/{operation.id}"
        return self._signed(await self._post("signatures/signHash", asked), operation)

    def _signed(self, reply: Reply, operation: Operation) -> Answer:
        if reply.status not in (200, 202):
            return _fault(reply)
        found = _json(reply)
        signatures = _texts(found, "signatures")
        if len(signatures) == 1:
            try:
                return Answer(State.DONE, signature=base64.b64decode(signatures[0], validate=True))
            except ValueError as fault:
                raise _nonsense("a signature that is not base64") from fault
        response = found.get("responseID")
        if isinstance(response, str) and response:
            return Answer(State.WAITING, _SIGNING + response[:400], expires_at=self._clock.now() + LIFE)
        if operation.handle is not None and not signatures:
            return Answer(State.WAITING)
        raise _nonsense("neither one signature nor a responseID")

    def _ends(self, found: Mapping[str, Any]) -> datetime:
        seconds = found.get("expiresIn")
        life = timedelta(seconds=seconds) if isinstance(seconds, int) and 0 < seconds <= 3600 else LIFE
        return self._clock.now() + min(life, LIFE)

    # --- the service

    async def _info(self) -> _Info:
        if self._known is None:
            reply = await self._send("info", {}, None)
            found = _json(reply) if reply.status == 200 else {}
            specs = found.get("specs")
            if not isinstance(specs, str) or specs.partition(".")[0] not in ("0", "1", "2"):
                raise _nonsense("no `info` of a version 1 or 2")
            base = self._access.url.rstrip("/")
            oauth = found.get("oauth2")
            if base.startswith("https:") and isinstance(oauth, str) and oauth and not oauth.startswith("https:"):
                raise _nonsense("an address for tokens that is not https, where our secret would go in clear,")
            methods = frozenset(_texts(found, "methods"))
            self._known = _Info(
                first=specs.partition(".")[0] != "2",
                oauth=oauth.rstrip("/") if isinstance(oauth, str) and oauth else base,
                methods=methods,
                later=bool(found.get("asynchronousOperationMode")) and "signatures/signPolling" in methods,
            )
        return self._known

    async def _bearer(self, *, fresh: bool = False) -> str:
        now = self._clock.now()
        if not fresh and self._token is not None and now < self._token[1]:
            return self._token[0]
        pair = f"{self._access.client}:{self._access.secret.get_secret_value()}".encode()
        reply = await self._outbound.call(
            "POST",
            f"{(await self._info()).oauth}/oauth2/token",
            body=urlencode({"grant_type": "client_credentials", "scope": "service"}).encode(),
            headers={
                "Authorization": "Basic " + base64.b64encode(pair).decode(),
                "Content-Type": "application/x-www-form-urlencoded",
            },
            limit=16_000,
            timeout=self._timeout,
        )
        found = _json(reply) if reply.status == 200 else {}
        token, life = found.get("access_token"), found.get("expires_in", 3600)
        if not isinstance(token, str) or not isinstance(life, int):
            raise Unavailable(
                "remote-provider-login",
                found=f"no access token from the provider (HTTP status {reply.status})",
                expected="one for our client id and secret",
                remedy="see ANTIN_SIGNER__PROVIDER_CLIENT and ANTIN_SIGNER__PROVIDER_SECRET_FILE",
                retry_after=30.0,
            )
        self._token = (token, now + timedelta(seconds=max(min(life, LONGEST_TOKEN) - 30, 1)))
        return token

    async def _call(self, method: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        reply = await self._post(method, asked)
        if reply.status != 200:
            raise _nonsense(f"HTTP status {reply.status} of {method}")
        return _json(reply)

    async def _post(self, method: str, asked: Mapping[str, Any]) -> Reply:
        reply = await self._send(method, asked, await self._bearer())
        if reply.status == 401:
            reply = await self._send(method, asked, await self._bearer(fresh=True))
        return reply

    async def _send(self, method: str, asked: Mapping[str, Any], bearer: str | None) -> Reply:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        url = f"{self._access.url.rstrip('/')}/{method}"
        return await self._outbound.call(
            "POST", url, document=dict(asked), headers=headers, limit=256_000, timeout=self._timeout
        )


def _public_of(found: Mapping[str, Any], algorithm: SigningAlgorithm) -> bytes | None:
    """The public key of a described credential, if it is enabled and of this kind."""
    key, certificate = found.get("key"), found.get("cert")
    if not isinstance(key, dict) or not isinstance(certificate, dict) or key.get("status", "enabled") != "enabled":
        return None
    if certificate.get("status", "valid") != "valid" or _SIGN[algorithm] not in _texts(key, "algo"):
        return None
    chain = _texts(certificate, "certificates")
    try:
        leaf = certificates.from_der(base64.b64decode(chain[0], validate=True))
        public = certificates.key_of(leaf).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, IndexError):
        return None
    return public if kind_of(public, pss=algorithm.is_pss) is algorithm else None


def _fault(reply: Reply) -> Answer:
    """An error answer (CSC API v2.0 clause 10.1): the holder's no, a time that is over, or a fault.

    Raises:
        NotAsked: the service says that it cannot now.
    """
    try:
        found = _json(reply)
    except Unavailable:
        found = {}
    said = f"{found.get('error', '')} {found.get('error_description', '')}".lower()
    if "not yet been completed" in said or "authorization_pending" in said:
        return Answer(State.WAITING)
    if "access_denied" in said or "denied" in said or "rejected" in said:
        return Answer(State.REFUSED)
    if "expired" in said or "timeout" in said or "timed out" in said:
        return Answer(State.EXPIRED)
    if reply.status in (400, 403, 404, 409, 422):
        return Answer(State.FAILED)
    raise NotAsked(
        "remote-provider",
        found=f"HTTP status {reply.status} from the key's provider",
        expected="an answer by the CSC API",
        remedy="nothing was signed; it is tried again",
        retry_after=5.0,
    )


def _json(reply: Reply) -> dict[str, Any]:
    try:
        return object_of(reply.body)
    except ValueError as fault:
        raise _nonsense(f"an answer that is {fault}") from fault


def _texts(found: Mapping[str, Any], name: str) -> list[str]:
    values = found.get(name)
    return [one for one in values if isinstance(one, str)] if isinstance(values, list) else []


def _nonsense(found: str) -> Unavailable:
    return Unavailable(
        "remote-provider",
        found=f"{found} from the key's provider",
        expected="an answer by the CSC API",
        remedy="nothing was signed; it is tried again",
        retry_after=5.0,
    )
