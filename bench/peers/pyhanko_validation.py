"""pyHanko's own two ways to validate, called as its documentation does, with the CRLs that ours gets and no network."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

from asn1crypto import crl, ocsp, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature, async_validate_pdf_timestamp
from pyhanko.sign.validation.ades import ades_lta_validation
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer


class Pyhanko:
    """`anchors` and `crls` are DER."""

    def __init__(self, anchors: Sequence[bytes], crls: Sequence[bytes]) -> None:
        self._anchors, self._crls = anchors, crls

    def validate_pdf_signature(self, data: bytes) -> str:
        """`validate_pdf_signature` of every signature and `validate_pdf_timestamp` of every document timestamp."""
        return asyncio.run(self._plain(data))

    def ades_lta_validation(self, data: bytes) -> str:
        """`ades_lta_validation` of every signature."""
        return asyncio.run(self._lta(data))

    async def _plain(self, data: bytes) -> str:
        reader = PdfFileReader(io.BytesIO(data))
        lists = [crl.CertificateList.load(one) for one in self._crls]
        responses: list[ocsp.OCSPResponse] = []
        if "/DSS" in reader.root:
            store = DocumentSecurityStore.read_dss(reader)
            lists += [crl.CertificateList.load(one.get_object().data) for one in store.crls]
            responses += [ocsp.OCSPResponse.load(one.get_object().data) for one in store.ocsps]
        context = ValidationContext(
            trust_roots=[x509.Certificate.load(one) for one in self._anchors],
            crls=lists,
            ocsps=responses,
            allow_fetching=False,
            revocation_mode="hard-fail",
        )
        good = True
        for one in reader.embedded_regular_signatures:
            status = await async_validate_pdf_signature(one, context)
            good = good and bool(status.bottom_line)
        for one in reader.embedded_timestamp_signatures:
            stamp = await async_validate_pdf_timestamp(one, context)
            good = good and bool(stamp.intact and stamp.valid and stamp.trusted)
        return "passed" if good else "not-passed"

    async def _lta(self, data: bytes) -> str:
        reader = PdfFileReader(io.BytesIO(data))
        policy = CertValidationPolicySpec(
            trust_manager=SimpleTrustManager.build(
                [CertTrustAnchor(x509.Certificate.load(one)) for one in self._anchors]
            ),
            revinfo_policy=CertRevTrustPolicy(REQUIRE_REVINFO),
        )
        spec = PdfSignatureValidationSpec(
            SignatureValidationSpec(
                cert_validation_policy=policy,
                revinfo_gathering_policy=RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY),
                local_knowledge=LocalKnowledge(
                    known_crls=[CRLContainer(crl.CertificateList.load(one)) for one in self._crls]
                ),
            )
        )
        found = set()
        for one in reader.embedded_regular_signatures:
            result = await ades_lta_validation(one, spec)
            found.add(result.ades_subindic.standard_name.lower())
        return "+".join(sorted(found))
