"""Fetches OCSP responses and CRLs from the addresses in certificates (RFC 6960, RFC 5280), through the guarded way out.

Nothing is believed here: the judge checks every answer. The judge names only certificates that lead to an anchor, and
private addresses are refused by the outbound guard. Certificates, addresses of each and the time of it all are bounded.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from contextlib import suppress

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from events.errors import Unavailable
from services.runtime import certificates
from services.runtime.outbound import Outbound
from services.verifier.model import Brought, MissingStatus

MOST = 20
"""Certificates asked about per file."""
ADDRESSES = 3
"""Of each kind tried per certificate."""
PATIENCE = 4
"""The whole of it may take so many times what one request may."""


class OnlineStatus:
    """A `StatusFetcher`. `timeout` is in seconds per request, `limit` in octets per answer."""

    def __init__(self, outbound: Outbound, *, timeout: float, limit: int) -> None:
        self._outbound = outbound
        self._timeout = timeout
        self._limit = limit

    async def fetch(self, needs: Sequence[MissingStatus]) -> Brought:
        """OCSP first, the CRL where it fails; a certificate whose status cannot be had stays unknown."""
        ocsps: dict[bytes, None] = {}
        crls: dict[bytes, None] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout * PATIENCE):
                for need in list({need.certificate: need for need in needs}.values())[:MOST]:
                    response = await self._ocsp(need)
                    if response is not None:
                        ocsps[response] = None
                        continue
                    for url in need.crl[:ADDRESSES]:
                        listed = await self._get(url)
                        if listed is not None:
                            crls[listed] = None
                            break
        return Brought(ocsps=tuple(ocsps), crls=tuple(crls))

    async def _ocsp(self, need: MissingStatus) -> bytes | None:
        if need.issuer is None or not need.ocsp:
            return None
        try:
            certificate = certificates.from_der(base64.b64decode(need.certificate))
            issuer = certificates.from_der(base64.b64decode(need.issuer))
            # RFC 5019 clause 2.1.1: SHA-1 names the certificate here, it protects nothing.
            request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA1()).build()  # noqa: S303
        except ValueError:
            return None
        for url in need.ocsp[:ADDRESSES]:
            answer = await self._call("POST", url, request.public_bytes(Encoding.DER))
            if answer is None:
                continue
            try:
                if ocsp.load_der_ocsp_response(answer).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
                    return answer
            except ValueError:
                continue
        return None

    async def _get(self, url: str) -> bytes | None:
        return await self._call("GET", url, None)

    async def _call(self, method: str, url: str, body: bytes | None) -> bytes | None:
        headers = {"Content-Type": "application/ocsp-request"} if body is not None else {}
        try:
            answer = await self._outbound.call(
                method, url, body=body, headers=headers, timeout=self._timeout, limit=self._limit
            )
        except (Unavailable, ValueError):
            return None
        return answer.body if answer.status == 200 else None
