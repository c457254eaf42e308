"""Strings that mean something, as types that check themselves."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class Name(str):
    """A string of one fixed form. Subclasses give the form and say in words what is expected.

    Raises ValueError when the text is not of the form; the message never repeats the text, which may be private.
    """

    __slots__ = ()

    form: ClassVar[re.Pattern[str]] = re.compile(r".+", re.DOTALL)
    expected: ClassVar[str] = "a text"

    def __new__(cls, text: str) -> Self:
        if not cls.form.fullmatch(text):
            raise ValueError(f"{cls.__name__}: found a text of {len(text)} characters that is not {cls.expected}")
        return super().__new__(cls, text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def build(text: str) -> Name:
            try:
                return cls(text)
            except ValueError as fault:
                raise PydanticCustomError("form", "expected {expected}", {"expected": cls.expected}) from fault

        return core_schema.no_info_after_validator_function(
            build, core_schema.str_schema(max_length=256), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{cls.form.pattern}$", "description": cls.expected}


class Digest(Name):
    """SHA-256 of some bytes, as `sha256:` and 64 lower-case hex digits. Blobs are fetched by it."""

    form = re.compile(r"sha256:[0-9a-f]{64}")
    expected = "sha256: and 64 lower-case hexadecimal digits"

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of `data`."""
        return cls.from_raw(hashlib.sha256(data).digest())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """The digest that these 32 octets are.

        Raises:
            ValueError: not 32 octets.
        """
        if len(raw) != 32:
            raise ValueError(f"{cls.__name__}: found {len(raw)} octets instead of the 32 of SHA-256")
        # It is of the form as it is made: to read it back would cost as much again.
        return str.__new__(cls, "sha256:" + raw.hex())

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits alone."""
        return self[7:]

    @property
    def raw(self) -> bytes:
        """The 32 octets."""
        return bytes.fromhex(self[7:])

    @property
    def short(self) -> str:
        """The first 8 hexadecimal digits, for people to compare."""
        return self[7:15]


class IdentityId(Name):
    """Pairwise pseudonym of a citizen or an organisation: 52 characters of lower-case base32 (an HMAC-SHA256).

    It stands for the holder on the bus, so that no personal number ever has to travel (Law 91/2025/QH15).
    """

    form = re.compile(r"[a-z2-7]{52}")
    expected = "a pseudonym of 52 lower-case base32 characters"


class Uuid(Name):
    """A UUID in its canonical lower-case form (RFC 9562)."""

    form = re.compile(_UUID)
    expected = "a UUID in lower case"


class EventId(Uuid):
    """Names one event; with its source it is unique (CloudEvents 1.0.2)."""


class ContractId(Uuid):
    """Names one contract."""


class ApplicationId(Uuid):
    """Names one application for a certificate."""


class CredentialId(Uuid):
    """Names one signing credential, a key and the certificate bound to it (CSC API v2, credentialID)."""


class SubscriptionId(Uuid):
    """Names one webhook subscription."""


class Slot(Name):
    """One place for one signature in a contract, named by the drafter: `outgoing-buyer`."""

    form = re.compile(r"[a-z][a-z0-9-]{0,39}")
    expected = "1 to 40 lower-case letters, digits and hyphens, a letter first"


class Code(Name):
    """A stable kebab-case name of a reason."""

    form = re.compile(r"[a-z][a-z0-9-]{0,63}")
    expected = "1 to 64 lower-case letters, digits and hyphens, a letter first"


class SubjectKind(StrEnum):
    """Whom an e-identity belongs to (Decree 69/2024/ND-CP Art 7, 12)."""

    CITIZEN = "citizen"
    ORGANISATION = "organisation"


class BaselineLevel(StrEnum):
    """PAdES baseline levels (ETSI EN 319 142-1 clause 6)."""

    B = "PAdES-BASELINE-B"
    T = "PAdES-BASELINE-T"
    LT = "PAdES-BASELINE-LT"
    LTA = "PAdES-BASELINE-LTA"


class KeyAlgorithm(StrEnum):
    """Key types and padding that may sign (Circular 15/2025/TT-BKHCN App. I)."""

    RSA_3072_PSS = "rsa-3072-pss"
    RSA_3072_PKCS1 = "rsa-3072-pkcs1"
    P256 = "p-256"


class CertificateProfile(StrEnum):
    """Whom a certificate names: a person, an organisation (its e-seal), or a person within an organisation."""

    NATURAL = "natural"
    ORGANISATION = "organisation"
    NATURAL_IN_ORGANISATION = "natural-in-organisation"
