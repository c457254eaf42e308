"""Reports in the forms that leave the house: printed as PDF/A and sealed, or as ETSI TS 119 102-2 XML."""

from __future__ import annotations

import asyncio

from events.errors import Refused
from services.verifier.adapters.etsi_report import etsi_xml
from services.verifier.adapters.seal import Seal
from services.verifier.model import FileReport
from services.verifier.printed import printed


class Papers:
    """A `Press`. Without a seal it prints only for those who ask for an unsealed report."""

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal

    @property
    def seals(self) -> bool:
        """Whether there is a seal."""
        return self._seal is not None

    async def print(self, report: FileReport, *, sealed: bool = True) -> bytes:
        """The report as a PDF.

        Raises:
            Refused: a sealed one is asked for and there is no seal, or its certificate is not in force.
            Unavailable: no timestamp for the seal.
        """
        if sealed and self._seal is None:
            raise Refused(
                "no-seal",
                found="no key to seal the report with",
                expected="a sealed PDF: an unsealed one proves nothing",
                remedy="set ANTIN_VERIFIER__SEAL_KEY_FILE and ANTIN_VERIFIER__SEAL_CHAIN_FILE, or take another form",
                status=406,
            )
        pdf = await asyncio.to_thread(printed, report, sealed=sealed)
        return await self._seal.put_on(pdf) if sealed and self._seal is not None else pdf

    async def xml(self, report: FileReport) -> bytes:
        """The report as ETSI TS 119 102-2 XML."""
        return await asyncio.to_thread(etsi_xml, report)
