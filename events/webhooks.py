"""Standard Webhooks 1.0: sign what is sent, verify what is received."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_bytes

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events.errors import Refused


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random octets in base64."""
    return "whsec_" + base64.b64encode(token_bytes(32)).decode()


def headers_for(secrets: Sequence[str], message: str, moment: datetime, body: bytes) -> dict[str, str]:
    """The three headers that go with `body`: one signature by each secret, so that a secret can be replaced in peace.

    `message` is the constant `webhook-id` of every attempt.
    """
    # In UTC, because the library drops the offset instead of converting.
    at = moment.astimezone(UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message, at, body.decode()) for secret in secrets),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """Check a received webhook: signature by `secret`, timestamp within five minutes.

    Raises:
        Refused: the signature or the timestamp is not good; the message must be thrown away.
    """
    try:
        Webhook(secret).verify(body, dict(headers))
    except (WebhookVerificationError, ValueError) as fault:
        raise Refused(
            "webhook-signature-invalid",
            found="a webhook whose signature or timestamp does not verify",
            expected="the three webhook headers, made with the shared secret at most 5 minutes ago",
            remedy="answer 401 and check the secret",
            status=401,
        ) from fault
