"""Opens the personal data that the authority encrypted to us (RFC 7516), for the length of one CA call."""

from __future__ import annotations

import hashlib
import json

import rfc8785
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from events.errors import Refused
from services.ca_bridge.intake import Identity
from services.ca_bridge.ports import Person

_ALGORITHMS = ["ECDH-ES+A256KW", "A256GCM"]


class JweSafe:
    """`Safe` with a private JWK."""

    def __init__(self, private_jwk: str) -> None:
        self._key = ECKey.import_key(json.loads(private_jwk))

    def open(self, identity: Identity) -> Person:
        """The person, checked against the commitment.

        Raises:
            Refused: it cannot be opened or does not agree with its commitment.
        """
        try:
            plain = jwe.decrypt_compact(identity.identifier_enc or "", self._key, algorithms=_ALGORITHMS).plaintext
            found = json.loads(plain or b"")
            number, full_name = str(found["number"]), str(found["full_name"])
            commitment = "sha256:" + hashlib.sha256(rfc8785.dumps(found)).hexdigest()
        except (JoseError, ValueError, KeyError, TypeError) as fault:
            raise _refused("an identifier that cannot be opened") from fault
        if commitment != identity.identifier_commitment:
            raise _refused("an identifier that does not agree with its commitment")
        return Person(number, full_name)


def _refused(found: str) -> Refused:
    return Refused(
        "identifier-unreadable",
        found=found,
        expected="a JWE to our published key, and its SHA-256 over the RFC 8785 form",
        remedy="the authority must send the identity again",
    )
