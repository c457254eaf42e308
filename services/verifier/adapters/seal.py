"""The verifier's own electronic seal on its reports: a PAdES certification that permits no change (B-T, else B-B).

The verifier shares no code with the signer; this seals one kind of document, made here, with one key from a file. The
time comes from a timestamp authority where one is set, never from a clock alone: without one the seal is B-B and says
only when it claims to have been made.
"""

from __future__ import annotations

import asyncio
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import keys, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.timestamps import TimeStamper, TimestampRequestError
from pyhanko_certvalidator.registry import SimpleCertificateStore

from events.errors import Malformed, Refused, Unavailable
from services.runtime import certificates
from services.runtime.clock import Clock
from services.runtime.outbound import Answer, Outbound
from services.runtime.settings import secret

FIELD = "report-seal"
_SECONDS = 10.0
_LARGEST_TOKEN = 64 * 1024


class Seal:
    """Seals PDFs with a key and the chain of its certificate, its own first."""

    def __init__(self, key: Any, chain: list[x509.Certificate], clock: Clock, stamper: TimeStamper | None) -> None:
        self._certificate = chain[0]
        self._clock = clock
        self._stamper = stamper
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        store = SimpleCertificateStore()
        store.register_multiple(asn1_x509.Certificate.load(one.public_bytes(Encoding.DER)) for one in chain)
        self._signer = SimpleSigner(
            signing_cert=asn1_x509.Certificate.load(chain[0].public_bytes(Encoding.DER)),
            signing_key=keys.PrivateKeyInfo.load(plain),
            cert_registry=store,
            prefer_pss=True,
        )

    @classmethod
    def from_files(
        cls, key_file: Path, chain_file: Path, clock: Clock, outbound: Outbound | None = None, tsa: str | None = None
    ) -> Seal:
        """The seal in two PEM files: a private key (mode 0600), and certificates with the key's own first.

        Raises:
            Malformed: a file that cannot be read or used, or a certificate that is not the key's.
        """
        try:
            key = load_pem_private_key(secret(key_file).encode(), password=None)
        except (ValueError, TypeError) as fault:
            raise _unusable(f"no plain private key in {key_file.name}", "a PEM private key") from fault
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise _unusable(f"another kind of key in {key_file.name}", "RSA or an elliptic curve of App. I")
        try:
            chain = certificates.all_in(chain_file.read_bytes())
            public = certificates.key_of(chain[0])
        except (OSError, ValueError) as fault:
            raise _unusable(f"no certificates in {chain_file.name}", "PEM certificates") from fault
        if _spki(key.public_key()) != _spki(public):
            raise _unusable(f"a first certificate in {chain_file.name} of another key", "the key's own certificate")
        if tsa and not re.match(r"https?://[^/\s]+", tsa):
            raise _unusable("an address of the timestamp authority that is none", "an http or https URL")
        stamper = Stamper(outbound, tsa) if outbound is not None and tsa else None
        return cls(key, chain, clock, stamper)

    async def put_on(self, pdf: bytes) -> bytes:
        """The same PDF with the seal on it.

        Raises:
            Refused: the seal's certificate is not in force, so nothing is sealed with it.
            Unavailable: the timestamp authority does not answer as it should.
        """
        now = self._clock.now()
        if not self._certificate.not_valid_before_utc <= now <= self._certificate.not_valid_after_utc:
            raise Refused(
                "seal-not-in-force",
                found=f"a seal certificate valid until {self._certificate.not_valid_after_utc:%Y-%m-%d}",
                expected="one in force now",
                remedy="renew the certificate, or ask for the report unsealed",
                status=409,
            )
        metadata = PdfSignatureMetadata(
            field_name=FIELD,
            md_algorithm="sha256",
            subfilter=SigSeedSubFilter.PADES,
            certify=True,
            docmdp_permissions=MDPPerm.NO_CHANGES,
            reason="Verification report / Báo cáo kiểm tra chữ ký số",
        )
        pen = PdfSigner(metadata, signer=self._signer, timestamper=self._stamper)
        # An object begins on a line of its own (ISO 19005-2 clause 6.1.9), and Typst's files end without one.
        whole = pdf if pdf.endswith((b"\n", b"\r")) else pdf + b"\n"
        writer = await asyncio.to_thread(_Revision, BytesIO(whole))
        try:
            made = await pen.async_sign_pdf(writer, output=BytesIO())
        except TimestampRequestError as fault:
            raise Unavailable(
                "no-timestamp",
                found="no usable answer of the timestamp authority",
                expected="an RFC 3161 token",
                remedy="try again; see ANTIN_VERIFIER__SEAL_TSA",
            ) from fault
        return bytes(made.getbuffer())


def seal_from(
    key_file: Path | None, chain_file: Path | None, clock: Clock, outbound: Outbound | None, tsa: str | None
) -> Seal | None:
    """The seal that an operator set up; none when there is none.

    Raises:
        Malformed: half of it is set, or it cannot be used.
    """
    if key_file is None and chain_file is None:
        return None
    if key_file is None or chain_file is None:
        raise _unusable("a seal's key without its certificates, or the reverse", "both")
    return Seal.from_files(key_file, chain_file, clock, outbound, tsa)


class Stamper(TimeStamper):
    """Asks a timestamp authority (RFC 3161) by the guarded way out."""

    def __init__(self, outbound: Outbound, url: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._outbound = outbound
        self._url = url

    async def async_timestamp(self, message_digest: Any, md_algorithm: Any) -> Any:
        """One token. Raises Unavailable, or TimestampRequestError when there is none that can be read."""
        try:
            token = await super().async_timestamp(message_digest, md_algorithm)
            for one in token["content"]["certificates"]:
                certificates.from_der(one.chosen.dump())
        # AttributeError: pyHanko cannot say that a nonce is another one.
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise TimestampRequestError("a token that cannot be read, or for another request") from fault
        return token

    async def async_request_tsa_response(self, req: Any) -> Any:
        """One request. Raises Unavailable, or TimestampRequestError when the answer is none."""
        try:
            answer = await self._call(req)
        except ValueError as fault:
            raise TimestampRequestError("an address that cannot be read") from fault
        try:
            if answer.status != 200:
                raise ValueError(answer.status)
            found = tsp.TimeStampResp.load(answer.body, strict=True)
            found["status"]["status"].native  # noqa: B018 - parse it now
        except (ValueError, TypeError) as fault:
            raise TimestampRequestError("not an RFC 3161 answer") from fault
        return found

    async def _call(self, req: Any) -> Answer:
        return await self._outbound.call(
            "POST",
            self._url,
            body=req.dump(),
            headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
            timeout=_SECONDS,
            limit=_LARGEST_TOKEN,
        )


class _Revision(IncrementalPdfFileWriter):
    """A revision that leaves a PDF/A-2 one: no PDF 2.0, and its metadata as they stand (ISO 19005-2 6.1.2, 6.6.2.3)."""

    def ensure_output_version(self, version: tuple[int, int]) -> None:
        """At most 1.7, whatever the kind of key asks for."""
        super().ensure_output_version(min(version, (1, 7)))  # type: ignore[no-untyped-call]

    def _update_meta(self) -> None:
        """Leave them: rewritten XMP would have to be PDF/A's again."""


def _spki(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _unusable(found: str, expected: str) -> Malformed:
    return Malformed(
        "seal-unusable",
        found=found,
        expected=expected,
        remedy="see ANTIN_VERIFIER__SEAL_KEY_FILE and ANTIN_VERIFIER__SEAL_CHAIN_FILE in docs/settings.md",
    )
