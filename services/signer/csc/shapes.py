"""What the CSC API says and hears. Members that clients of v1 call otherwise are taken by either name; unknown ones are
passed over, as the standard asks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

MOST_HASHES = 100
"""Hashes in one authorization; more documents go by the batch API."""

Hash = Annotated[str, Field(max_length=120, description="base64 of a digest")]
Text = Annotated[str, Field(max_length=2000)]
Word = Annotated[str, Field(max_length=200)]


class Heard(BaseModel):
    """Base of requests."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    client_data: Annotated[Text | None, Field(alias="clientData")] = None


class Said(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)


class Certificates(StrEnum):
    """Which certificates a credential's description brings."""

    NONE = "none"
    SINGLE = "single"
    CHAIN = "chain"


class InfoRequest(Heard):
    """`info`."""

    lang: Word | None = None


class Description(Said):
    """What this service is and can do (CSC API v2.0 clause 11.1)."""

    specs: str
    name: str
    logo: str
    region: str
    lang: str
    description: str
    auth_type: Annotated[list[str], Field(alias="authType")]
    oauth2: str
    asynchronous: Annotated[bool, Field(alias="asynchronousOperationMode")]
    methods: list[str]
    sign_algorithms: Annotated[dict[str, list[str]], Field(alias="signAlgorithms")]
    signature_formats: dict[str, list[Any]]
    conformance_levels: list[str]


class ListRequest(Heard):
    """`credentials/list`. `userID`, the holder's e-identity (a pseudonym), is needed: nobody is told of everybody."""

    user: Annotated[Word | None, Field(alias="userID")] = None
    credential_info: Annotated[bool, Field(alias="credentialInfo")] = False
    certificates: Certificates = Certificates.SINGLE
    cert_info: Annotated[bool, Field(alias="certInfo")] = False
    auth_info: Annotated[bool, Field(alias="authInfo")] = False
    only_valid: Annotated[bool, Field(alias="onlyValid")] = False
    most: Annotated[int, Field(alias="maxResults", ge=1, le=100)] = 50
    page: Annotated[Word | None, Field(alias="pageToken")] = None


class InfoOfCredential(Heard):
    """`credentials/info`."""

    credential: Annotated[Word, Field(alias="credentialID")]
    certificates: Certificates = Certificates.SINGLE
    cert_info: Annotated[bool, Field(alias="certInfo")] = False
    auth_info: Annotated[bool, Field(alias="authInfo")] = False


class KeyInfo(Said):
    """The key of a credential."""

    status: Literal["enabled", "disabled"]
    algo: list[str]
    length: Annotated[int, Field(alias="len")]
    curve: str | None = None


class CertInfo(Said):
    """The certificate of a credential."""

    status: Literal["valid", "expired", "revoked", "suspended"]
    certificates: list[str] | None = None
    issuer: Annotated[str | None, Field(alias="issuerDN")] = None
    serial: Annotated[str | None, Field(alias="serialNumber")] = None
    subject: Annotated[str | None, Field(alias="subjectDN")] = None
    valid_from: Annotated[str | None, Field(alias="validFrom")] = None
    valid_to: Annotated[str | None, Field(alias="validTo")] = None


class AuthObject(Said):
    """What `authData` must bring: the activation that the holder's e-identity authority issued."""

    type: str = "Password"
    id: str = "activation"
    format: str = "A"
    label: str = "Signature activation (JWS of the e-identity authority)"


class AuthInfo(Said):
    """How a credential is authorized."""

    mode: str = "explicit"
    expression: str = "activation"
    objects: list[AuthObject] = [AuthObject()]


class CredentialDescription(Said):
    """A credential (CSC API v2.0 clause 11.5); `authMode`, `PIN` and `OTP` are the names of v1."""

    credential: Annotated[str | None, Field(alias="credentialID")] = None
    description: str
    key: KeyInfo
    cert: CertInfo
    auth: AuthInfo | None = None
    auth_mode: Annotated[str, Field(alias="authMode")] = "explicit"
    otp: Annotated[dict[str, str], Field(alias="OTP")] = {
        "presence": "true",
        "type": "online",
        "ID": "activation",
        "format": "A",
        "label": "Signature activation (JWS of the e-identity authority)",
    }
    scal: Annotated[str, Field(alias="SCAL")] = "2"
    multisign: int = MOST_HASHES


class CredentialList(Said):
    """The holder's credentials."""

    credentials: Annotated[list[str], Field(alias="credentialIDs")]
    infos: Annotated[list[CredentialDescription] | None, Field(alias="credentialInfos")] = None
    only_valid: Annotated[bool | None, Field(alias="onlyValid")] = None
    next_page: Annotated[str | None, Field(alias="nextPageToken")] = None


class AuthData(BaseModel):
    """One proof of the holder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Word
    value: Annotated[str, Field(max_length=16_384)]


class AuthorizeRequest(Heard):
    """`credentials/authorize`: hashes and the activation that approves just these.

    `documents` says that the hashes are those of whole documents, for `signatures/signDoc`.
    """

    credential: Annotated[Word, Field(alias="credentialID")]
    count: Annotated[int, Field(alias="numSignatures", ge=1, le=MOST_HASHES)] = 1
    hashes: Annotated[
        list[Hash], Field(min_length=1, max_length=MOST_HASHES, validation_alias=AliasChoices("hashes", "hash"))
    ]
    hash_algorithm: Annotated[Word | None, Field(validation_alias=AliasChoices("hashAlgorithmOID", "hashAlgo"))] = None
    auth_data: Annotated[list[AuthData], Field(alias="authData", max_length=5)] = []
    otp: Annotated[str | None, Field(alias="OTP", max_length=16_384)] = None
    documents: bool = False


class ExtendRequest(Heard):
    """`credentials/extendTransaction`: another SAD for what the same approval still allows."""

    credential: Annotated[Word, Field(alias="credentialID")]
    hashes: Annotated[list[Hash], Field(max_length=MOST_HASHES, validation_alias=AliasChoices("hashes", "hash"))] = []
    hash_algorithm: Annotated[Word | None, Field(validation_alias=AliasChoices("hashAlgorithmOID", "hashAlgo"))] = None
    sad: Annotated[Word, Field(alias="SAD")]


class Activated(Said):
    """Signature activation data, for one use."""

    sad: Annotated[str, Field(alias="SAD")]
    expires_in: Annotated[int, Field(alias="expiresIn")]


class Mode(StrEnum):
    """Synchronous, or answered by `signatures/signPolling`."""

    SYNCHRONOUS = "S"
    ASYNCHRONOUS = "A"


class SignHashRequest(Heard):
    """`signatures/signHash`."""

    credential: Annotated[Word, Field(alias="credentialID")]
    sad: Annotated[Word | None, Field(alias="SAD")] = None
    hashes: Annotated[
        list[Hash], Field(min_length=1, max_length=MOST_HASHES, validation_alias=AliasChoices("hashes", "hash"))
    ]
    hash_algorithm: Annotated[Word | None, Field(validation_alias=AliasChoices("hashAlgorithmOID", "hashAlgo"))] = None
    algorithm: Annotated[Word, Field(alias="signAlgo")]
    parameters: Annotated[Text | None, Field(alias="signAlgoParams")] = None
    mode: Annotated[Mode, Field(alias="operationMode")] = Mode.SYNCHRONOUS


class Document(BaseModel):
    """One PDF and how to sign it."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    document: Annotated[str, Field(description="base64 of the PDF")]
    format: Annotated[Word, Field(alias="signature_format")]
    level: Annotated[Word, Field(alias="conformance_level")] = "Ades-B-B"
    algorithm: Annotated[Word | None, Field(alias="signAlgo")] = None
    envelope: Annotated[Word, Field(alias="signed_envelope_property")] = "Certification"


class SignDocRequest(Heard):
    """`signatures/signDoc`. The SAD must have been authorized over the documents' own digests."""

    credential: Annotated[Word, Field(alias="credentialID")]
    sad: Annotated[Word | None, Field(alias="SAD")] = None
    documents: Annotated[list[Document], Field(min_length=1, max_length=20)]
    digests: Annotated[list[Any] | None, Field(alias="documentDigests")] = None
    mode: Annotated[Mode, Field(alias="operationMode")] = Mode.SYNCHRONOUS


class Signed(Said):
    """Signatures, signed documents, or the id to poll with."""

    signatures: list[str] | None = None
    documents: Annotated[list[str] | None, Field(alias="DocumentWithSignature")] = None
    response: Annotated[str | None, Field(alias="responseID")] = None


class PollRequest(Heard):
    """`signatures/signPolling`."""

    response: Annotated[Word, Field(alias="responseID", pattern=r"^[^\x00]*$")]


class TimestampRequest(Heard):
    """`signatures/timestamp`."""

    digest: Annotated[Hash, Field(alias="hash")]
    hash_algorithm: Annotated[Word, Field(validation_alias=AliasChoices("hashAlgo", "hashAlgorithmOID"))]


class Timestamped(Said):
    """An RFC 3161 token, base64."""

    timestamp: str


class TokenAnswer(Said):
    """`oauth2/token` (RFC 6749 clause 5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    credential: Annotated[str | None, Field(alias="credentialID")] = None


class Metadata(Said):
    """Authorization server metadata (RFC 8414 clause 2; RFC 9207 clause 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    code_challenge_methods_supported: list[str]
    ui_locales_supported: list[str]
    authorization_response_iss_parameter_supported: bool


class Fault(Said):
    """An error in the API's own form (CSC API v2.0 clause 10.1)."""

    error: str
    error_description: str


class AuthorizeQuery(BaseModel):
    """`oauth2/authorize` for the credential scope (CSC API v2.0 clause 8.4.2; RFC 7636 PKCE with S256)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    response_type: Literal["code"]
    client_id: Word
    redirect_uri: Annotated[str, Field(max_length=1000)]
    scope: Literal["credential"] = "credential"
    code_challenge: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    code_challenge_method: Literal["S256"] = "S256"
    state: Annotated[str | None, Field(max_length=500)] = None
    lang: Literal["vi", "en"] | None = None
    credentialID: Word
    numSignatures: Annotated[int, Field(ge=1, le=MOST_HASHES)] = 1
    hashes: Annotated[str, Field(max_length=12_000, description="base64url or base64, separated by commas")]
    hashAlgorithmOID: Word | None = None
    description: Annotated[str | None, Field(max_length=500)] = None
    documents: bool = False
