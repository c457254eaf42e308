"""The e-identity authority as a toy: verifies, updates, locks, unlocks and ends identities, signs every event.

Events are CloudEvents with a detached JWS (RFC 7515 appendix F) over their RFC 8785 form, with a sequence per subject;
they are kept until the intake has accepted them. Activations are compact JWS, five minutes at most.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import rfc8785
from joserfc import jwe, jws
from joserfc.jwk import ECKey, KeySet

from events.errors import Refused

CONSENT_TEXT = b"I agree that my verified identity is used to issue a certificate for digital signatures."
LIFE = timedelta(seconds=300)


class Authority:
    """Keeps identities and their events in a folder; the same after a restart."""

    def __init__(self, folder: Path, issuer: str, clock: Callable[[], datetime]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.issuer = issuer
        self.intake: str | None = None
        self._clock = clock
        self._books = sqlite3.connect(folder / "authority.db", isolation_level=None, check_same_thread=False)
        self._books.executescript(
            """PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
            CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT);
            CREATE TABLE IF NOT EXISTS subjects (subject TEXT PRIMARY KEY, kind TEXT, data TEXT, sequence INTEGER);
            CREATE TABLE IF NOT EXISTS events (n INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT, sequence INTEGER,
              body BLOB, accepted INTEGER DEFAULT 0, answer TEXT);"""
        )
        self._key = ECKey.import_key(json.loads(self._secret("signing-key", _new_key)))
        self._pepper = bytes.fromhex(self._secret("pepper", lambda: secrets.token_hex(32)))
        self._lock = asyncio.Lock()

    def close(self) -> None:
        """Close the books."""
        self._books.close()

    def _secret(self, name: str, make: Callable[[], str]) -> str:
        self._books.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, make()))
        return str(self._books.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()[0])

    @property
    def recipient(self) -> dict[str, Any] | None:
        """The public key to which personal data are encrypted."""
        row = self._books.execute("SELECT value FROM secrets WHERE name = 'recipient'").fetchone()
        return json.loads(row[0]) if row else None

    @recipient.setter
    def recipient(self, jwk: dict[str, Any]) -> None:
        self._books.execute("INSERT OR REPLACE INTO secrets VALUES ('recipient', ?)", (json.dumps(jwk),))

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        return dict(KeySet([self._key]).as_dict(private=False))

    def pseudonym(self, kind: str, identifier: str) -> str:
        """The pairwise pseudonym: base32 of an HMAC-SHA256 under the relying party's own key."""
        prefix = "IDC|" if kind == "citizen" else "ORG|"
        digest = hmac.digest(self._pepper, (prefix + identifier).encode(), "sha256")
        return base64.b32encode(digest).decode().rstrip("=").lower()

    # --- life of identities; each returns the pseudonym or the signed event

    def verify_citizen(
        self,
        number: str,
        full_name: str,
        *,
        account_level: int = 2,
        auth_level: int = 3,
        consent: bool = True,
        **more: Any,
    ) -> dict[str, Any]:
        """The citizen authenticated: `vn.eid.identity.verified.v1`."""
        subject = self._know("citizen", number, {"number": number, "full_name": full_name})
        data = self._levels("citizen", account_level, auth_level, consent) | self._encrypted(number, full_name) | more
        return self._say(subject, "identity.verified", data)

    def update_citizen(self, subject: str, full_name: str, *, account_level: int = 2) -> dict[str, Any]:
        """The name was corrected: `vn.eid.identity.updated.v1`."""
        known = self._data(subject)
        self._know("citizen", known["number"], known | {"full_name": full_name})
        data = self._levels("citizen", account_level, 3, True) | self._encrypted(known["number"], full_name)
        return self._say(subject, "identity.updated", data | {"reason_code": "name-corrected"})

    def lock(self, subject: str, reason: str = "holder-request") -> dict[str, Any]:
        """`vn.eid.identity.locked.v1` (Decree 69/2024/ND-CP)."""
        return self._say(subject, "identity.locked", {"status": "locked", "reason_code": reason})

    def unlock(self, subject: str, reason: str = "ground-ended") -> dict[str, Any]:
        """`vn.eid.identity.unlocked.v1`."""
        return self._say(subject, "identity.unlocked", {"status": "active", "reason_code": reason})

    def end(self, subject: str, reason: str = "deceased") -> dict[str, Any]:
        """`vn.eid.identity.ended.v1`."""
        return self._say(subject, "identity.ended", {"status": "ended", "reason_code": reason})

    def withdraw_consent(self, subject: str, consent: str) -> dict[str, Any]:
        """`vn.eid.consent.withdrawn.v1`."""
        return self._say(subject, "consent.withdrawn", {"consent": {"id": consent}})

    def verify_organisation(
        self, tax_code: str, name: str, representative: str, *, account_level: int = 2, auth_level: int = 3, **more: Any
    ) -> dict[str, Any]:
        """The organisation authenticated through its representative: `vn.eid.org.verified.v1`."""
        subject = self._know("organisation", tax_code, {"tax_code": tax_code, "name": name})
        data = self._levels("organisation", account_level, auth_level, True)
        data["org"] = self._org(tax_code, name, representative)
        return self._say(subject, "org.verified", data | more)

    def change_representative(self, subject: str, representative: str) -> dict[str, Any]:
        """`vn.eid.org.representative_changed.v1`."""
        known = self._data(subject)
        data = {"subject_kind": "organisation", "org": self._org(known["tax_code"], known["name"], representative)}
        return self._say(subject, "org.representative_changed", data | {"reason_code": "representative-changed"})

    def dissolve(self, subject: str, reason: str = "dissolved") -> dict[str, Any]:
        """`vn.eid.org.dissolved.v1`."""
        return self._say(subject, "org.dissolved", {"status": reason, "reason_code": reason})

    def step_up(
        self, subject: str, purpose: str, digest: str, txn: str, *, auth_level: int = 3, act_for: str | None = None
    ) -> str:
        """An activation: the holder approved this digest for this transaction on a phone.

        Raises:
            Refused: nobody known here.
        """
        self._data(subject)
        now = int(self._clock().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": "antin",
            "sub": subject,
            "iat": now,
            "exp": now + int(LIFE.total_seconds()),
            "jti": str(uuid.uuid4()),
            "account_level": 2,
            "auth_level": auth_level,
            "amr": ["pin", "hwk", "face"][: max(1, auth_level)],
            "purpose": purpose,
            "digest": digest,
            "txn": txn,
        }
        if act_for is not None:
            claims["act_for"] = act_for
        return self._sign(json.dumps(claims).encode(), "sad+jwt")

    # --- delivery

    def events(self, subject: str, after: int = 0) -> list[dict[str, Any]]:
        """The signed events of a subject with a sequence above `after`, for redelivery."""
        rows = self._books.execute(
            "SELECT body FROM events WHERE subject = ? AND sequence > ? ORDER BY sequence", (subject, after)
        )
        return [json.loads(row[0]) for row in rows]

    async def deliver(self, session: aiohttp.ClientSession) -> int:
        """Push what was not accepted yet, in order; returns how many are left for another time."""
        if self.intake is None:
            return 0
        async with self._lock:
            rows = self._books.execute("SELECT n, subject, body FROM events WHERE accepted = 0 ORDER BY n").fetchall()
            left, blocked = 0, set()
            for n, subject, body in rows:
                if subject in blocked:
                    left += 1
                    continue
                headers = {"Content-Type": "application/cloudevents+json"}
                try:
                    async with session.post(f"{self.intake}/v1/identity-events", data=body, headers=headers) as reply:
                        status, text = reply.status, (await reply.text())[:2000]
                except (aiohttp.ClientError, TimeoutError, OSError):
                    status, text = 0, ""
                final = status in (200, 202) or (400 <= status < 500 and status != 429)
                self._books.execute(
                    "UPDATE events SET accepted = ?, answer = ? WHERE n = ?", (int(final), f"{status} {text}", n)
                )
                if not final:
                    blocked.add(subject)
                    left += 1
            return left

    def answer(self, event: str) -> str | None:
        """What the intake said to an event, by its id."""
        rows = self._books.execute("SELECT body, answer FROM events").fetchall()
        return next((answer for body, answer in rows if json.loads(body)["id"] == event), None)

    # --- inside

    def _know(self, kind: str, identifier: str, data: dict[str, Any]) -> str:
        subject = self.pseudonym(kind, identifier)
        self._books.execute(
            "INSERT INTO subjects VALUES (?, ?, ?, 0) ON CONFLICT (subject) DO UPDATE SET data = excluded.data",
            (subject, kind, json.dumps(data)),
        )
        return subject

    def _data(self, subject: str) -> dict[str, Any]:
        row = self._books.execute("SELECT data FROM subjects WHERE subject = ?", (subject,)).fetchone()
        if row is None:
            raise Refused(
                "subject-unknown",
                found="an unknown pseudonym",
                expected="one of ours",
                remedy="verify first",
                status=404,
            )
        return dict(json.loads(row[0]))

    def _levels(self, kind: str, account_level: int, auth_level: int, consent: bool) -> dict[str, Any]:
        now = self._clock().astimezone(UTC)
        found: dict[str, Any] = {
            "subject_kind": kind,
            "account_level": account_level,
            "auth_level": auth_level,
            "amr": ["pin", "hwk", "face"][:auth_level],
            "verified_at": _time(now),
            "valid_until": _time(now + timedelta(days=365)),
            "transaction_id": str(uuid.uuid4()),
            "nonce": secrets.token_urlsafe(16),
            "evidence": {
                "ref": f"urn:uuid:{uuid.uuid4()}",
                "sha256": hashlib.sha256(secrets.token_bytes(16)).hexdigest(),
                "format": "vn_eid",
            },
            "status": "active",
            "effective_at": _time(now),
        }
        if consent:
            found["consent"] = {
                "id": str(uuid.uuid4()),
                "purpose": "certificate-issuance",
                "scope": ["number", "full_name"],
                "text_sha256": hashlib.sha256(CONSENT_TEXT).hexdigest(),
                "obtained_at": _time(now),
                "expires_at": _time(now + timedelta(days=365)),
            }
        return found

    def _org(self, tax_code: str, name: str, representative: str) -> dict[str, Any]:
        return {
            "tax_code": tax_code,
            "name": name,
            "representative": representative,
            "role": "legal-representative",
            "authority_ref": f"urn:uuid:{uuid.uuid4()}",
            "authority_expires_at": _time(self._clock().astimezone(UTC) + timedelta(days=365)),
        }

    def _encrypted(self, number: str, full_name: str) -> dict[str, Any]:
        recipient = self.recipient
        if recipient is None:
            raise Refused(
                "no-recipient",
                found="no key to encrypt personal data to",
                expected="the relying party's public JWK",
                remedy="set it first",
                status=409,
            )
        plain = rfc8785.dumps({"number": number, "full_name": full_name, "salt": secrets.token_urlsafe(16)})
        header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": recipient.get("kid")}
        token = jwe.encrypt_compact(
            header, plain, ECKey.import_key(recipient), algorithms=["ECDH-ES+A256KW", "A256GCM"]
        )
        return {"identifier_enc": token, "identifier_commitment": "sha256:" + hashlib.sha256(plain).hexdigest()}

    def _say(self, subject: str, what: str, data: dict[str, Any]) -> dict[str, Any]:
        self._data(subject)
        query = "SELECT kind, sequence FROM subjects WHERE subject = ?"
        kind, last = self._books.execute(query, (subject,)).fetchone()
        now = self._clock().astimezone(UTC)
        sequence = int(last) + 1
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": self.issuer,
            "type": f"vn.eid.{what}.v1",
            "subject": subject,
            "time": _time(now),
            "datacontenttype": "application/json",
            "dataschema": f"urn:vn-eid:{what}:v1",
            "partitionkey": subject,
            "sequence": str(sequence),
            "data": {"subject_kind": kind, "effective_at": _time(now)} | data,
        }
        event["proof"] = self._detached(rfc8785.dumps(event))
        body = json.dumps(event, ensure_ascii=False).encode()
        self._books.execute("BEGIN IMMEDIATE")
        self._books.execute("UPDATE subjects SET sequence = ? WHERE subject = ?", (sequence, subject))
        self._books.execute("INSERT INTO events (subject, sequence, body) VALUES (?, ?, ?)", (subject, sequence, body))
        self._books.execute("COMMIT")
        return event

    def _sign(self, payload: bytes, typ: str) -> str:
        header = {"alg": "ES256", "kid": self._key.kid, "typ": typ}
        return jws.serialize_compact(header, payload, self._key, algorithms=["ES256"])

    def _detached(self, payload: bytes) -> str:
        head, _, tail = self._sign(payload, "identity-event+jws").split(".")
        return f"{head}..{tail}"


def _new_key() -> str:
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"})
    key.ensure_kid()
    return json.dumps(key.as_dict(private=True))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
