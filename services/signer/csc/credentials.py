"""What a client is told: of this service (`info`), and of a holder's certificates (`credentials/list`, `info`)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from events.values import CredentialId, IdentityId
from services.runtime import certificates
from services.runtime.clock import Clock
from services.signer.csc import shapes
from services.signer.csc.model import (
    ALGORITHMS,
    CURVES,
    LENGTHS,
    LEVELS,
    METHODS,
    credential_of,
    refused,
)
from services.signer.csc.ports import Books
from services.signer.handlers import bound_chain
from services.signer.ports import Credential, CredentialState, Vault

SPECS = "2.0.0.2"


def description(base: str) -> shapes.Description:
    """`info`."""
    return shapes.Description(
        specs=SPECS,
        name="Antin",
        logo=f"{base}/logo.svg",
        region="VN",
        lang="vi-VN",
        description="Ký số từ xa, mỗi lần ký theo một lần chấp thuận / Remote signing, each signature approved",
        auth_type=["oauth2client", "oauth2code"],
        oauth2=base,  # and no oauth2Issuer beside it: one of both, or clients cannot tell which counts
        asynchronous=True,
        methods=list(METHODS),
        sign_algorithms={"algos": sorted({oid for oids in ALGORITHMS.values() for oid in oids})},
        signature_formats={"formats": ["P"], "envelope_properties": [["Revision"]]},
        conformance_levels=list(LEVELS),
    )


@dataclass(frozen=True)
class Credentials:
    """The holders' credentials as clients see them."""

    books: Books
    vault: Vault
    clock: Clock

    async def listed(self, asked: shapes.ListRequest) -> shapes.CredentialList:
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

    async def described(self, asked: shapes.InfoOfCredential) -> shapes.CredentialDescription:
        """`credentials/info`."""
        known = await self.find(asked.credential)
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
        leaf = certificates.from_der(chain[0])
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

    async def find(self, text: str) -> Credential:
        credential: CredentialId = credential_of(text)
        async with self.books.read() as book:
            known = await book.credential(credential)
        if known is None:
            raise refused("invalid-credential", "an unknown credentialID", "one of credentials/list")
        return known
