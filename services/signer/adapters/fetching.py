"""One bounded HTTP request to a CA or a timestamp authority: a time limit, a size limit, no redirects."""

from __future__ import annotations

from dataclasses import dataclass

from events.errors import Unavailable
from services.runtime.outbound import Outbound


async def ask(
    outbound: Outbound,
    url: str,
    body: bytes,
    *,
    what: str,
    code: str,
    content_type: str,
    accept: str,
    timeout: float,
    limit: int,
) -> tuple[bytes, str]:
    """The body and media type of what is answered to a request; it may be repeated.

    `timeout` is in seconds, `limit` in octets; `what` names the service in errors.

    Raises:
        Unavailable: it did not answer 200 in time, or said more than `limit`.
    """
    fields = (("Content-Type", content_type), ("Accept", accept), ("Accept-Encoding", "identity"))
    try:
        answer = await outbound.post(url, body, fields, limit=limit, timeout=timeout)
    except Unavailable as fault:
        raise _unavailable(code, f"{fault.found} (the {what})", fault.expected) from fault
    if answer.status != 200:
        raise _unavailable(code, f"HTTP status {answer.status} from the {what}", "200")
    return answer.body, answer.headers.get("content-type", "").split(";")[0].strip().lower()


@dataclass(frozen=True)
class Copy:
    """A body and how its server names this state of it (RFC 9110 clause 8.8)."""

    body: bytes
    etag: str = ""
    modified: str = ""


async def fetch_if_changed(
    outbound: Outbound, url: str, held: Copy | None, *, what: str, code: str, timeout: float, limit: int
) -> Copy:
    """The body as it is now: the copy we hold where the server says that it has not changed (RFC 9110 clause 13).

    Raises:
        Unavailable: as `fetch`.
    """
    headers: dict[str, str] = {}
    if held is not None and held.etag:
        headers["If-None-Match"] = held.etag
    elif held is not None and held.modified:
        headers["If-Modified-Since"] = held.modified
    try:
        answer = await outbound.call("GET", url, headers=headers, limit=limit, timeout=timeout)
    except Unavailable as fault:
        raise _unavailable(code, f"{fault.found} (the {what})", fault.expected) from fault
    if answer.status == 304 and held is not None and headers:
        return held
    if answer.status != 200:
        raise _unavailable(code, f"HTTP status {answer.status} from the {what}", "200")
    return Copy(answer.body, answer.headers.get("etag", "")[:200], answer.headers.get("last-modified", "")[:60])


def _unavailable(code: str, found: str, expected: str) -> Unavailable:
    return Unavailable(code, found=found, expected=expected, remedy="nothing was released; it is tried again")
