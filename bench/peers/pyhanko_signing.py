# mypy: allow-untyped-calls
"""pyHanko as a peer of `make bench-sign`: as its documentation has it, and with the key object kept."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import crl as asn1_crl
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.timestamps import HTTPTimeStamper
from pyhanko_certvalidator import ValidationContext

DOCUMENTED, CACHED = "pyHanko, as documented", "pyHanko, key cached"

# That it may not fetch is what we want; said for every signature it would drown the rest.
logging.getLogger("pyhanko").setLevel(logging.ERROR)


class _KeyKept(signers.SimpleSigner):
    """The documented signer reads its key anew for each signature, which validates an RSA key for 40 ms and more."""

    key: Any = None

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
        if dry_run:
            return bytes((self.key.key_size + 7) // 8 if not isinstance(self.key, ec.EllipticCurvePrivateKey) else 72)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return bytes(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return bytes(self.key.sign(data, padding.PKCS1v15(), hashes.SHA256()))


class Pyhanko:
    """Both ways for one key; CRLs are given, nothing but timestamps is fetched."""

    def __init__(self, folder: Path, tsa: str) -> None:
        documented = signers.SimpleSigner.load_pkcs12(str(folder / "signer.p12"), passphrase=b"bench")
        assert documented is not None
        # load_pkcs12 of a subclass gives a plain SimpleSigner all the same: made by hand.
        kept = _KeyKept(
            signing_cert=documented.signing_cert,
            signing_key=documented.signing_key,
            cert_registry=documented.cert_registry,
        )
        kept.key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
        self._signers = {DOCUMENTED: documented, CACHED: kept}
        self._stamper = HTTPTimeStamper(tsa)
        root = list(self._signers[DOCUMENTED].cert_registry)[-1]
        self._roots = [c for c in self._signers[DOCUMENTED].cert_registry if c.self_issued] or [root]
        self._crls = [
            asn1_crl.CertificateList.load((folder / f"{name}.crl").read_bytes()) for name in ("root", "issuing")
        ]

    def ways(self, pdf: bytes, level: str) -> dict[str, Callable[[], Awaitable[Any]]]:
        """One signature each way."""
        return {title: self._way(signer, pdf, level) for title, signer in self._signers.items()}

    def _way(self, signer: Any, pdf: bytes, level: str) -> Callable[[], Awaitable[Any]]:
        async def once() -> Any:
            options: dict[str, Any] = {}
            if level == "B-LTA":
                context = ValidationContext(
                    trust_roots=self._roots, crls=self._crls, allow_fetching=False, revocation_mode="require"
                )
                options = {"embed_validation_info": True, "use_pades_lta": True, "validation_context": context}
            meta = signers.PdfSignatureMetadata(
                field_name="bench", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES, **options
            )
            return await signers.async_sign_pdf(
                IncrementalPdfFileWriter(BytesIO(pdf)),
                meta,
                signer=signer,
                timestamper=self._stamper if level != "B-B" else None,
            )

        return once
