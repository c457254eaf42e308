"""Fetches an anchor set from its URL: a bundle pinned by its digest, or a trusted list that its operator signed.

The way out is the guarded one; https alone is taken, but for inner addresses that the operator named. What comes back
is believed only by its digest or its signature, never for coming from the right address.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime

from yarl import URL

from events.errors import Refused, Unavailable
from services.runtime.outbound import Outbound
from services.verifier.adapters.trusted_list import read_trusted_list
from services.verifier.trust_store import Fetched, FetchedAnchor, Source, certificates_in

LARGEST = 32 << 20
"""Octets of an answer; the largest national trusted lists have about a third of it."""
SECONDS = 60.0


async def fetch(source: Source, outbound: Outbound, now: datetime, *, known: Fetched | None = None) -> Fetched:
    """What is at the source now, checked. `known` is what was fetched last.

    Raises:
        Refused: not what was pinned, not signed by the operator, older than what is known, or not readable.
        Unavailable: no answer in time, or one that is too large.
    """
    try:
        url = URL(source.url)
    except ValueError as fault:
        raise _not_https("an address that cannot be read") from fault
    if not url.host:
        raise _not_https("an address without a host")
    if url.scheme != "https" and not (url.scheme == "http" and outbound.allows(url.host, url.port or 80)):
        raise _not_https(f"a {url.scheme or 'bare'} address")
    answer = await outbound.call("GET", source.url, timeout=SECONDS, limit=LARGEST)
    if answer.status != 200:
        raise Unavailable(
            "source-unavailable",
            found=f"status {answer.status} from {url.host}",
            expected="200",
            remedy="try again later, or correct the address",
        )
    return checked(source, answer.body, now, known=known)


def _not_https(found: str) -> Refused:
    return Refused(
        "source-not-https",
        found=found,
        expected="https",
        remedy="name an https address; an inner address may be plain http when --allow names it",
    )


def checked(source: Source, body: bytes, now: datetime, *, known: Fetched | None = None) -> Fetched:
    """What these octets are worth.

    Raises:
        Refused: not what was pinned, not signed by the operator, older than what is known, or not readable.
    """
    digest = hashlib.sha256(body).hexdigest()
    if source.operators:
        listed = read_trusted_list(body, [base64.b64decode(one) for one in source.operators], now)
        if known is not None and known.sequence is not None and listed.sequence < known.sequence:
            raise Refused(
                "trusted-list-older",
                found=f"trusted list number {listed.sequence}",
                expected=f"number {known.sequence} or later, as fetched before",
                remedy="somebody may be replaying an old list; ask the scheme operator",
            )
        return Fetched(
            at=now,
            sha256=digest,
            sequence=listed.sequence,
            next_update=listed.next_update,
            anchors=listed.anchors,
            unreadable=listed.unreadable,
        )
    if digest != source.sha256:
        raise Refused(
            "source-not-as-pinned",
            found=f"content with SHA-256 {digest}",
            expected=f"the pinned {source.sha256}",
            remedy="ask the publisher whether it changed; then add the set anew with its new digest",
        )
    ders = certificates_in(body, source.url)
    return Fetched(
        at=now, sha256=digest, anchors=tuple(FetchedAnchor(der=base64.b64encode(one).decode()) for one in ders)
    )
