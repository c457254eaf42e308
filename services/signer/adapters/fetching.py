"""One bounded HTTP request to a CA or a timestamp authority: a time limit, a size limit, no redirects."""

from __future__ import annotations

from events.errors import Unavailable
from services.runtime.outbound import Outbound


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
    try:
        answer = await outbound.call(method, url, body=body, headers=headers, limit=limit, timeout=timeout)
    except Unavailable as fault:
        raise _unavailable(code, f"{fault.found} (the {what})", fault.expected) from fault
    if answer.status != 200:
        raise _unavailable(code, f"HTTP status {answer.status} from the {what}", "200")
    named = {name.lower(): value for name, value in answer.headers.items()}
    return answer.body, named.get("content-type", "").split(";")[0].strip().lower()


def _unavailable(code: str, found: str, expected: str) -> Unavailable:
    return Unavailable(code, found=found, expected=expected, remedy="nothing was signed; it is tried again")
