"""Reads a trusted list (ETSI TS 119 612): its signature first, then the services in it, each with its status history.

Nothing is taken from the document but what the verified signature covers. No DTD, no entities, no network, bounded
size. Certification services become anchors for signatures, timestamping services for timestamps; whether a
certificate is *qualified* (TS 119 615) is not determined.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lxml import etree  # type: ignore[import-untyped]
from signxml.verifier import SignatureConfiguration, XMLVerifier

from events.errors import Refused
from services.runtime import certificates
from services.verifier.trust_store import FetchedAnchor, Purpose, Span, certificates_in

TSL = "http://uri.etsi.org/02231/v2#"
URIS = "http://uri.etsi.org/TrstSvc/"
LARGEST = 32 << 20
VERSIONS = frozenset({"5", "6"})
"""TSLVersionIdentifier (TS 119 612 clause 5.3.1)."""

_PURPOSES = {
    f"{URIS}Svctype/CA/QC": Purpose.SIGNATURES,
    f"{URIS}Svctype/CA/PKC": Purpose.SIGNATURES,
    f"{URIS}Svctype/TSA/QTST": Purpose.TIMESTAMPS,
    f"{URIS}Svctype/TSA": Purpose.TIMESTAMPS,
    f"{URIS}Svctype/TSA/TSS-QC": Purpose.TIMESTAMPS,
    f"{URIS}Svctype/TSA/TSS-AdESQCandQES": Purpose.TIMESTAMPS,
}
_GRANTED = frozenset(
    f"{URIS}TrustedList/Svcstatus/{name}"
    for name in ("granted", "recognisedatnationallevel", "undersupervision", "accredited", "supervisionincessation")
)
"""TS 119 612 clause 5.5.4; the last three until July 2016."""


@dataclass(frozen=True)
class TrustedList:
    """What a list says."""

    sequence: int
    territory: str
    issued: datetime
    next_update: datetime
    anchors: tuple[FetchedAnchor, ...]
    unreadable: int
    """Certificates in it that cannot be read and were left out."""


def read_trusted_list(body: bytes, operators: Sequence[bytes], now: datetime) -> TrustedList:
    """The list, once its signature by one of the `operators` (DER certificates) is verified.

    Raises:
        Refused: too large, with a DTD, not signed by an operator, of an unknown version, closed, or out of date.
    """
    root = _signed(_parsed(body), operators, now)
    scheme = _child(root, "SchemeInformation")
    version = _text(scheme, "TSLVersionIdentifier")
    if version not in VERSIONS:
        raise _refused("trusted-list-unknown-version", f"version {version[:10]}", " or ".join(sorted(VERSIONS)))
    following = _find(_child(scheme, "NextUpdate"), "dateTime")
    if following is None:
        raise _refused("trusted-list-closed", "a closed list (no next update)", "a list that is kept up")
    found = _services(root)
    unreadable = sum(one is None for one in found)
    listed = TrustedList(
        sequence=_number(_text(scheme, "TSLSequenceNumber")),
        territory=_text(scheme, "SchemeTerritory") if _find(scheme, "SchemeTerritory") is not None else "",
        issued=_moment(_text(scheme, "ListIssueDateTime")),
        next_update=_moment((following.text or "").strip()),
        anchors=tuple(one for one in found if one is not None),
        unreadable=unreadable,
    )
    if listed.next_update <= now:
        raise _refused(
            "trusted-list-out-of-date", f"a next update due on {listed.next_update:%Y-%m-%d}", "a current list"
        )
    return listed


def _parsed(body: bytes) -> Any:
    if len(body) > LARGEST:
        raise _refused("trusted-list-too-large", f"{len(body)} bytes", f"at most {LARGEST}")
    # A list is UTF-8 (TS 119 612 clause 5.1.4), so a DTD cannot hide in another encoding.
    if b"\0" in body or b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise _refused("trusted-list-not-plain", "a document type declaration, or not UTF-8", "plain XML")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as fault:
        raise _refused("trusted-list-not-xml", "a file that is not XML", "a trusted list") from fault
    if root.tag != f"{{{TSL}}}TrustServiceStatusList" or root.getroottree().docinfo.encoding not in ("UTF-8", "utf-8"):
        raise _refused("trusted-list-not-one", "another kind of XML", "TrustServiceStatusList in UTF-8")
    return root


def _signed(root: Any, operators: Sequence[bytes], now: datetime) -> Any:
    """The element that a signature by an operator covers: the whole list. Nothing else is read afterwards."""
    wanted = SignatureConfiguration(location="./", expect_references=True, verification_time=now)
    for der in operators:
        try:
            results = XMLVerifier().verify(
                root,
                x509_cert=certificates.from_der(der),
                expect_config=wanted,
            )
        except Exception:  # noqa: BLE001, S112 - whatever ails the signature under this certificate, it does not fit
            continue
        for one in results if isinstance(results, list) else [results]:
            covered = one.signed_xml
            if covered is not None and covered.tag == root.tag and len(covered) >= 1:
                return covered
    raise _refused(
        "trusted-list-not-signed",
        "no signature by the scheme operator over the whole list",
        "one under an operator certificate that was given and is in force",
    )


def _services(root: Any) -> list[FetchedAnchor | None]:
    found: dict[tuple[Any, ...], FetchedAnchor | None] = {}
    for service in root.iter(f"{{{TSL}}}TSPService"):
        information = _child(service, "ServiceInformation")
        purpose = _PURPOSES.get(_text(information, "ServiceTypeIdentifier"))
        if purpose is None:
            continue
        granted = _granted(service, information, purpose)
        name = _name(_child(information, "ServiceName"))
        for place in _child(information, "ServiceDigitalIdentity").iter(f"{{{TSL}}}X509Certificate"):
            try:
                (der,) = certificates_in(base64.b64decode("".join((place.text or "").split()), validate=True), "list")
            except (Refused, ValueError):
                found[("unreadable", len(found))] = None
                continue
            one = FetchedAnchor(
                der=base64.b64encode(der).decode(), purposes=(purpose,), service=name, granted=tuple(granted)
            )
            found.setdefault((one.der, purpose, one.granted), one)
    return list(found.values())


def _granted(service: Any, information: Any, purpose: Purpose) -> list[Span]:
    """When the service was granted: each status holds from its starting time until the next one's."""
    instances = [information, *service.iter(f"{{{TSL}}}ServiceHistoryInstance")]
    history = sorted(
        (
            _moment(_text(one, "StatusStartingTime")),
            _text(one, "ServiceStatus") in _GRANTED and _PURPOSES.get(_text(one, "ServiceTypeIdentifier")) is purpose,
        )
        for one in instances
    )
    spans: list[Span] = []
    ends = [start for start, _ in history[1:]]
    for (start, granted), end in zip(history, [*ends, None], strict=True):
        if not granted or start == end:
            continue
        if spans and spans[-1].end == start:
            spans[-1] = Span(start=spans[-1].start, end=end)
        else:
            spans.append(Span(start=start, end=end))
    return spans


def _name(names: Any) -> str:
    """The English name where there is one, else the first."""
    every = list(names.iter(f"{{{TSL}}}Name"))
    english = [one for one in every if one.get("{http://www.w3.org/XML/1998/namespace}lang") == "en"]
    return next((" ".join(one.text.split())[:200] for one in (*english, *every) if one.text), "?")


def _find(parent: Any, name: str) -> Any | None:
    return parent.find(f"{{{TSL}}}{name}")


def _child(parent: Any, name: str) -> Any:
    found = _find(parent, name)
    if found is None:
        raise _refused("trusted-list-incomplete", f"no {name}", "a list as TS 119 612 describes it")
    return found


def _text(parent: Any, name: str) -> str:
    return (_child(parent, name).text or "").strip()


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _refused("trusted-list-incomplete", "a sequence number that is none", "a positive integer")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as fault:
        raise _refused("trusted-list-incomplete", "a time that cannot be read", "xs:dateTime in UTC") from fault
    if found.tzinfo is None:
        raise _refused("trusted-list-incomplete", "a time without its zone", "xs:dateTime in UTC")
    return found


def _refused(code: str, found: str, expected: str) -> Refused:
    return Refused(
        code, found=found, expected=expected, remedy="ask the scheme operator for the list, or correct the address"
    )
