"""One bounded HTTP request to a CA or a timestamp authority: a time limit, a size limit, no redirects."""

from __future__ import annotations

import asyncio

import aiohttp

from events.errors import Unavailable


async def fetch(
    session: aiohttp.ClientSession,
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
        async with (
            asyncio.timeout(timeout),
            session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise _unavailable(code, f"HTTP status {answer.status} from the {what}", "200")
            parts: list[bytes] = []
            size = 0
            async for part in answer.content.iter_chunked(65536):
                size += len(part)
                if size > limit:
                    raise _unavailable(code, f"more than {limit} octets from the {what}", f"at most {limit}")
                parts.append(part)
            return b"".join(parts), answer.content_type
    except TimeoutError as fault:
        raise _unavailable(code, f"no answer of the {what} within {timeout:g} s", "an answer in time") from fault
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        raise _unavailable(code, f"no connection to the {what} ({type(fault).__name__})", "an answer") from fault


def _unavailable(code: str, found: str, expected: str) -> Unavailable:
    return Unavailable(code, found=found, expected=expected, remedy="nothing was signed; it is tried again")
