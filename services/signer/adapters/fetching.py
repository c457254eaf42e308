"""One bounded HTTP request to a CA or a timestamp authority: a time limit, a size limit, no redirects."""

from __future__ import annotations

from dataclasses import dataclass

from events.errors import Unavailable
from services.runtime.outbound import Answer, Outbound


async def fetch(
    outbound: Outbound,
    method: str,
    url: str,
    *,
    what: str,
    code: str,
    body: bytes | None = None,
    content_type: str | None = None,
    accept: str | None = None,
    timeout: float,
    limit: int,
) -> tuple[bytes, str]:
    """The answer's body and media type. `timeout` is in seconds, `limit` in octets; `what` names the service in errors.

    Raises:
        Unavailable: it did not answer 200 in time, or said more than `limit`.
    """
    headers: dict[str, str] = {}
    if content_type:
        headers["Content-Type"] = content_type
    if accept:
        headers["Accept"] = accept
    answer = await _call(outbound, method, url, headers, what=what, code=code, body=body, timeout=timeout, limit=limit)
    if answer.status != 200:
        raise _unavailable(code, f"HTTP status {answer.status} from the {what}", "200")
    return answer.body, _header(answer, "content-type").split(";")[0].strip().lower()


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
    answer = await _call(outbound, "GET", url, headers, what=what, code=code, body=None, timeout=timeout, limit=limit)
    if answer.status == 304 and held is not None and headers:
        return held
    if answer.status != 200:
        raise _unavailable(code, f"HTTP status {answer.status} from the {what}", "200")
    return Copy(answer.body, _header(answer, "etag")[:200], _header(answer, "last-modified")[:60])


async def _call(
    outbound: Outbound,
    method: str,
    url: str,
    headers: dict[str, str],
    *,
    what: str,
    code: str,
    body: bytes | None,
    timeout: float,
    limit: int,
) -> Answer:
    try:
        return await outbound.call(method, url, body=body, headers=headers, limit=limit, timeout=timeout)
    except Unavailable as fault:
        raise _unavailable(code, f"{fault.found} (the {what})", fault.expected) from fault


def _header(answer: Answer, name: str) -> str:
    return next((value for found, value in answer.headers.items() if found.lower() == name), "")


def _unavailable(code: str, found: str, expected: str) -> Unavailable:
    return Unavailable(code, found=found, expected=expected, remedy="nothing was signed; it is tried again")
