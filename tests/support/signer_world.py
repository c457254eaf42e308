"""A toy PKI for the tests of the signer: CAs, OCSP, CRL and a timestamp authority that can be told to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from joserfc import jws
from joserfc.jwk import ECKey
from pydantic import SecretStr

from events.values import BaselineLevel, ContractId, CredentialId, Digest, IdentityId, Slot
from services.runtime.clock import Clock, SystemClock
from services.runtime.outbound import Outbound
from services.signer.adapters.file_keys import FileKeys
from services.signer.adapters.pades_writer import EitherWriter
from services.signer.adapters.status import OnlineStatus
from services.signer.adapters.tsa import Rfc3161Authority
from services.signer.model import Redemption, SigningAlgorithm, SigningOrder

NOW = SystemClock().now().replace(microsecond=0)
DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")


def name(common: str, organisation: str | None = None) -> x509.Name:
    """A name; the library counts octets where RFC 5280 counts characters, hence the private argument."""
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, "VN")]
    with warnings.catch_warnings(action="ignore"):
        if organisation:
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation, _validate=False))
        return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common, _validate=False)])


@dataclass
class Ca:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@dataclass
class World:
    """The outside as a toy. Behaviour is chosen by the attributes; every request is counted."""

    root: Ca = field(init=False)
    issuing: Ca = field(init=False)
    tsa: Ca = field(init=False)
    ocsp_responder: Ca = field(init=False)
    root_responder: Ca = field(init=False)
    base: str = ""
    tsa_mode: str = "ok"
    ocsp_mode: str = "ok"
    crl_mode: str = "ok"
    offer_ocsp: bool = True
    authority_key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    revoked: dict[int, x509.ReasonFlags] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tsa_offset: timedelta = timedelta(0)
    tsa_carries: list[tuple[bytes, ...]] = field(default_factory=list)
    """Certificates of the next tokens, the last one's of all after it; the authority's own and the root by default."""
    clock: Clock = field(default_factory=SystemClock)
    crl_filling: int = 0

    def issue(
        self,
        public_key: Any,
        subject: x509.Name,
        issuer: Ca | None,
        *,
        ca: bool = False,
        key: Any = None,
        eku: list[ObjectIdentifier] | None = None,
        critical_eku: bool = False,
        ocsp_nocheck: bool = False,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extra: list[tuple[x509.ExtensionType, bool]] = (),
    ) -> x509.Certificate:
        signer = issuer.key if issuer else key
        issuer_name = issuer.certificate.subject if issuer else subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or NOW - timedelta(minutes=30))
            .not_valid_after(not_after or NOW + timedelta(days=3650 if ca else 700))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca,
                    content_commitment=not ca,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if issuer:
            short = "root" if issuer is self.root else "issuing"
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
            access = [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(f"{self.base}/{short}.cer")
                )
            ]
            if self.offer_ocsp:
                access.append(
                    x509.AccessDescription(
                        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{self.base}/ocsp")
                    )
                )
            if not ocsp_nocheck:
                builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
                builder = builder.add_extension(
                    x509.CRLDistributionPoints(
                        [
                            x509.DistributionPoint(
                                [x509.UniformResourceIdentifier(f"{self.base}/{short}.crl")], None, None, None
                            )
                        ]
                    ),
                    critical=False,
                )
        if eku:
            builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=critical_eku)
        if ocsp_nocheck:
            builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    async def start(self) -> web.AppRunner:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/ocsp", self._ocsp)
        app.router.add_get("/{who}.crl", self._crl)
        app.router.add_post("/tsa", self._tsa)
        app.router.add_get("/jwks.json", self._jwks)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._make()
        return runner

    def _make(self) -> None:
        def key() -> ec.EllipticCurvePrivateKey:
            return ec.generate_private_key(ec.SECP256R1())

        k = key()
        self.root = Ca(self.issue(k.public_key(), name("Gốc thử nghiệm"), None, ca=True, key=k), k)
        k = key()
        self.issuing = Ca(self.issue(k.public_key(), name("CA cấp phát thử nghiệm"), self.root, ca=True), k)
        self.renew_tsa(rsa.generate_private_key(65537, 2048))
        self.ocsp_responder, self.root_responder = (
            Ca(
                self.issue(
                    k.public_key(),
                    name(common),
                    issuer,
                    eku=[ExtendedKeyUsageOID.OCSP_SIGNING],
                    ocsp_nocheck=True,
                ),
                k,
            )
            for k, common, issuer in ((key(), "OCSP cấp phát", self.issuing), (key(), "OCSP gốc", self.root))
        )

    def renew_tsa(self, key: Any = None, issuer: Ca | None = None) -> None:
        """Give the authority a new certificate, by the root or by the issuer."""
        k, by = key or self.tsa.key, issuer or self.root
        purpose = [ExtendedKeyUsageOID.TIME_STAMPING]
        self.tsa = Ca(self.issue(k.public_key(), name("TSA thử nghiệm"), by, eku=purpose, critical_eku=True), k)

    def subscriber(
        self, spki: bytes, common: str, organisation: str | None = None, **options: Any
    ) -> tuple[bytes, ...]:
        """A signer's chain, DER, leaf first."""
        leaf = self.issue(
            load_der_public_key(spki), name(common, organisation), self.issuing, eku=[DOCUMENT_SIGNING], **options
        )
        return leaf.public_bytes(Encoding.DER), self.issuing.der, self.root.der

    async def _jwks(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.authority_key.as_dict(private=False)]})

    def activation(
        self,
        subject: IdentityId,
        digest: Digest,
        contract: ContractId,
        slot: Slot,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """What the citizen's phone sends after a step-up."""
        now = int(SystemClock().now().timestamp())
        said = {
            "iss": self.base,
            "aud": "antin",
            "sub": subject,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "account_level": 2,
            "auth_level": 3,
            "amr": ["face", "pin"],
            "purpose": "sign",
            "digest": digest,
            "txn": f"{contract}/{slot}",
        } | (claims or {})
        header = {"alg": "ES256", "kid": self.authority_key.kid, "typ": "sad+jwt"}
        return jws.serialize_compact(header, json.dumps(said).encode(), self.authority_key)

    async def _misbehave(self, mode: str) -> web.Response | None:
        match mode:
            case "down":
                return web.Response(status=503)
            case "slow":
                await asyncio.sleep(20)
            case "nonsense":
                return web.Response(body=b"<html>hello</html>", content_type="application/timestamp-reply")
            case "html":
                return web.Response(body=b"<html>hello</html>", content_type="text/html")
            case "huge":
                return web.Response(body=b"\x30" * 5_000_000, content_type="application/timestamp-reply")
            case "redirect":
                return web.Response(status=302, headers={"Location": f"{self.base}/tsa"})
        return None

    async def _ocsp(self, request: web.Request) -> web.Response:
        self.asked.append("ocsp")
        if (bad := await self._misbehave(self.ocsp_mode)) is not None:
            return bad
        asked = ocsp.load_der_ocsp_request(await request.read())
        now = self.clock.now().replace(microsecond=0)
        issuer = (
            self.root if asked.issuer_name_hash == _sha1(self.root.certificate.subject.public_bytes()) else self.issuing
        )
        responder = self.root_responder if issuer is self.root else self.ocsp_responder
        this, after = now - timedelta(seconds=1), now + timedelta(hours=1)
        if self.ocsp_mode == "stale":
            this, after = now - timedelta(days=2), now - timedelta(days=1)
        if self.ocsp_mode == "future":
            this, after = now + timedelta(hours=2), now + timedelta(hours=3)
        if self.ocsp_mode == "impostor":
            k = ec.generate_private_key(ec.SECP256R1())
            responder = Ca(self.issue(k.public_key(), name("OCSP"), self.issuing, eku=[DOCUMENT_SIGNING]), k)
        reason = self.revoked.get(asked.serial_number)
        serial = asked.serial_number + (1 if self.ocsp_mode == "other" else 0)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=serial,
            algorithm=asked.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.REVOKED
            if reason
            else (ocsp.OCSPCertStatus.UNKNOWN if self.ocsp_mode == "unknown" else ocsp.OCSPCertStatus.GOOD),
            this_update=this,
            next_update=after,
            revocation_time=now - timedelta(minutes=1) if reason else None,
            revocation_reason=reason,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
        if responder is not issuer:
            builder = builder.certificates([responder.certificate])
        nonce = asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        if self.ocsp_mode == "replayed":
            nonce = b"0" * 16
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        body = builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)
        if self.ocsp_mode == "tampered":
            body = body[:-3] + bytes([body[-3] ^ 1]) + body[-2:]
        return web.Response(body=body, content_type="application/ocsp-response")

    async def _crl(self, request: web.Request) -> web.Response:
        self.asked.append("crl")
        if (bad := await self._misbehave(self.crl_mode)) is not None:
            return bad
        issuer = self.root if request.match_info["who"] == "root" else self.issuing
        now = SystemClock().now().replace(microsecond=0)
        stale = self.crl_mode == "stale"
        # Steady within a run, as a CRL is: two signers then see the same bytes.
        this = NOW - timedelta(minutes=5)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(now - timedelta(days=3) if stale else this)
            .next_update(now - timedelta(days=2) if stale else NOW + timedelta(days=1))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        for serial in range(1, self.crl_filling + 1):
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(this).build()
            builder = builder.add_revoked_certificate(revoked)
        for serial, reason in self.revoked.items():
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(this)
                .add_extension(x509.CRLReason(reason), critical=False)
                .build()
            )
        if self.crl_mode == "delta":
            builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
        cache: dict[str, bytes] = self.__dict__.setdefault("_crls", {})
        mark = f"{request.match_info['who']}/{self.crl_mode}/{sorted(self.revoked)}"
        if mark not in cache:
            key = ec.generate_private_key(ec.SECP256R1()) if self.crl_mode == "impostor" else issuer.key
            cache[mark] = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        etag = '"' + hashlib.sha256(cache[mark]).hexdigest()[:16] + '"'
        if request.headers.get("If-None-Match") == etag:
            self.asked.append("crl-unchanged")
            return web.Response(status=304)
        return web.Response(body=cache[mark], content_type="application/pkix-crl", headers={"ETag": etag})

    async def _tsa(self, request: web.Request) -> web.Response:
        self.asked.append("tsa")
        if (bad := await self._misbehave(self.tsa_mode)) is not None:
            return bad
        asked = tsp.TimeStampReq.load(await request.read())
        return web.Response(body=self.token(asked), content_type="application/timestamp-reply")

    def token(self, asked: tsp.TimeStampReq) -> bytes:
        mode = self.tsa_mode
        if mode == "refused":
            return bytes.fromhex("30053003020102")
        imprint = asked["message_imprint"].copy()
        if mode == "wrong-imprint":
            imprint["hashed_message"] = bytes(32)
        tsa = self.tsa
        if mode in ("no-eku", "soft-eku"):
            eku = [ExtendedKeyUsageOID.TIME_STAMPING] if mode == "soft-eku" else None
            tsa = Ca(self.issue(self.tsa.key.public_key(), name("TSA"), self.root, eku=eku), self.tsa.key)
        if mode == "other-root":
            k = ec.generate_private_key(ec.SECP256R1())
            root = Ca(self.issue(k.public_key(), name("Gốc khác"), None, ca=True, key=k), k)
            certificate = self.issue(
                self.tsa.key.public_key(), name("TSA"), root, eku=[ExtendedKeyUsageOID.TIME_STAMPING], critical_eku=True
            )
            tsa = Ca(certificate, self.tsa.key)
        offset = {"future": timedelta(days=7300), "past": timedelta(days=-1)}.get(mode, self.tsa_offset)
        info: dict[str, Any] = {
            "version": "v1",
            "policy": "1.3.6.1.4.1.99999.1",
            "message_imprint": imprint,
            "serial_number": uuid.uuid4().int >> 70,
            "gen_time": self.clock.now().replace(microsecond=0) + offset,
            "accuracy": {"seconds": 1},
        }
        if mode != "no-nonce":
            info["nonce"] = asked["nonce"].native + (1 if mode == "wrong-nonce" else 0)
        content = tsp.TSTInfo(info).dump()
        leaf = asn1_x509.Certificate.load(tsa.der)
        named = hashlib.sha256(self.root.der if mode == "wrong-ess" else tsa.der).digest()
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
                {
                    "type": "signing_certificate_v2",
                    "values": [tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": named})]})],
                },
            ]
        )
        signature = tsa.key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
        if mode == "bad-signature":
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        certificates = [leaf, asn1_x509.Certificate.load(self.root.der)]
        if mode == "no-certificate":
            certificates = certificates[1:]
        if self.tsa_carries:
            carried = self.tsa_carries.pop(0) if len(self.tsa_carries) > 1 else self.tsa_carries[0]
            certificates = [asn1_x509.Certificate.load(item) for item in carried]
        token = cms.ContentInfo(
            {
                "content_type": "signed_data",
                "content": cms.SignedData(
                    {
                        "version": "v3",
                        "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
                        "encap_content_info": {
                            "content_type": "tst_info",
                            "content": cms.ParsableOctetString(content),
                        },
                        "certificates": certificates,
                        "signer_infos": [
                            {
                                "version": "v1",
                                "sid": cms.SignerIdentifier(
                                    {
                                        "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                                            {"issuer": leaf.issuer, "serial_number": leaf.serial_number}
                                        )
                                    }
                                ),
                                "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
                                "signed_attrs": attributes,
                                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
                                "signature": signature,
                            }
                        ],
                    }
                ),
            }
        )
        return tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()  # noqa: S324 - the name in an OCSP request


def order(
    pdf: bytes,
    chain: tuple[bytes, ...],
    credential: CredentialId,
    algorithm: SigningAlgorithm,
    *,
    slot: str = "buyer",
    index: int = 0,
    level: BaselineLevel = BaselineLevel.LTA,
    **options: Any,
) -> SigningOrder:
    """An order to sign `pdf`, with a redemption that allows it."""
    return SigningOrder(
        redemption=Redemption(
            jti=str(uuid.uuid4()),
            contract=ContractId(str(uuid.uuid4())),
            slot=Slot(slot),
            credential=credential,
            algorithm=algorithm,
            shown=Digest.of(pdf),
            base=Digest.of(pdf),
            base_size=len(pdf),
            redeemed_at=SystemClock().now(),
        ),
        chain=chain,
        level=level,
        field=slot,
        index=index,
        signed_at=SystemClock().now().astimezone(UTC),
        **options,
    )


def credential() -> CredentialId:
    return CredentialId(str(uuid.uuid4()))


@dataclass
class Desk:
    """A signer's adapters, wired to the toy world."""

    world: World
    outbound: Outbound
    keys: FileKeys
    status: OnlineStatus
    authority: Rfc3161Authority
    writer: EitherWriter

    async def party(
        self,
        algorithm: SigningAlgorithm,
        common: str = "Nguyễn Thị Phương Thảo",
        organisation: str | None = None,
        **options: Any,
    ) -> Party:
        """Somebody with a key and a certificate."""
        who = credential()
        spki = await self.keys.create(who, algorithm)
        return Party(self, who, algorithm, self.world.subscriber(spki, common, organisation, **options))


@dataclass
class Party:
    """Somebody who can sign."""

    desk: Desk
    credential: CredentialId
    algorithm: SigningAlgorithm
    chain: tuple[bytes, ...]

    @property
    def serial(self) -> int:
        return x509.load_der_x509_certificate(self.chain[0]).serial_number

    async def sign(self, pdf: bytes, slot: str = "buyer", index: int = 0, **options: Any) -> bytes:
        """Check the certificate and sign, as the service does."""
        check = await self.desk.status.check(self.chain)
        check.decide()
        ordered = order(pdf, check.path, self.credential, self.algorithm, slot=slot, index=index, **options)
        return (await self.desk.writer.sign(pdf, ordered, check.evidence)).pdf


@asynccontextmanager
async def desk(tmp_path: Path, *, timeout: float = 5.0, **world: Any) -> AsyncIterator[Desk]:
    """A signer's adapters and the world around them, until the block ends."""
    outside = World(**world)
    runner = await outside.start()
    try:
        async with Outbound(allowed=[outside.base.removeprefix("http://")]) as outbound:
            anchors = [outside.root.certificate]
            clock = SystemClock()
            keys = FileKeys(tmp_path / "keys", SecretStr("correct horse"))
            status = OnlineStatus(outbound, anchors, clock, timeout=timeout)
            authority = Rfc3161Authority(outbound, outside.base + "/tsa", anchors, clock, timeout=timeout)
            yield Desk(outside, outbound, keys, status, authority, EitherWriter(keys, authority, status))
    finally:
        await runner.cleanup()
