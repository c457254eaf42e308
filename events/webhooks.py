"""Standard Webhooks 1.0: sign what is sent, verify what is received."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from datetime import datetime

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events.errors import Refused


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random octets in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def headers_for(secret: str, message: str, moment: datetime, body: bytes) -> dict[str, str]:
    """The three headers that go with `body`. `message` is the constant `webhook-id` of every attempt."""
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, moment, body.decode()),
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
