"""The writer of the service: the fast one where it can, pyHanko's where a file has something unusual."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from events.errors import Refused
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.syntax import Declined
from services.signer.adapters.fast.writer import INLINE, FastWriter
from services.signer.adapters.pyhanko_writer import PyhankoWriter
from services.signer.model import Evidence, SignedRevision, SigningOrder
from services.signer.ports import KeyStore, StatusSource, TimestampAuthority


class EitherWriter:
    """A `PadesWriter` of two; the result says which of them wrote, and why the fast one did not."""

    def __init__(self, keys: KeyStore, authority: TimestampAuthority, status: StatusSource) -> None:
        self._fast = FastWriter(keys, authority, status)
        self._thorough = PyhankoWriter(keys, authority, status)

    async def sign(self, pdf: bytes, order: SigningOrder, evidence: Evidence) -> SignedRevision:
        """Sign `pdf` as ordered and check the result before giving it out (ETSI EN 319 142-1 clause 6.3).

        The fast writer declines before a key has moved, so that one order is never signed by both.

        Raises:
            Refused: the PDF cannot be signed, or the self-check failed.
            Unavailable: no trusted time or no status material; nothing is released.
        """
        try:
            return await self._fast.sign(pdf, order, evidence)
        except Declined as fault:
            return replace(await self._thorough.sign(pdf, order, evidence), declined=fault.why)


class BoundedWriter:
    """A `PadesWriter` for PDFs that nobody looked at before, as batches and the CSC API bring them.

    The fast writer's reader has limits on everything; pyHanko's has not, so what the fast one declines is refused here.
    A contract's PDF was read in a process of its own before it was taken, so it may go to either.
    """

    def __init__(self, keys: KeyStore, authority: TimestampAuthority, status: StatusSource) -> None:
        self._fast = FastWriter(keys, authority, status)

    async def sign(self, pdf: bytes, order: SigningOrder, evidence: Evidence) -> SignedRevision:
        """Sign `pdf` as ordered and check the result before giving it out.

        Raises:
            Refused: the PDF has something unusual (encryption, XFA, damage), or the self-check failed.
            Unavailable: no trusted time or no status material; nothing is released.
        """
        try:
            if len(pdf) > INLINE:
                await asyncio.to_thread(_look, pdf)
            else:
                _look(pdf)
            return await self._fast.sign(pdf, order, evidence)
        except Declined as fault:
            raise Refused(
                "document-unusual",
                found=f"a PDF with something unusual ({fault.why})",
                expected="a whole PDF without encryption, XFA or damage",
                remedy="save it anew with another program, or send it as a contract",
            ) from fault


def _look(pdf: bytes) -> None:
    File.open(pdf).one_document()
