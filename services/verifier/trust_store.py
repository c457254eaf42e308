"""The named anchor sets that signatures and timestamps must lead to: read from folders, held to purpose and time.

A set is a folder: certificates (PEM, several a file, or DER) and `set.json` with its kind and label. A set that comes
from a URL keeps what was last fetched and checked in `fetched.json`, with the time. A trust folder holds sets, each in
a folder of its name; a plain folder of certificates is one set. Circular 15/2025/TT-BKHCN Art 5 (S5, S12), Art 6 (V2).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from events.errors import Refused
from services.runtime import certificates

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
SUFFIXES = (".pem", ".crt", ".cer", ".der")
SETTINGS = "set.json"
FETCHED = "fetched.json"
FOLDER = "trust"
"""Name of the trust folder inside a data folder."""
LARGEST_FILE = 4 << 20
MOST_CERTIFICATES = 5_000


M = TypeVar("M", bound=BaseModel)


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


Base64 = Annotated[str, AfterValidator(_base64)]
"""Octets in base64 (RFC 4648 clause 4)."""


class Kind(StrEnum):
    """Whose hierarchy a set is."""

    PUBLIC = "public"
    """Public CAs of Vietnam: national root and below (Decree 23/2025/ND-CP)."""
    GOVERNMENT = "government"
    """The specialised public-duty hierarchy (Decree 68/2024/ND-CP)."""
    FOREIGN = "foreign"
    """Recognised from abroad, as a trusted list says (ETSI TS 119 612)."""
    OWN = "own"
    """What this operator trusts by its own decision."""
    LAB = "lab"
    """A toy hierarchy, without any legal effect."""


class Purpose(StrEnum):
    """What a path may end in this anchor for."""

    SIGNATURES = "signatures"
    TIMESTAMPS = "timestamps"


ANY = (Purpose.SIGNATURES, Purpose.TIMESTAMPS)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Strict):
    """A stretch of time in which a service had a granted status: from `start` until before `end`."""

    start: AwareDatetime
    end: AwareDatetime | None = None


class Source(_Strict):
    """Where a set is fetched from, and what makes an answer believable."""

    url: str
    sha256: str | None = None
    """The answer must have this digest (a pinned bundle of certificates), hexadecimal."""
    operators: tuple[Base64, ...] = ()
    """The answer is a trusted list, signed under one of these certificates (DER)."""
    days: Annotated[int, Field(ge=1, le=366)] = 7
    """An answer older than this is not used."""


class SetSettings(_Strict):
    """`set.json`."""

    name: str | None = None
    kind: Kind = Kind.OWN
    label: str = ""
    purposes: dict[str, tuple[Purpose, ...]] = {}
    """By SHA-256 of a certificate, where it serves one purpose only."""
    source: Source | None = None


class FetchedAnchor(_Strict):
    """One certificate of a trusted list or of a pinned bundle."""

    der: Base64
    purposes: tuple[Purpose, ...] = ANY
    service: str | None = None
    granted: tuple[Span, ...] | None = None


class Fetched(_Strict):
    """`fetched.json`: what was last fetched and found good."""

    at: AwareDatetime
    sha256: str
    sequence: int | None = None
    """The trusted list's sequence number."""
    next_update: AwareDatetime | None = None
    anchors: tuple[FetchedAnchor, ...]
    unreadable: int = 0
    """Certificates in it that cannot be read and were left out."""


@dataclass(frozen=True)
class Anchor:
    """A trusted certificate, for a purpose and for some time. The key counts, not the name."""

    der: bytes
    purposes: tuple[Purpose, ...] = ANY
    service: str | None = None
    """The service's name in a trusted list."""
    granted: tuple[Span, ...] | None = None
    """When the service was granted; none: no list limits it."""

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return certificates.from_der(self.der)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the certificate, hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def spki(self) -> str:
        """SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal."""
        key = certificates.key_of(self.certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(key).hexdigest()

    @property
    def subject(self) -> str:
        """The name, RFC 4514."""
        return self.certificate.subject.rfc4514_string()

    @property
    def name(self) -> str:
        """A short name for people: the service's, else the common name or the organisation."""
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME):
            if self.service:
                break
            found = self.certificate.subject.get_attributes_for_oid(kind)
            if found:
                return str(found[0].value)
        return self.service or "?"

    def refusal(self, purpose: Purpose, moment: datetime) -> str | None:
        """Why it does not answer for this purpose at this moment, as a kebab-case name; none when it does."""
        if purpose not in self.purposes:
            return f"anchor-not-for-{purpose.value}"
        if self.granted is None:
            return None
        inside = any(one.start <= moment and (one.end is None or moment < one.end) for one in self.granted)
        return None if inside else "service-not-granted-then"


@dataclass(frozen=True)
class AnchorSet:
    """One named set."""

    name: str
    kind: Kind
    label: str
    anchors: tuple[Anchor, ...]
    source: Source | None = None
    fetched_at: datetime | None = None
    usable_until: datetime | None = None

    def stale(self, now: datetime) -> bool:
        """Whether what was fetched is too old to be used."""
        return self.source is not None and (self.usable_until is None or now > self.usable_until)


@dataclass(frozen=True)
class Answer:
    """Which set answers for an anchor, or why none does."""

    set: AnchorSet
    anchor: Anchor
    refusal: str | None = None


@dataclass(frozen=True)
class Trusted:
    """What one judgement trusts. Sets that are stale are named and not used."""

    sets: tuple[AnchorSet, ...] = ()
    stale: tuple[str, ...] = ()

    @cached_property
    def anchors(self) -> tuple[bytes, ...]:
        """Every trusted certificate (DER), each once."""
        return tuple(dict.fromkeys(anchor.der for one in self.sets for anchor in one.anchors))

    def answer(self, sha256: str, purpose: Purpose, moment: datetime) -> Answer | None:
        """Who answers for the anchor with this digest: any set with its key, the first that does not refuse.

        The same key may stand in several sets and in several certificates: it is looked up by key, never by name.
        None when no set holds it.
        """
        pairs = [(one, anchor) for one in self.sets for anchor in one.anchors]
        keys = {anchor.spki for _, anchor in pairs if anchor.sha256 == sha256}
        found = [Answer(one, anchor, anchor.refusal(purpose, moment)) for one, anchor in pairs if anchor.spki in keys]
        return next((one for one in found if one.refusal is None), found[0] if found else None)


def trusted(sets: Iterable[AnchorSet], now: datetime) -> Trusted:
    """The sets that may be used now; the stale ones only by name."""
    every = tuple(sets)
    return Trusted(
        tuple(one for one in every if not one.stale(now)), tuple(one.name for one in every if one.stale(now))
    )


def trust_folder(place: Path) -> Path:
    """The folder of sets that `place` means: a data folder's `trust`, or `place` itself."""
    inner = place / FOLDER
    return inner if inner.is_dir() else place


def read_sets(place: Path, names: Sequence[str] = ()) -> tuple[AnchorSet, ...]:
    """The sets below a data folder or a trust folder; with `names` only these.

    Raises:
        Refused: no such folder or set, or one that cannot be read (the file is named).
    """
    folder = trust_folder(place)
    if not folder.is_dir():
        raise _refused(f"no folder {folder}", "a trust folder, or a data folder with one", "antin trust add makes one")
    if any(each.suffix.lower() in SUFFIXES for each in folder.iterdir()):
        found: tuple[AnchorSet, ...] = (read_set(folder),)
    else:
        inner = sorted(each for each in folder.iterdir() if each.is_dir() and NAME.fullmatch(each.name))
        found = tuple(read_set(each) for each in inner)
    missing = [name for name in names if name not in {one.name for one in found}]
    if missing:
        known = ", ".join(one.name for one in found) or "none"
        raise _refused(f"no set {', '.join(missing)} in {folder}", f"one of: {known}", "see antin trust list")
    return tuple(one for one in found if not names or one.name in names)


def read_set(folder: Path) -> AnchorSet:
    """One set.

    Raises:
        Refused: something in it cannot be read; the file is named.
    """
    settings = read_settings(folder)
    fetched = read_fetched(folder)
    anchors: dict[str, Anchor] = {}
    for der in read_certificates(folder, needed=False):
        digest = hashlib.sha256(der).hexdigest()
        anchors.setdefault(digest, Anchor(der, settings.purposes.get(digest, ANY)))
    found = list(anchors.values())
    until = None
    if settings.source is not None and fetched is not None:
        # A trusted list may name one certificate for several services, each with its own status history.
        found += [
            Anchor(_certificate(base64.b64decode(one.der), folder / FETCHED), one.purposes, one.service, one.granted)
            for one in fetched.anchors
        ]
        until = fetched.at + timedelta(days=settings.source.days)
        if fetched.next_update is not None:
            until = min(until, fetched.next_update)
    name = settings.name or (folder.name if NAME.fullmatch(folder.name) else "anchors")
    return AnchorSet(
        name,
        settings.kind,
        settings.label or name,
        tuple(found),
        settings.source,
        fetched.at if fetched else None,
        until,
    )


def read_settings(folder: Path) -> SetSettings:
    """What `set.json` says; a folder without one is a set of the kind `own`."""
    place = folder / SETTINGS
    return _json(place, SetSettings) if place.exists() else SetSettings()


def read_fetched(folder: Path) -> Fetched | None:
    """What `fetched.json` says; none where nothing was fetched yet."""
    place = folder / FETCHED
    return _json(place, Fetched) if place.exists() else None


def plain_set(place: Path) -> AnchorSet:
    """A folder of certificates, or one file, as a set.

    Raises:
        Refused: nothing there, or a file that holds no certificate.
    """
    if place.is_dir():
        found = read_set(place)
        if not found.anchors:
            raise _refused(
                f"{place}, which holds no certificate", f"{', '.join(SUFFIXES)} files", "name another folder"
            )
        return found
    ders = read_certificates(place)
    return AnchorSet("anchors", Kind.OWN, place.name, tuple(Anchor(der) for der in ders))


def read_certificates(place: Path, *, needed: bool = True) -> tuple[bytes, ...]:
    """The certificates (DER) in a folder or a file, PEM or DER, each once.

    Raises:
        Refused: nothing there (if `needed`), or a file that holds no certificate; the file is named.
    """
    if place.is_dir():
        files = sorted(each for each in place.iterdir() if each.is_file() and each.suffix.lower() in SUFFIXES)
    elif place.is_file():
        files = [place]
    else:
        raise _refused(f"no folder or file {place}", "root certificates, PEM or DER", "check the path")
    found: dict[bytes, None] = {}
    for each in files:
        if each.stat().st_size > LARGEST_FILE:
            raise _refused(f"{each} of more than {LARGEST_FILE} bytes", "a smaller file", "split it")
        found.update(dict.fromkeys(certificates_in(each.read_bytes(), each)))
    if needed and not found:
        raise _refused(f"{place}, which holds no certificate", f"{', '.join(SUFFIXES)} files", "name another folder")
    if len(found) > MOST_CERTIFICATES:
        raise _refused(f"{len(found)} certificates in {place}", f"at most {MOST_CERTIFICATES}", "name fewer")
    return tuple(found)


def certificates_in(raw: bytes, place: Path | str) -> list[bytes]:
    """The certificates (DER) in one file's octets. `place` names it in errors.

    Raises:
        Refused: it holds none, or one whose key cannot be read.
    """
    try:
        found = certificates.all_in(raw)
    except ValueError as fault:
        raise _junk(place) from fault
    return [_certificate(one.public_bytes(Encoding.DER), place) for one in found]


def _certificate(der: bytes, place: Path | str) -> bytes:
    try:
        Anchor(der).spki  # noqa: B018 - an anchor whose key cannot be read can never be found again
    except ValueError as fault:
        raise _junk(place) from fault
    return der


def write_settings(folder: Path, settings: SetSettings) -> None:
    """Keep `set.json`, whole or not at all."""
    _write(folder / SETTINGS, settings.model_dump_json(indent=2, exclude_defaults=True))


def write_fetched(folder: Path, fetched: Fetched) -> None:
    """Keep `fetched.json`, whole or not at all."""
    _write(folder / FETCHED, fetched.model_dump_json(indent=1))


def write_certificate(folder: Path, der: bytes) -> Path:
    """Keep one certificate as a PEM file named by its digest."""
    place = folder / f"{hashlib.sha256(der).hexdigest()[:16]}.pem"
    _write(place, Anchor(der).certificate.public_bytes(Encoding.PEM).decode())
    return place


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.new")
    fresh.write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")
    fresh.replace(place)


def _json(place: Path, kind: type[M]) -> M:
    try:
        return kind.model_validate(json.loads(place.read_text(encoding="utf-8")))
    except ValidationError as fault:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in fault.errors(include_input=False, include_url=False)[:5]
        )
        raise _refused(f"{place}, which does not fit ({faults})", "what docs/trust.md says", "correct it") from fault
    except (OSError, ValueError) as fault:
        raise _refused(f"{place}, which is not JSON", "what docs/trust.md says", "correct it") from fault


def _junk(place: Path | str) -> Refused:
    return _refused(
        f"{place}, which holds no certificate that can be read", "certificates, PEM or DER", "take the file away"
    )


def _refused(found: str, expected: str, remedy: str) -> Refused:
    return Refused("anchors-unusable", found=found, expected=expected, remedy=remedy)


def utc(moment: datetime | None) -> str | None:
    """A moment for machines, ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
