"""The CSC API server as its clients see it: pyHanko's own client signs through it, and nothing passes unapproved."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.csc_signer import (
    CSCAuthorizationInfo,
    CSCAuthorizationManager,
    CSCServiceSessionInfo,
    CSCSigner,
    fetch_certs_in_csc_credential,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from judges import poppler_calls_valid
from signer_house import BUYER, FIRM, House, house
from signer_world import NOW

from domain.activation import hashes_txn
from domain.merkle import Tree
from events.binding import CertificateBound, CertificateSuspended
from events.values import CertificateProfile, Code, Digest, KeyAlgorithm
from services.runtime import lease
from services.signer.adapters.csc_store import SqlBook
from services.signer.adapters.pades_writer import BoundedWriter
from services.signer.csc import answers, authorization, signing
from services.signer.csc.guesses import OF_ADDRESS, OF_CLIENT
from services.signer.csc.model import SHA256, Client
from services.verifier.engine import examine

SECRET = "a secret of the client's"
CLIENT = Client(
    id="portal",
    name="Cổng hợp đồng",
    secret_sha256=hashlib.sha256(SECRET.encode()).hexdigest(),
    redirect_uris=("https://portal.example/back",),
)
LEASE_HERE = 3.0
"""Seconds of a lease in a test that outlasts it."""
APP = Client(id="app", name="Ứng dụng", redirect_uris=("https://app.example/cb",))


@dataclass
class Caller:
    """A client of the API with its token."""

    at: House
    session: aiohttp.ClientSession
    token: str = ""

    async def post(self, path: str, body: Any, *, version: str = "v2", status: int = 200, token: str | None = None):
        headers = {"Authorization": f"Bearer {token or self.token}"} if token or self.token else {}
        async with self.session.post(f"{self.at.url}/csc/{version}/{path}", json=body, headers=headers) as answer:
            found = await answer.json()
            assert answer.status == status, found
            return found

    async def form(self, path: str, fields: dict[str, str], status: int = 200):
        async with self.session.post(f"{self.at.url}/csc/v2/{path}", data=fields, allow_redirects=False) as answer:
            assert answer.status == status, await answer.text()
            await answer.read()
            return await answer.json() if answer.content_type == "application/json" else answer

    async def login(self) -> None:
        found = await self.form(
            "oauth2/token",
            {"grant_type": "client_credentials", "client_id": CLIENT.id, "client_secret": SECRET},
        )
        self.token = found["access_token"]
        assert found["token_type"] == "Bearer"

    def activation(self, bound: CertificateBound, digests: list[Digest], **claims: Any) -> str:
        """What the holder's phone gives after showing these digests."""
        said = {
            "purpose": "sign-hashes",
            "txn": hashes_txn(bound.credential, len(digests)),
        } | claims
        root = Tree([digest.raw for digest in digests]).root
        return self.at.world.activation(bound.representative or bound.identity, root, None, None, said)

    async def sad(self, bound: CertificateBound, digests: list[Digest], *, status: int = 200, **claims: Any):
        documents = claims.get("purpose") == "sign-documents"
        return await self.post(
            "credentials/authorize",
            {
                "credentialID": bound.credential,
                "numSignatures": len(digests),
                "hashes": [_b64(digest) for digest in digests],
                "hashAlgorithmOID": SHA256,
                "authData": [{"id": "activation", "value": self.activation(bound, digests, **claims)}],
                "documents": documents,
            },
            status=status,
        )


def _b64(digest: Digest) -> str:
    return base64.b64encode(digest.raw).decode()


def sign_hash(bound: CertificateBound, sad: str, digests: list[Digest], **more: Any) -> dict[str, Any]:
    return {
        "credentialID": bound.credential,
        "SAD": sad,
        "hashes": [_b64(digest) for digest in digests],
        "hashAlgorithmOID": SHA256,
        "signAlgo": "1.2.840.10045.4.3.2",
    } | more


@asynccontextmanager
async def calling(world, tmp_path, *, login: bool = True, **settings: Any):
    async with house(world, tmp_path, csc_clients=(CLIENT, APP), **settings) as at, aiohttp.ClientSession() as session:
        caller = Caller(at, session)
        if login:
            await caller.login()
        yield caller


async def known(caller: Caller, bound: CertificateBound) -> None:
    """Wait until the signer has heard the binding."""
    async with asyncio.timeout(60):
        while True:
            found = await caller.post("credentials/list", {"userID": bound.identity})
            if str(bound.credential) in found["credentialIDs"]:
                return
            await asyncio.sleep(0.02)


# --- what it is ------------------------------------------------------------------------------------------------------


async def test_info_names_every_method_it_has_and_no_other(world, tmp_path):
    """CSC API v2.0 clause 11.1: a partial server is conformant when `methods` says what is there."""
    async with calling(world, tmp_path, login=False) as caller:
        found = await caller.post("info", {})
        assert found["specs"].startswith("2.0")
        async with caller.session.get(f"{caller.at.url}/openapi.json") as answer:
            paths = (await answer.json())["paths"]
        served = {path.removeprefix("/csc/v2/") for path in paths if path.startswith("/csc/v2/")}
        assert served == set(found["methods"])


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_what_the_oauth_server_says_of_itself_stands_where_its_issuer_is(world, tmp_path, version):
    """RFC 8414 clauses 2, 3.1 and 3.3: `issuer` is what the address was made of; RFC 9207 clause 3 announces `iss`."""
    async with calling(world, tmp_path, login=False) as caller:
        https = {"X-Forwarded-Proto": "https"}
        for headers in ({}, https):
            async with caller.session.post(f"{caller.at.url}/csc/{version}/info", json={}, headers=headers) as answer:
                info = await answer.json()
            assert "oauth2Issuer" not in info  # clients refuse both at once
            issuer = urlsplit(info["oauth2"])
            place = f"{caller.at.url}/.well-known/oauth-authorization-server{issuer.path}"
            async with caller.session.get(place, headers=headers) as answer:
                assert (answer.status, answer.content_type) == (200, "application/json")
                found = await answer.json()
            assert found["issuer"] == info["oauth2"]
            assert issuer.scheme == ("https" if headers else "http")
            assert found["token_endpoint"] == info["oauth2"] + "/oauth2/token"
            assert found["authorization_endpoint"] == info["oauth2"] + "/oauth2/authorize"
            assert found["authorization_response_iss_parameter_supported"] is True
            assert found["code_challenge_methods_supported"] == ["S256"]


async def test_without_a_living_token_nothing_is_told(world, tmp_path):
    async with calling(world, tmp_path, login=False) as caller:
        for path in ("credentials/list", "signatures/timestamp", "credentials/info"):
            body = {"credentialID": "x", "hash": "x", "hashAlgo": SHA256}
            found = await caller.post(path, body, status=401)
            assert found["error"] == "invalid_token"
        wrong = {"grant_type": "client_credentials", "client_id": CLIENT.id, "client_secret": "guess"}
        assert (await caller.form("oauth2/token", wrong, 401))["error"] == "invalid_client"
        public = {"grant_type": "client_credentials", "client_id": APP.id, "client_secret": ""}
        assert (await caller.form("oauth2/token", public, 401))["error"] == "invalid_client"


@pytest.mark.parametrize("spelled", [SECRET, quote_plus(SECRET)])
async def test_a_secret_comes_in_the_header_form_encoded_or_as_it_is(world, tmp_path, spelled):
    """RFC 6749 clause 2.3.1."""
    async with calling(world, tmp_path, login=False) as caller:
        url, form = f"{caller.at.url}/csc/v2/oauth2/token", {"grant_type": "client_credentials"}
        for secret, status in ((spelled, 200), (quote_plus(spelled + "%"), 401)):
            basic = base64.b64encode(f"{CLIENT.id}:{secret}".encode()).decode()
            async with caller.session.post(url, data=form, headers={"Authorization": f"Basic {basic}"}) as answer:
                assert answer.status == status, await answer.text()


async def told(caller: Caller, fields: dict[str, str], address: str) -> tuple[int, Any, str | None]:
    """What `oauth2/token` says to somebody behind our proxy: status, body, Retry-After."""
    url, headers = f"{caller.at.url}/csc/v2/oauth2/token", {"X-Forwarded-For": address}
    async with caller.session.post(url, data=fields, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


@pytest.mark.parametrize("name", [CLIENT.id, APP.id, "nobody"])
async def test_guesses_at_a_secret_are_bounded_whoever_is_guessed_at(world, tmp_path, capsys, name):
    """RFC 6749 clause 2.3.1: the endpoint MUST be protected against brute force attacks."""
    async with calling(world, tmp_path, login=False, trusted_proxies=("127.0.0.0/8",)) as caller:
        guess = {"grant_type": "client_credentials", "client_id": name, "client_secret": "Tr0ub4dor"}
        for _ in range(OF_ADDRESS):
            status, body, _ = await told(caller, guess, "192.0.2.1")
            assert (status, body["error"]) == (401, "invalid_client")
        status, body, wait = await told(caller, guess, "192.0.2.1")
        assert (status, body["error"]) == (429, "temporarily_unavailable")
        assert body["error_description"] == (
            "Found too many wrong client secrets, codes or code verifiers; expected at most 10 of one address and 100 "
            "at one client in 0:10:00; wait as long as Retry-After says."
        )
        assert 0 < int(wait or 0) <= 600
        right = {"grant_type": "client_credentials", "client_id": CLIENT.id, "client_secret": SECRET}
        assert (await told(caller, right, "192.0.2.1"))[0] == 429
        assert (await told(caller, right, "192.0.2.2"))[0] == 200
        # Behind our proxy nobody passes for another by writing the header himself.
        assert (await told(caller, guess, "203.0.113.9, 192.0.2.1"))[0] == 429
    out = "".join(capsys.readouterr())
    assert "csc-wrong-secret" in out
    assert "Tr0ub4dor" not in out
    assert SECRET not in out


@pytest.mark.parametrize("name", [CLIENT.id, APP.id])
async def test_guesses_at_codes_are_bounded(world, tmp_path, name):
    async with calling(world, tmp_path, login=False, trusted_proxies=("127.0.0.0/8",)) as caller:
        guess = {"grant_type": "authorization_code", "client_id": name, "code": "x", "code_verifier": "y" * 43}
        if name == CLIENT.id:
            guess["client_secret"] = SECRET
        bound = OF_CLIENT if name == CLIENT.id else OF_ADDRESS
        for _ in range(bound):
            status, body, _ = await told(caller, guess, "192.0.2.1")
            assert (status, body["error"]) == (400, "invalid_grant")
        status, _, wait = await told(caller, guess, "192.0.2.1")
        assert status == 429
        assert 0 < int(wait or 0) <= 600
        # A portal whose users send wrong codes still logs in.
        right = {"grant_type": "client_credentials", "client_id": CLIENT.id, "client_secret": SECRET}
        assert (await told(caller, right, "192.0.2.1"))[0] == (200 if name == CLIENT.id else 429)


async def test_without_a_proxy_of_ours_nobody_says_where_he_calls_from(world, tmp_path):
    async with calling(world, tmp_path, login=False) as caller:
        guess = {"grant_type": "client_credentials", "client_id": CLIENT.id, "client_secret": "guess"}
        answers = [(await told(caller, guess, f"192.0.2.{number}"))[0] for number in range(OF_ADDRESS + 1)]
        assert answers == [401] * OF_ADDRESS + [429]


async def test_a_stranger_keeps_nobody_from_writing(world, tmp_path):
    """On SQLite there is one writer: who has no token must not take turns with those who sign."""
    async with calling(world, tmp_path) as caller, caller.at.platform.database.write(), asyncio.timeout(20):
        await caller.post("credentials/list", {"userID": BUYER}, token="guessed", status=401)
        assert (await caller.post("credentials/list", {"userID": BUYER}))["credentialIDs"] == []


@pytest.mark.parametrize("path", ["/csc/v2/credentials/list", "/v1/batches"])
async def test_a_token_of_any_octets_is_an_unknown_one(world, tmp_path, path):
    async with calling(world, tmp_path, login=False) as caller:
        at = urlsplit(caller.at.url)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n".encode())
        writer.write(b"Content-Type: application/json\r\nAuthorization: Bearer \xff\xfe\r\n\r\n{}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.close()
        await writer.wait_closed()


async def test_what_does_not_fit_is_told_in_the_apis_form(world, tmp_path):
    """CSC API v2.0 clause 10.1, also for what no operation has seen."""
    async with calling(world, tmp_path) as caller:
        found = await caller.post("signatures/signHash", {"credentialID": 1}, status=422)
        assert found["error"] == "invalid_request"
        assert "credentialID" in found["error_description"]
        found = await caller.post("signatures/signPolling", {"responseID": "\0"}, status=422)
        assert found["error"] == "invalid_request"
        page = {"userID": BUYER, "pageToken": "\0"}
        assert (await caller.post("credentials/list", page, status=400))["error"] == "invalid_request"


# --- pyHanko's client ------------------------------------------------------------------------------------------------


class Phone(CSCAuthorizationManager):
    """pyHanko asks for a SAD with the hashes it is about to sign; the holder approves just these on the phone."""

    caller: Caller
    bound: CertificateBound

    async def authorize_signature(self, hash_b64s: list[str]) -> CSCAuthorizationInfo:
        digests = [Digest.from_raw(base64.b64decode(text)) for text in hash_b64s]
        request = self.format_csc_auth_request(hash_b64s=hash_b64s, otp=self.caller.activation(self.bound, digests))
        found = await self.caller.post("credentials/authorize", request, version="v1")
        return self.parse_csc_auth_response(found)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
async def test_pyhankos_own_client_signs_through_it(world, tmp_path, algorithm):
    """RSASSA-PKCS1-v1_5, RSASSA-PSS with the client's own salt, ECDSA; names of CSC v1."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind(algorithm=algorithm)
        await known(caller, bound)
        session = CSCServiceSessionInfo(caller.at.url, str(bound.credential), caller.token)
        info = await fetch_certs_in_csc_credential(caller.session, session)
        assert info.hash_pinning_required
        phone = Phone(session, info)
        phone.caller, phone.bound = caller, bound
        signer = CSCSigner(caller.session, phone, prefer_pss=algorithm is KeyAlgorithm.RSA_3072_PSS)
        metadata = PdfSignatureMetadata(field_name="Ky", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES)
        out = BytesIO()
        await PdfSigner(metadata, signer).async_sign_pdf(IncrementalPdfFileWriter(BytesIO(pdfs.minimal())), output=out)
        report = examine(out.getvalue(), file="x.pdf", anchors=[world.root.der], now=caller.at.platform.clock.now())
        (one,) = report.signatures
        assert one.integrity.value == "intact"
        assert one.certificate is not None
        file = tmp_path / "signed.pdf"
        file.write_bytes(out.getvalue())
        assert poppler_calls_valid(file) == 1


# --- approvals -------------------------------------------------------------------------------------------------------


async def test_a_sad_signs_what_was_approved_once(world, tmp_path):
    """EN 419241-1, SCAL2: the SAD is bound to the hashes and the credential, and is for one use."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        approved, other = [Digest.of(b"one"), Digest.of(b"two")], Digest.of(b"three")
        sad = (await caller.sad(bound, approved))["SAD"]
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, [other]), status=403)
        assert found["error"] == "access_denied"
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, [*approved, approved[0]]), status=403)
        assert found["error"] == "access_denied"
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, approved[:1]))
        (signature,) = found["signatures"]
        chain = (await caller.post("credentials/info", {"credentialID": bound.credential}))["cert"]["certificates"]
        key = x509.load_der_x509_certificate(base64.b64decode(chain[0])).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(base64.b64decode(signature), approved[0].raw, ec.ECDSA(Prehashed(hashes.SHA256())))
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, approved[1:]), status=400)
        assert "was used" in found["error_description"]


async def test_the_rest_of_an_approval_needs_another_sad(world, tmp_path):
    """CSC API v2.0, credentials/extendTransaction."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        approved = [Digest.of(b"one"), Digest.of(b"two")]
        first = (await caller.sad(bound, approved))["SAD"]
        await caller.post("signatures/signHash", sign_hash(bound, first, approved[:1]))
        extend = {"credentialID": bound.credential, "SAD": first, "hashes": [_b64(approved[0])]}
        await caller.post("credentials/extendTransaction", extend, status=400)
        second = await caller.post("credentials/extendTransaction", extend | {"hashes": [_b64(approved[1])]})
        assert second["SAD"] != first
        await caller.post("signatures/signHash", sign_hash(bound, first, approved[1:]), status=400)
        await caller.post("signatures/signHash", sign_hash(bound, second["SAD"], approved[1:]))
        gone = {"credentialID": bound.credential, "SAD": second["SAD"]}
        found = await caller.post("credentials/extendTransaction", gone, status=400)
        assert "left to sign" in found["error_description"]


async def test_a_sad_whose_time_is_over_is_not_extended(world, tmp_path, monkeypatch):
    """CSC API v2.0, credentials/extendTransaction: `SAD` is the current unexpired one."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        with monkeypatch.context() as short:
            short.setattr(authorization, "SAD_LIFE", timedelta(0))
            sad = (await caller.sad(bound, [Digest.of(b"one")]))["SAD"]
        extend = {"credentialID": bound.credential, "SAD": sad}
        found = await caller.post("credentials/extendTransaction", extend, status=400)
        assert "whose time is over" in found["error_description"]


async def test_one_sad_moves_the_key_once_however_many_ask_at_once(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        approved = [Digest.of(b"one"), Digest.of(b"two")]
        body = sign_hash(bound, (await caller.sad(bound, approved))["SAD"], approved[:1])
        url, headers = f"{caller.at.url}/csc/v2/signatures/signHash", {"Authorization": f"Bearer {caller.token}"}

        async def ask() -> int:
            async with caller.session.post(url, json=body, headers=headers) as answer:
                return answer.status

        assert sorted(await asyncio.gather(*(ask() for _ in range(8)))) == [200] + [400] * 7


async def test_a_crash_while_a_key_of_ours_signs_uses_the_sad_and_not_the_rest_of_the_approval(
    world, tmp_path, monkeypatch
):
    """EN 419241-1, SCAL2, one use: nobody can tell whether the key moved, so it must not move again."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        approved = [Digest.of(b"one"), Digest.of(b"two")]
        sad = (await caller.sad(bound, approved))["SAD"]
        with monkeypatch.context() as dying:
            dying.setattr(signing, "LEASE", timedelta(0))
            dying.setattr(SqlBook, "settle", AsyncMock(side_effect=RuntimeError("the process died here")))
            await caller.post("signatures/signHash", sign_hash(bound, sad, approved[:1]), status=500)
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, approved[:1]), status=400)
        assert "was used" in found["error_description"]
        found = await caller.post("credentials/extendTransaction", {"credentialID": bound.credential, "SAD": sad})
        await caller.post("signatures/signHash", sign_hash(bound, found["SAD"], approved[:1]), status=403)
        await caller.post("signatures/signHash", sign_hash(bound, found["SAD"], approved[1:]))


async def test_a_crash_before_a_request_is_put_by_for_later_leaves_the_sad(world, tmp_path, monkeypatch):
    """operationMode A: the SAD is spent with the request that is remembered for it, or not at all."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        approved = [Digest.of(b"one")]
        sad = (await caller.sad(bound, approved))["SAD"]
        with monkeypatch.context() as dying:
            dying.setattr(SqlBook, "await_answer", AsyncMock(side_effect=RuntimeError("the process died here")))
            later = sign_hash(bound, sad, approved, operationMode="A")
            await caller.post("signatures/signHash", later, status=500)
        await caller.post("signatures/signHash", sign_hash(bound, sad, approved))


@pytest.mark.parametrize(
    "claims",
    [
        {"purpose": "sign"},
        {"purpose": "sign-documents"},
        {"digest": Digest.of(b"another root")},
        {"txn": "somewhere else/2"},
        {"sub": FIRM},
        {"act_for": FIRM},
        {"exp": 1},
        {"auth_level": 1},
        {"iss": "https://elsewhere.example"},
    ],
    ids=lambda claims: next(iter(claims)),
)
async def test_an_activation_that_says_anything_else_gives_no_sad(world, tmp_path, claims):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        digests = [Digest.of(b"one"), Digest.of(b"two")]
        body = {
            "credentialID": bound.credential,
            "numSignatures": 2,
            "hashes": [_b64(digest) for digest in digests],
            "authData": [{"id": "activation", "value": caller.activation(bound, digests, **claims)}],
        }
        found = await caller.post("credentials/authorize", body, status=400)
        assert found["error"] == "invalid_otp"


@pytest.mark.parametrize("header", [b"[" * 9_000, b"{}", b"\xff"], ids=["deep", "empty", "octets"])
async def test_what_is_no_activation_is_a_wrong_otp_and_not_a_wrong_token(world, tmp_path, header):
    """CSC API v2.0 clause 11.6: `invalid_otp`; at 401 a client would ask for a token again and again."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        otp = base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.AAAA"
        body = {"credentialID": bound.credential, "hashes": [_b64(Digest.of(b"one"))], "OTP": otp}
        assert (await caller.post("credentials/authorize", body, status=400))["error"] == "invalid_otp"


async def test_an_activation_is_redeemed_once(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        digests = [Digest.of(b"one")]
        body = {
            "credentialID": bound.credential,
            "numSignatures": 1,
            "hashes": [_b64(digests[0])],
            "OTP": caller.activation(bound, digests),
        }
        await caller.post("credentials/authorize", body)
        found = await caller.post("credentials/authorize", body, status=400)
        assert "used already" in found["error_description"]


async def test_a_suspended_certificate_signs_nothing(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        digests = [Digest.of(b"one")]
        sad = (await caller.sad(bound, digests))["SAD"]
        await caller.at.say(
            CertificateSuspended(
                identity=bound.identity,
                credential=bound.credential,
                certificate=bound.certificate,
                reason=Code("identity-locked"),
                since=NOW,
            )
        )
        async with asyncio.timeout(60):
            while True:
                found = await caller.post("credentials/info", {"credentialID": bound.credential})
                if found["cert"]["status"] == "suspended":
                    break
                await asyncio.sleep(0.02)
        assert found["key"]["status"] == "disabled"
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, digests), status=403)
        assert "suspended" in found["error_description"]


async def test_an_organisations_key_needs_its_representative(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind(identity=FIRM, profile=CertificateProfile.ORGANISATION, representative=BUYER)
        await known(caller, bound)
        digests = [Digest.of(b"one")]
        await caller.sad(bound, digests, status=400)
        await caller.sad(bound, digests, act_for=FIRM)


async def test_when_the_status_cannot_be_had_the_sad_stays(world, tmp_path):
    """Decree 23/2025/ND-CP Art 15: unknown is not good; and nothing was used up."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        digests = [Digest.of(b"one")]
        sad = (await caller.sad(bound, digests))["SAD"]
        world.ocsp_mode = world.crl_mode = "down"
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, digests), status=503)
        assert found["error"] == "temporarily_unavailable"
        world.ocsp_mode = world.crl_mode = "ok"
        await caller.post("signatures/signHash", sign_hash(bound, sad, digests))


# --- documents, later, time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["S", "A"])
async def test_documents_are_signed_whole(world, tmp_path, mode):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        pdf = pdfs.minimal()
        digests = [Digest.of(pdf)]
        sad = (await caller.sad(bound, digests, purpose="sign-documents"))["SAD"]
        body = {
            "credentialID": bound.credential,
            "SAD": sad,
            "operationMode": mode,
            "documents": [
                {
                    "document": base64.b64encode(pdf).decode(),
                    "signature_format": "P",
                    "conformance_level": "Ades-B-LTA",
                    "signAlgo": "1.2.840.10045.4.3.2",
                }
            ],
        }
        wrong = body | {"documents": [body["documents"][0] | {"document": base64.b64encode(pdf + b"\n").decode()}]}
        await caller.post("signatures/signDoc", wrong, status=403)
        found = await caller.post("signatures/signDoc", body)
        if mode == "A":
            response = {"responseID": found["responseID"]}
            async with asyncio.timeout(60):
                while True:
                    headers = {"Authorization": f"Bearer {caller.token}"}
                    url = f"{caller.at.url}/csc/v2/signatures/signPolling"
                    async with caller.session.post(url, json=response, headers=headers) as answer:
                        found = await answer.json()
                        assert answer.status in (200, 202), found
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)
        (signed,) = (base64.b64decode(text) for text in found["DocumentWithSignature"])
        assert signed.startswith(pdf)
        report = examine(signed, file="x.pdf", anchors=[world.root.der], now=caller.at.platform.clock.now())
        assert (report.verdict.value, report.signatures[0].level) == ("passed", "PAdES-BASELINE-LTA")


async def test_of_two_signers_on_one_database_one_makes_a_document_that_takes_longer_than_a_lease(
    world, tmp_path, monkeypatch
):
    made, sign = [], BoundedWriter.sign

    async def slowly(writer: BoundedWriter, *what: Any) -> Any:
        made.append(writer)
        await asyncio.sleep(2 * LEASE_HERE)
        return await sign(writer, *what)

    monkeypatch.setattr(BoundedWriter, "sign", slowly)
    monkeypatch.setattr(answers, "LEASE", timedelta(seconds=LEASE_HERE))
    monkeypatch.setattr(lease, "RENEWAL", LEASE_HERE / 10)
    monkeypatch.setattr(answers, "POLL", LEASE_HERE / 10)
    async with calling(world, tmp_path) as caller, house(world, tmp_path, csc_clients=(CLIENT,)):
        bound = await caller.at.bind()
        await known(caller, bound)
        pdf = pdfs.minimal()
        sad = (await caller.sad(bound, [Digest.of(pdf)], purpose="sign-documents"))["SAD"]
        one = {"document": base64.b64encode(pdf).decode(), "signature_format": "P", "conformance_level": "Ades-B-B"}
        body = {"credentialID": bound.credential, "SAD": sad, "operationMode": "A", "documents": [one]}
        response = {"responseID": (await caller.post("signatures/signDoc", body))["responseID"]}
        url, headers = f"{caller.at.url}/csc/v2/signatures/signPolling", {"Authorization": f"Bearer {caller.token}"}
        status = 202
        async with asyncio.timeout(60):
            while status == 202:
                await asyncio.sleep(0.1)
                async with caller.session.post(url, json=response, headers=headers) as answer:
                    status, found = answer.status, await answer.json()
        assert (status, list(found)) == (200, ["DocumentWithSignature"])
    assert len(made) == 1


async def test_an_approval_of_documents_signs_no_hashes(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        digests = [Digest.of(b"one")]
        sad = (await caller.sad(bound, digests, purpose="sign-documents"))["SAD"]
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, digests), status=403)
        assert found["error"] == "access_denied"


async def test_hashes_are_signed_later_and_fetched_by_their_asker_alone(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        digests = [Digest.of(b"one"), Digest.of(b"two")]
        sad = (await caller.sad(bound, digests))["SAD"]
        found = await caller.post("signatures/signHash", sign_hash(bound, sad, digests, operationMode="A"))
        await caller.post("signatures/signPolling", {"responseID": "unknown"}, status=400)
        async with asyncio.timeout(60):
            while True:
                headers = {"Authorization": f"Bearer {caller.token}"}
                url = f"{caller.at.url}/csc/v2/signatures/signPolling"
                async with caller.session.post(url, json=found, headers=headers) as answer:
                    if answer.status == 200:
                        assert len((await answer.json())["signatures"]) == 2
                        break
                await asyncio.sleep(0.05)


async def test_a_timestamp_over_a_hash(world, tmp_path):
    async with calling(world, tmp_path) as caller:
        found = await caller.post("signatures/timestamp", {"hash": _b64(Digest.of(b"x")), "hashAlgo": SHA256})
        assert Digest.of(b"x").raw in base64.b64decode(found["timestamp"])
        world.tsa_mode = "down"
        body = {"hash": _b64(Digest.of(b"x")), "hashAlgo": SHA256}
        assert (await caller.post("signatures/timestamp", body, status=503))["error"] == "temporarily_unavailable"
        found = await caller.post("signatures/timestamp", body | {"hashAlgo": "1.3.14.3.2.26"}, status=400)
        assert "SHA-256" in found["error_description"]


# --- the holder's page -----------------------------------------------------------------------------------------------


async def test_the_authorization_code_with_pkce_is_the_holders_approval(world, tmp_path):
    """CSC API v2.0 clause 8.4; RFC 7636. The token of the credential scope is the SAD."""
    async with calling(world, tmp_path) as caller:
        bound = await caller.at.bind()
        await known(caller, bound)
        caller.token = ""
        digests = [Digest.of(b"one")]
        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": APP.id,
            "redirect_uri": APP.redirect_uris[0],
            "code_challenge": challenge,
            "state": "s1",
            "credentialID": str(bound.credential),
            "numSignatures": "1",
            "hashes": base64.urlsafe_b64encode(digests[0].raw).decode(),
        }
        page = f"{caller.at.url}/csc/v2/oauth2/authorize"
        async with caller.session.get(f"{page}?{urlencode(asked)}") as answer:
            text = await answer.text()
            assert answer.status == 200
            assert digests[0].hex in text
            assert "script" not in text
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        stranger = asked | {"redirect_uri": "https://evil.example/"}
        async with caller.session.get(f"{page}?{urlencode(stranger)}") as answer:
            assert answer.status == 400
        wrong = await caller.form("oauth2/authorize", asked | {"activation": "x.y.z"}, 422)
        assert 'role="alert"' in await wrong.text()
        declined = await caller.form("oauth2/authorize", asked | {"decision": "decline", "activation": ""}, 302)
        issuer = f"{caller.at.url}/csc/v2"
        answer = parse_qs(urlsplit(declined.headers["Location"]).query)
        assert answer == {"error": ["access_denied"], "iss": [issuer], "state": ["s1"]}
        back = await caller.form("oauth2/authorize", asked | {"activation": caller.activation(bound, digests)}, 302)
        query = parse_qs(urlsplit(back.headers["Location"]).query)
        # RFC 9207 clause 2: in error responses, too, so that the client sees which server answers.
        assert (query["state"], query["iss"]) == (["s1"], [issuer])
        redeem = {
            "grant_type": "authorization_code",
            "client_id": APP.id,
            "code": query["code"][0],
            "redirect_uri": APP.redirect_uris[0],
        }
        found = await caller.form("oauth2/token", redeem | {"code_verifier": "x" * 43}, 400)
        assert found["error"] == "invalid_grant"
        # A code that was tried is over (RFC 6749 clause 4.1.2): the holder approves anew.
        await caller.form("oauth2/token", redeem | {"code_verifier": verifier}, 400)
        back = await caller.form("oauth2/authorize", asked | {"activation": caller.activation(bound, digests)}, 302)
        code = parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]
        found = await caller.form("oauth2/token", redeem | {"code": code, "code_verifier": verifier})
        assert (found["token_type"], found["credentialID"]) == ("SAD", str(bound.credential))
        body = sign_hash(bound, "", digests)
        del body["SAD"]
        signed = await caller.post("signatures/signHash", body, token=found["access_token"])
        assert len(signed["signatures"]) == 1
        await caller.post("signatures/signHash", body, token=found["access_token"], status=400)
