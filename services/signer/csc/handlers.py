"""The CSC API's operations. An approval names its hashes; a SAD is for one use; the key moves after both are spent."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from cryptography import x509

from domain.activation import Purpose
from events.errors import AntinError, Refused, Unavailable
from events.values import BaselineLevel, ContractId, CredentialId, Digest, IdentityId, Slot
from services.runtime.clock import Clock
from services.runtime.outbox import new_id
from services.signer.approval import approved, in_good_standing
from services.signer.csc import shapes
from services.signer.csc.model import (
    ALGORITHMS,
    ANSWER_LIFE,
    CODE_LIFE,
    CURVES,
    LENGTHS,
    LEVELS,
    METHODS,
    SAD_LIFE,
    TOKEN_LIFE,
    TRANSACTION_LIFE,
    AccessToken,
    Client,
    challenge_fits,
    credential_of,
    digests_of,
    error_of,
    level_of,
    refused,
    salt_of,
)
from services.signer.csc.ports import Books, Code, Waiting
from services.signer.handlers import bound_chain
from services.signer.model import Authorization, PreSignCheck, Redemption, SigningOrder
from services.signer.ports import (
    Approvals,
    Credential,
    CredentialState,
    KeyStore,
    PadesWriter,
    StatusSource,
    TimestampAuthority,
    Vault,
)

log = structlog.get_logger()
SPECS = "2.0.0.2"
POLL = 2.0
"""Seconds between two looks for requests that another process took in."""

PAUSE = 5.0
"""Seconds until a request is tried again, where nothing says when."""

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """The operations over the signer's ports. `clients` are those of the settings."""

    clients: Mapping[str, Client]
    books: Books
    approvals: Approvals
    keys: KeyStore
    status: StatusSource
    writer: PadesWriter
    authority: TimestampAuthority
    vault: Vault
    clock: Clock
    owner: str
    work: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request waits for its answer."""

    # --- who calls

    async def caller(self, authorization: str | None) -> AccessToken:
        """The token of a call.

        Raises:
            Refused: none, unknown or over.
        """
        scheme, _, token = (authorization or "").partition(" ")
        found = None
        if scheme.lower() == "bearer" and token.strip():
            async with self.books.read() as book:
                found = await book.token(token.strip(), self.clock.now())
        if found is None or found.client not in self.clients:
            raise Refused(
                "oauth-invalid-token",
                found="no living access token",
                expected="Authorization: Bearer with a token of oauth2/token",
                remedy="ask oauth2/token for one",
                status=401,
            )
        return found

    async def token(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> shapes.TokenAnswer:
        """`oauth2/token`: client credentials for the service scope, authorization code for the credential scope.

        Raises:
            Refused: unknown client, wrong secret, code or verifier.
        """
        name, secret = basic or (form.get("client_id", ""), form.get("client_secret"))
        client = self.clients.get(name)
        grant = form.get("grant_type")
        if grant == "client_credentials":
            if client is None or not client.knows(secret):
                raise _client_unknown()
            token = _secret()
            async with self.books.write() as book:
                await book.sweep(self.clock.now())
                await book.grant(token, client.id, None, self.clock.now() + TOKEN_LIFE)
            return shapes.TokenAnswer(
                access_token=token,
                token_type="Bearer",  # noqa: S106
                expires_in=int(TOKEN_LIFE.total_seconds()),
            )
        if grant == "authorization_code":
            if client is None or (client.secret_sha256 is not None and not client.knows(secret)):
                raise _client_unknown()
            return await self._redeem_code(client, form)
        raise refused("oauth-unsupported-grant-type", "another grant_type", "client_credentials or authorization_code")

    async def _redeem_code(self, client: Client, form: Mapping[str, str]) -> shapes.TokenAnswer:
        """The access token of the credential scope is the SAD (CSC API v2.0 clause 8.4.4)."""
        now = self.clock.now()
        async with self.books.write() as book:
            code = await book.take_code(form.get("code", ""), now)
        fits = (
            code is not None
            and code.client == client.id
            and code.redirect_uri == form.get("redirect_uri")
            and challenge_fits(code.challenge, form.get("code_verifier", ""))
        )
        if code is None or not fits:
            raise refused(
                "oauth-invalid-grant",
                "a code that is unknown, over or used, or another redirect_uri or code_verifier",
                "the code as it was given, once",
                remedy="let the holder approve again",
            )
        async with self.books.write() as book:
            authorization = await book.by_id(code.authorization)
            if authorization is None:
                raise refused("oauth-invalid-grant", "an approval that is over", "a fresh one")
            token, ends = _secret(), min(now + SAD_LIFE, authorization.expires_at)
            await book.renew(authorization, token, ends)
            await book.grant(token, client.id, authorization.id, ends)
        return shapes.TokenAnswer(
            access_token=token,
            token_type="SAD",  # noqa: S106
            expires_in=int((ends - now).total_seconds()),
            credential=str(authorization.credential),
        )

    # --- credentials

    def info(self, base: str) -> shapes.Description:
        """`info`."""
        return shapes.Description(
            specs=SPECS,
            name="Antin",
            logo=f"{base}/logo.svg",
            region="VN",
            lang="vi-VN",
            description="Ký số từ xa, mỗi lần ký theo một lần chấp thuận / Remote signing, each signature approved",
            auth_type=["oauth2client", "oauth2code"],
            oauth2=base,
            asynchronous=True,
            methods=list(METHODS),
            sign_algorithms={"algos": sorted({oid for oids in ALGORITHMS.values() for oid in oids})},
            signature_formats={"formats": ["P"], "envelope_properties": [["Revision"]]},
            conformance_levels=list(LEVELS),
        )

    async def credentials(self, caller: AccessToken, asked: shapes.ListRequest) -> shapes.CredentialList:
        """`credentials/list`."""
        try:
            # Needed: a client is told of the holders it knows, not of everybody's certificates.
            holder = IdentityId(asked.user or "")
        except ValueError as fault:
            raise refused("invalid-user", "no userID, or one of another form", IdentityId.expected) from fault
        after = credential_of(asked.page) if asked.page else ""
        async with self.books.read() as book:
            found = await book.credentials(holder, after, asked.most + 1)
        page, more = found[: asked.most], len(found) > asked.most
        if asked.only_valid:
            page = [one for one in page if self._cert_status(one) == "valid"]
        infos = None
        if asked.credential_info:
            infos = [
                await self._describe(one, asked.certificates, asked.cert_info, asked.auth_info, named=True)
                for one in page
            ]
        return shapes.CredentialList(
            credentials=[str(one.credential) for one in page],
            infos=infos,
            only_valid=asked.only_valid or None,
            next_page=str(found[asked.most - 1].credential) if more else None,
        )

    async def credential_info(self, asked: shapes.InfoOfCredential) -> shapes.CredentialDescription:
        """`credentials/info`."""
        known = await self._credential(asked.credential)
        return await self._describe(known, asked.certificates, asked.cert_info, asked.auth_info)

    async def _describe(
        self,
        known: Credential,
        which: shapes.Certificates,
        cert_info: bool,
        auth_info: bool,
        named: bool = False,
    ) -> shapes.CredentialDescription:
        chain = bound_chain(known, await self.vault.fetch(known.chain))
        leaf = x509.load_der_x509_certificate(chain[0])
        shown = {shapes.Certificates.NONE: 0, shapes.Certificates.SINGLE: 1}.get(which, len(chain))
        status = self._cert_status(known)
        return shapes.CredentialDescription(
            credential=str(known.credential) if named else None,
            description=f"{known.profile.value} {known.algorithm.value}",
            key=shapes.KeyInfo(
                status="enabled" if known.state is CredentialState.BOUND else "disabled",
                algo=list(ALGORITHMS[known.algorithm]),
                length=LENGTHS.get(known.algorithm, 3072),
                curve=CURVES.get(known.algorithm),
            ),
            cert=shapes.CertInfo(
                status=status,
                certificates=[base64.b64encode(der).decode() for der in chain[:shown]] if shown else None,
                issuer=leaf.issuer.rfc4514_string() if cert_info else None,
                serial=f"{leaf.serial_number:X}" if cert_info else None,
                subject=leaf.subject.rfc4514_string() if cert_info else None,
                valid_from=leaf.not_valid_before_utc.strftime("%Y%m%d%H%M%SZ") if cert_info else None,
                valid_to=leaf.not_valid_after_utc.strftime("%Y%m%d%H%M%SZ") if cert_info else None,
            ),
            auth=shapes.AuthInfo() if auth_info else None,
        )

    def _cert_status(self, known: Credential) -> str:
        if known.state is CredentialState.REVOKED:
            return "revoked"
        if known.state is CredentialState.SUSPENDED:
            return "suspended"
        return "expired" if self.clock.now() > known.not_after else "valid"

    # --- approval

    async def authorize(self, caller: AccessToken, asked: shapes.AuthorizeRequest) -> shapes.Activated:
        """`credentials/authorize`: the activation must approve exactly these hashes, in this order.

        Raises:
            Refused: no activation, or one that says anything else.
        """
        token = next((one.value for one in asked.auth_data if one.id == "activation"), asked.otp)
        if not token:
            raise refused(
                "oauth-invalid-otp",
                "no activation",
                "authData with the id `activation` (v1: OTP), the activation by the holder's e-identity authority",
            )
        digests = digests_of(asked.hashes, asked.hash_algorithm)
        if len(digests) != asked.count:
            raise refused(
                "invalid-count", f"numSignatures {asked.count} for {len(digests)} hashes", "one for each hash"
            )
        sad = _secret()
        now = self.clock.now()
        authorization = await self._approved(asked.credential, digests, token, documents=asked.documents)
        ends = min(now + SAD_LIFE, authorization.expires_at)
        async with self.books.write() as book:
            await book.sweep(now)
            await book.open(authorization, caller.client, sad, ends)
        return shapes.Activated(sad=sad, expires_in=int((ends - now).total_seconds()))

    async def _approved(
        self, credential: str, digests: Sequence[Digest], token: str, *, documents: bool
    ) -> Authorization:
        known = await self._credential(credential)
        purpose = Purpose.SIGN_DOCUMENTS if documents else Purpose.SIGN_HASHES
        activation = await approved(token, known, digests, purpose, approvals=self.approvals, clock=self.clock)
        now = self.clock.now()
        return Authorization(
            id=new_id(),
            jti=activation.jti,
            purpose=purpose,
            credential=known.credential,
            identity=known.identity,
            digests=tuple(digests),
            signed=frozenset(),
            issued_at=now,
            expires_at=now + TRANSACTION_LIFE,
        )

    async def approve_by_page(self, client: Client, asked: shapes.AuthorizeQuery, token: str) -> str:
        """`oauth2/authorize`, approved: the code for the client. No SAD is given out before the code is redeemed.

        Raises:
            Refused: the activation says anything else.
        """
        digests = digests_of(asked.hashes.split(","), asked.hashAlgorithmOID)
        if len(digests) != asked.numSignatures:
            raise refused("invalid-count", f"numSignatures {asked.numSignatures}", f"{len(digests)}, one a hash")
        authorization = await self._approved(asked.credentialID, digests, token, documents=asked.documents)
        code, ends = _secret(), self.clock.now() + CODE_LIFE
        async with self.books.write() as book:
            await book.open(authorization, client.id, _secret(), ends)
            await book.note_code(
                code, Code(client.id, asked.redirect_uri, asked.code_challenge, authorization.id), ends
            )
        return code

    def client_of(self, asked: shapes.AuthorizeQuery) -> Client:
        """The client that sends a holder here; its redirect URI must be one of its own, exactly.

        Raises:
            Refused: another.
        """
        client = self.clients.get(asked.client_id)
        if client is None or asked.redirect_uri not in client.redirect_uris:
            raise refused(
                "oauth-invalid-request",
                "an unknown client or a redirect_uri that is not registered",
                "a client of the settings and one of its redirect_uris, exactly",
            )
        return client

    async def holder_of(self, credential: str) -> Credential:
        """The credential that a page asks about."""
        return await self._credential(credential)

    async def extend(self, caller: AccessToken, asked: shapes.ExtendRequest) -> shapes.Activated:
        """`credentials/extendTransaction`: a new SAD while hashes of the approval are left to sign.

        Raises:
            Refused: nothing left, or too late: for this SAD (CSC API v2.0: the current unexpired one), or in all.
        """
        now = self.clock.now()
        async with self.books.write() as book:
            found = await book.by_sad(asked.sad, caller.client)
            if found is None or found[0].credential != credential_of(asked.credential):
                raise _sad_unknown()
            authorization = found[0]
            if now >= found[2]:
                raise refused(
                    "invalid-sad",
                    "a SAD whose time is over",
                    "the last one, in its time",
                    remedy="let the holder approve again",
                )
            left = [digest for place, digest in enumerate(authorization.digests) if place not in authorization.signed]
            wanted = digests_of(asked.hashes, asked.hash_algorithm)
            if not left or now >= authorization.expires_at or any(digest not in left for digest in wanted):
                raise refused(
                    "nothing-left",
                    "no approved hash that is left to sign, or an approval whose time is over",
                    "hashes of the same approval",
                    remedy="let the holder approve again",
                )
            sad, ends = _secret(), min(now + SAD_LIFE, authorization.expires_at)
            await book.renew(authorization, sad, ends)
        return shapes.Activated(sad=sad, expires_in=int((ends - now).total_seconds()))

    # --- signing

    async def sign_hash(self, caller: AccessToken, asked: shapes.SignHashRequest, bearer: str) -> shapes.Signed:
        """`signatures/signHash`, at once or later."""
        digests = digests_of(asked.hashes, asked.hash_algorithm)
        known = await self._credential(asked.credential)
        salt = salt_of(known.algorithm, asked.algorithm, asked.parameters)
        authorization, places, _ = await self._spend(caller, asked.sad or bearer, known, digests, Purpose.SIGN_HASHES)
        if asked.mode is shapes.Mode.ASYNCHRONOUS:
            return await self._later(caller, "hashes", {"id": authorization.id, "salt": salt, "places": places})
        async with self._unless_it_waits(authorization, places):
            return shapes.Signed(signatures=await self._sign_hashes(known, authorization, places, salt))

    async def _sign_hashes(
        self, known: Credential, authorization: Authorization, places: Sequence[int], salt: int
    ) -> list[str]:
        permits = [authorization.permit(place, known.algorithm, salt) for place in places]
        return [base64.b64encode(one).decode() for one in await self._all([self.keys.sign(one) for one in permits])]

    async def _all(self, operations: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """One after the other; where a person approves each, all at once, so that all show on the phone together."""
        if not self.keys.waits:
            return [await one for one in operations]
        found = await asyncio.gather(*operations, return_exceptions=True)
        faults = [one for one in found if isinstance(one, BaseException)]
        for fault in sorted(faults, key=lambda one: isinstance(one, Unavailable)):
            raise fault
        return [one for one in found if not isinstance(one, BaseException)]

    @asynccontextmanager
    async def _unless_it_waits(self, authorization: Authorization, places: tuple[int, ...]) -> AsyncIterator[None]:
        """What only waited has used nothing up: the same request with the same SAD goes on where this one stood.

        Raises:
            Unavailable: nothing was signed.
        """
        try:
            yield
        except Unavailable as fault:
            async with self.books.write() as book:
                await book.give_back(authorization.id, places)
            raise Unavailable(
                fault.code,
                found=fault.found,
                expected=fault.expected,
                remedy="the SAD was not used: send the same request again, or with operationMode A and poll",
                retry_after=fault.retry_after,
            ) from fault

    async def sign_doc(self, caller: AccessToken, asked: shapes.SignDocRequest, bearer: str) -> shapes.Signed:
        """`signatures/signDoc`: PAdES over whole PDFs that were approved by their digests."""
        if asked.digests:
            raise refused("unsupported-digests", "documentDigests", "documents; for digests use signatures/signHash")
        known = await self._credential(asked.credential)
        levels, pdfs = [], []
        for one in asked.documents:
            if one.format.upper() != "P" or (one.envelope == "Certification" and "envelope" in one.model_fields_set):
                raise refused("unsupported-format", "another format or envelope", "signature_format P, Revision")
            if one.algorithm is not None:
                salt_of(known.algorithm, one.algorithm, None)
            levels.append(level_of(one.level))
            try:
                pdfs.append(base64.b64decode(one.document, validate=True))
            except ValueError as fault:
                raise refused("invalid-document", "a document that is not base64", "base64 of a PDF") from fault
        digests = tuple(Digest.of(pdf) for pdf in pdfs)
        authorization, places, check = await self._spend(
            caller, asked.sad or bearer, known, digests, Purpose.SIGN_DOCUMENTS
        )
        for pdf in pdfs:
            await self.vault.keep(pdf)
        if asked.mode is shapes.Mode.ASYNCHRONOUS:
            work = {"id": authorization.id, "levels": [level.value for level in levels], "places": places}
            return await self._later(caller, "documents", work)
        async with self._unless_it_waits(authorization, places):
            return shapes.Signed(documents=await self._sign_documents(known, authorization, places, levels, check))

    async def _sign_documents(
        self,
        known: Credential,
        authorization: Authorization,
        places: Sequence[int],
        levels: Sequence[BaselineLevel],
        check: PreSignCheck,
    ) -> list[str]:
        signed = [
            self._sign_document(known, authorization, place, level, check)
            for place, level in zip(places, levels, strict=True)
        ]
        return [base64.b64encode(pdf).decode() for pdf in await self._all(signed)]

    async def _sign_document(
        self, known: Credential, authorization: Authorization, place: int, level: BaselineLevel, check: PreSignCheck
    ) -> bytes:
        """The same bytes at every try (ADR 8): the claimed time is when the approval was redeemed."""
        digest = authorization.digests[place]
        pdf = await self.vault.fetch(digest)
        name = f"csc-{authorization.id[-12:]}-{place}"
        order = SigningOrder(
            redemption=Redemption(
                jti=authorization.jti,
                contract=ContractId(authorization.id),
                slot=Slot(name),
                credential=known.credential,
                algorithm=known.algorithm,
                shown=digest,
                base=digest,
                base_size=len(pdf),
                redeemed_at=authorization.issued_at,
            ),
            chain=check.path,
            level=level,
            field=name,
            index=0,
            signed_at=authorization.issued_at.replace(microsecond=0),
            stamped=False,
        )
        return (await self.writer.sign(pdf, order, check.evidence)).pdf

    async def _spend(
        self, caller: AccessToken, sad: str, known: Credential, digests: Sequence[Digest], purpose: Purpose
    ) -> tuple[Authorization, tuple[int, ...], PreSignCheck]:
        """Check the SAD, then the certificate (Decree 23/2025/ND-CP Art 15), then spend the SAD: the key may move.

        Raises:
            Refused: anything that is not as approved.
            Unavailable: the certificate's status cannot be had, or an approval is awaited; the SAD is not spent.
        """
        in_good_standing(known)
        now = self.clock.now()
        async with self.books.read() as book:
            authorization, _, _ = _usable(await book.by_sad(sad, caller.client), known, now)
        authorization.claim(digests, purpose, now)
        await self.keys.ready(authorization.jti)
        check = await self._checked(known)
        now = self.clock.now()
        async with self.books.write() as book:
            authorization, _, _ = _usable(await book.by_sad(sad, caller.client), known, now)
            places = authorization.claim(digests, purpose, now)
            await book.spend(authorization, places)
        return authorization, places, check

    async def _checked(self, known: Credential) -> PreSignCheck:
        chain = bound_chain(known, await self.vault.fetch(known.chain))
        check = await self.status.check(chain)
        check.decide()
        return check

    # --- later

    async def _later(self, caller: AccessToken, kind: str, work: Mapping[str, object]) -> shapes.Signed:
        waiting = Waiting(new_id(), caller.client, kind, json.dumps(work))
        async with self.books.write() as book:
            await book.await_answer(waiting, self.clock.now() + ANSWER_LIFE)
        self.work.set()
        return shapes.Signed(response=waiting.id)

    async def work_off(self) -> bool:
        """Answer one waiting request; whether there was one. What a dead process had begun is begun anew."""
        async with self.books.write() as book:
            waiting = await book.claim_waiting(self.owner, self.clock.now())
        if waiting is None:
            return False
        try:
            answer = (await self._answer(waiting)).model_dump_json(exclude_none=True)
        except Unavailable as wait:
            log.info("csc-answer-waits", response=waiting.id, code=wait.code)
            async with self.books.write() as book:
                until = self.clock.now() + timedelta(seconds=wait.retry_after or PAUSE)
                await book.put_off(waiting.id, self.owner, until)
            return True
        except AntinError as fault:
            status, error, told = error_of(fault)
            answer = json.dumps({"status": status, "error": error, "error_description": told})
        except Exception:
            log.exception("csc-answer-failed", response=waiting.id)
            told = (
                "Found a fault that no rule foresees; expected a signature; ask the operator, quoting the responseID."
            )
            answer = json.dumps({"status": 500, "error": "server_error", "error_description": told})
        async with self.books.write() as book:
            await book.answered(waiting.id, self.owner, answer)
        return True

    async def _answer(self, waiting: Waiting) -> shapes.Signed:
        """Sign what waits, as often as it takes while the approval lives.

        Raises:
            Refused: it must not be signed, or its time is over.
            Unavailable: somebody who is needed does not answer, or has not approved yet.
        """
        work = json.loads(waiting.request)
        async with self.books.read() as book:
            authorization = await book.by_id(work["id"])
        if authorization is None or self.clock.now() >= authorization.expires_at:
            raise refused(
                "too-late",
                "an approval that ended before everybody who is needed had answered",
                "an answer within its time",
                remedy="let the holder approve again",
            )
        known = await self._credential(authorization.credential)
        in_good_standing(known)
        await self.keys.ready(authorization.jti)
        check = await self._checked(known)
        if waiting.kind == "documents":
            levels = [BaselineLevel(text) for text in work["levels"]]
            return shapes.Signed(
                documents=await self._sign_documents(known, authorization, work["places"], levels, check)
            )
        signatures = await self._sign_hashes(known, authorization, work["places"], int(work["salt"]))
        return shapes.Signed(signatures=signatures)

    async def poll(self, caller: AccessToken, asked: shapes.PollRequest) -> str | None:
        """`signatures/signPolling`: the answer as JSON, or none yet.

        Raises:
            Refused: no such request of this client, or what the request itself was refused for.
        """
        async with self.books.read() as book:
            known, answer = await book.answer(asked.response, caller.client, self.clock.now())
        if not known:
            raise refused("invalid-response", "an unknown responseID", "one given out within the last hour")
        return answer

    async def timestamp(self, asked: shapes.TimestampRequest) -> shapes.Timestamped:
        """`signatures/timestamp`.

        Raises:
            Unavailable: no trusted time.
        """
        (digest,) = digests_of([asked.digest], asked.hash_algorithm)
        token = await self.authority.timestamp(digest)
        return shapes.Timestamped(timestamp=base64.b64encode(token.der).decode())

    async def _credential(self, text: str) -> Credential:
        credential: CredentialId = credential_of(text)
        async with self.books.read() as book:
            known = await book.credential(credential)
        if known is None:
            raise refused("invalid-credential", "an unknown credentialID", "one of credentials/list")
        return known


def answering(server: Server) -> Callable[[], Awaitable[None]]:
    """The loop that answers asynchronous requests, also those that another process left behind."""

    async def run() -> None:
        while True:
            while await server.work_off():
                pass
            server.work.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await server.work.wait()

    return run


def _usable(
    found: tuple[Authorization, bool, datetime] | None, known: Credential, now: datetime
) -> tuple[Authorization, bool, datetime]:
    if found is None or found[0].credential != known.credential:
        raise _sad_unknown()
    if found[1] or now >= found[2]:
        raise refused(
            "invalid-sad",
            "a SAD that was used or whose time is over",
            "a fresh one: each is for one call",
            remedy="call credentials/extendTransaction, or let the holder approve again",
        )
    return found


def _sad_unknown() -> Refused:
    return refused("invalid-sad", "an unknown SAD", "one given to this client for this credential")


def _client_unknown() -> Refused:
    return Refused(
        "oauth-invalid-client",
        found="an unknown client or a wrong secret",
        expected="a client of the settings (ANTIN_SIGNER__CSC_CLIENTS)",
        remedy="check client_id and client_secret",
        status=401,
    )


def _secret() -> str:
    return secrets.token_urlsafe(32)
