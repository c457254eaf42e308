"""Signatures made by hand for the verifier's tests: right in everything, or wrong in one thing that a test names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp, SignatureObject
from signer_world import DOCUMENT_SIGNING, NOW, Ca, World, name

from services.runtime.clock import SystemClock
from services.verifier.model import Brought

_DIGESTS = {"sha256": hashes.SHA256, "sha1": hashes.SHA1, "md5": hashes.MD5, "sha512": hashes.SHA512}


@dataclass
class Forge:
    """A small PKI and a pen. `now` is the moment at which everything is judged by default."""

    world: World = field(default_factory=World)
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.world._make()

    @property
    def anchors(self) -> list[bytes]:
        """The only root that is trusted."""
        return [self.world.root.der]

    def signer(self, common: str = "Nguyễn Thị Phương Thảo", key: Any = None, **options: Any) -> Ca:
        """A subscriber."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        options.setdefault("eku", [DOCUMENT_SIGNING])
        return Ca(self.world.issue(key.public_key(), name(common), self.world.issuing, **options), key)

    def crl(
        self,
        issuer: Ca | None = None,
        *,
        revoked: dict[int, datetime] | None = None,
        reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise,
        this: datetime | None = None,
        until: datetime | None = None,
        key: Any = None,
    ) -> bytes:
        """A CRL of the issuing CA, or of another."""
        issuer = issuer or self.world.issuing
        this = this or self.now - timedelta(minutes=10)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(this)
            .next_update(until or this + timedelta(days=1))
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for serial, at in (revoked or {}).items():
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(at)
                .add_extension(x509.CRLReason(reason), critical=False)
                .build()
            )
        return builder.sign(key or issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def evidence(self, **options: Any) -> Brought:
        """Status data for everybody: the issuing CA's CRL with the options, the root's without."""
        return Brought(crls=(self.crl(**options), self.crl(self.world.root)))

    def token(self, imprint: bytes, mode: str = "ok", offset: timedelta = timedelta(0)) -> Any:
        """A timestamp token over a digest, as the toy authority makes it in a mode."""
        request = tsp.TimeStampReq(
            {
                "version": "v1",
                "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": imprint},
                "nonce": 7,
                "cert_req": True,
            }
        )
        # A file is judged at `now`: when a long run comes to this test, a token of the clock would be of the future.
        since = SystemClock().now().replace(microsecond=0) - self.now
        self.world.tsa_mode, self.world.tsa_offset = mode, offset - since
        return tsp.TimeStampResp.load(self.world.token(request))["time_stamp_token"]

    def cms(
        self,
        signer: Ca,
        content: bytes,
        *,
        digest: str = "sha256",
        ess: Any = "own",
        attributes: bool = True,
        encapsulate: bool = False,
        timestamp: str | None = None,
        timestamp_offset: timedelta = timedelta(0),
        certificates: list[bytes] | None = None,
        signing_time: datetime | None = None,
        pss: bool = False,
        content_type: str = "data",
        content_timestamp: str | None = None,
        content_timestamp_offset: timedelta = timedelta(0),
    ) -> bytes:
        """A SignedData over `content`. `ess`: `own`, none, or another certificate (Ca)."""
        leaf = asn1_x509.Certificate.load(signer.der)
        plain = hashlib.new(digest, content, usedforsecurity=False).digest()
        signed: list[dict[str, Any]] = [
            {"type": "content_type", "values": [content_type]},
            {"type": "message_digest", "values": [plain]},
        ]
        if ess is not None:
            named = hashlib.sha256((signer if ess == "own" else ess).der).digest()
            signed.append(
                {
                    "type": "signing_certificate_v2",
                    "values": [tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": named})]})],
                }
            )
        if content_timestamp is not None:
            stamp = self.token(hashlib.sha256(content).digest(), content_timestamp, content_timestamp_offset)
            signed.append({"type": "1.2.840.113549.1.9.16.2.20", "values": [stamp]})
        if signing_time is not None:
            signed.append({"type": "signing_time", "values": [cms.Time({"utc_time": core.UTCTime(signing_time)})]})
        signed_attributes = cms.CMSAttributes(signed)
        data = signed_attributes.dump() if attributes else content
        value, scheme = self._value(signer.key, data, digest, pss)
        info: dict[str, Any] = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": leaf.issuer, "serial_number": leaf.serial_number}
                    )
                }
            ),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": digest}),
            "signature_algorithm": scheme,
            "signature": value,
        }
        if attributes:
            info["signed_attrs"] = signed_attributes
        if timestamp is not None:
            token = self.token(hashlib.sha256(value).digest(), timestamp, timestamp_offset)
            info["unsigned_attrs"] = cms.CMSAttributes([{"type": "signature_time_stamp_token", "values": [token]}])
        chain = certificates if certificates is not None else [signer.der, self.world.issuing.der]
        encapsulated: dict[str, Any] = {"content_type": "data"}
        if encapsulate:
            encapsulated["content"] = core.OctetString(content)
        return cms.ContentInfo(
            {
                "content_type": "signed_data",
                "content": cms.SignedData(
                    {
                        "version": "v1",
                        "digest_algorithms": [algos.DigestAlgorithm({"algorithm": digest})],
                        "encap_content_info": encapsulated,
                        "certificates": [asn1_x509.Certificate.load(each) for each in chain],
                        "signer_infos": [info],
                    }
                ),
            }
        ).dump()

    @staticmethod
    def _value(key: Any, data: bytes, digest: str, pss: bool) -> tuple[bytes, Any]:
        algorithm = _DIGESTS[digest]()
        if isinstance(key, rsa.RSAPrivateKey):
            value = key.sign(data, padding.PKCS1v15(), algorithm)
            return value, algos.SignedDigestAlgorithm({"algorithm": f"{digest}_rsa"})
        return key.sign(data, ec.ECDSA(algorithm)), algos.SignedDigestAlgorithm({"algorithm": f"{digest}_ecdsa"})

    def sign(
        self,
        pdf: bytes,
        signer: Ca,
        *,
        slot: str = "buyer",
        claimed: datetime | None = None,
        sub_filter: SigSeedSubFilter = SigSeedSubFilter.PADES,
        **options: Any,
    ) -> bytes:
        """Sign by hand; the options are those of `cms`."""
        placeholder = SignatureObject(subfilter=sub_filter, timestamp=claimed or self.now, bytes_reserved=16384)
        return self._embed(pdf, slot, placeholder, lambda content: self.cms(signer, content, **options))

    def stamp(self, pdf: bytes, mode: str = "ok", offset: timedelta = timedelta(0), slot: str = "stamp") -> bytes:
        """Add a document timestamp."""
        return self._embed(
            pdf,
            slot,
            DocumentTimestamp(bytes_reserved=16384),
            lambda content: self.token(hashlib.sha256(content).digest(), mode, offset).dump(),
        )

    @staticmethod
    def _embed(pdf: bytes, slot: str, placeholder: Any, make: Any) -> bytes:
        writer = IncrementalPdfFileWriter(BytesIO(pdf))
        embedder = PdfCMSEmbedder().write_cms(field_name=slot, writer=writer)
        next(embedder)
        embedder.send(SigObjSetup(sig_placeholder=placeholder))
        prepared, output = embedder.send(SigIOSetup(md_algorithm="sha256"))
        data = output.getvalue()
        embedder.send(make(data[: prepared.reserved_region_start] + data[prepared.reserved_region_end :]))
        return output.getvalue()


def with_store(pdf: bytes, brought: Brought) -> bytes:
    """Add a DSS dictionary with these CRLs in a revision of its own."""
    writer = IncrementalPdfFileWriter(BytesIO(pdf))
    streams = generic.ArrayObject([writer.add_object(generic.StreamObject(stream_data=each)) for each in brought.crls])
    store = generic.DictionaryObject({generic.NameObject("/CRLs"): streams})
    writer.root[generic.NameObject("/DSS")] = writer.add_object(store)
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    return out.getvalue()
