"""The three ways a step can fail; each knows what was found, what was expected and what to do.

`Refused` is a decision (a fact or a 4xx, never retried), `Unavailable` is a wait (retried), `Malformed` cannot be
understood (dead letter). They are mapped once at the bus and once at the HTTP edge (RFC 9457).
"""

from __future__ import annotations

OWN_DATABASE = "database-unavailable"
"""Code of the `Unavailable` that says that our own database does not answer: it passes, and no event is to blame."""


class AntinError(Exception):
    """What all three share.

    `code` is a stable kebab-case name, `found` and `expected` are for people, `remedy` says what to do next. None of
    them may carry personal data, keys or tokens: they reach logs, events and HTTP answers.
    """

    def __init__(self, code: str, *, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"{code}: found {found}; expected {expected}; {remedy}")
        self.code = code
        self.found = found
        self.expected = expected
        self.remedy = remedy


class Refused(AntinError):
    """A rule says no. Nothing has changed; trying the same again gives the same answer.

    `status` is the HTTP status at the edge: 400, 401, 403, 404, 406, 408, 409, 410, 413, 415, 422 or 429; with the last
    one `retry_after` says, in seconds, when to come back.
    """

    def __init__(
        self,
        code: str,
        *,
        found: str,
        expected: str,
        remedy: str,
        status: int = 422,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, found=found, expected=expected, remedy=remedy)
        self.status = status
        self.retry_after = retry_after


class Unavailable(AntinError):
    """Something outside is down, slow or answers nonsense. Nothing has changed; the same may succeed later."""

    def __init__(self, code: str, *, found: str, expected: str, remedy: str, retry_after: float | None = None) -> None:
        super().__init__(code, found=found, expected=expected, remedy=remedy)
        self.retry_after = retry_after


class Malformed(AntinError):
    """The input is not of its form, now or ever."""
