"""Trusted lists (ETSI TS 119 612) made and signed for tests: right in everything, or wrong in what a test names."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import XMLSigner, methods

TSL = "http://uri.etsi.org/02231/v2#"
URIS = "http://uri.etsi.org/TrstSvc/"
CA_QC, QTST = f"{URIS}Svctype/CA/QC", f"{URIS}Svctype/TSA/QTST"
GRANTED, WITHDRAWN = f"{URIS}TrustedList/Svcstatus/granted", f"{URIS}TrustedList/Svcstatus/withdrawn"
NOW = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)


def certificate(common: str, *, key: Any = None, days: int = 3650, at: datetime = NOW) -> tuple[bytes, Any]:
    """A self-signed authority: (DER, key)."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"), x509.NameAttribute(NameOID.COMMON_NAME, common)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER), key


@dataclass(frozen=True)
class Service:
    """One service: its certificate, type, and statuses from the latest to the oldest."""

    der: bytes
    kind: str = CA_QC
    name: str = "A service"
    statuses: tuple[tuple[str, datetime], ...] = ((GRANTED, NOW - timedelta(days=1000)),)


@dataclass
class Scheme:
    """A scheme operator and its list."""

    services: list[Service] = field(default_factory=list)
    sequence: int = 7
    version: str = "5"
    next_update: datetime | None = NOW + timedelta(days=90)

    def __post_init__(self) -> None:
        self.operator, self.key = certificate("Scheme operator")

    def plain(self) -> Any:
        """The list, unsigned."""
        following = f"<dateTime>{_time(self.next_update)}</dateTime>" if self.next_update else ""
        services = "".join(self._service(one) for one in self.services)
        return etree.fromstring(
            f'<TrustServiceStatusList xmlns="{TSL}" TSLTag="{URIS}TSLTag"><SchemeInformation>'
            f"<TSLVersionIdentifier>{self.version}</TSLVersionIdentifier>"
            f"<TSLSequenceNumber>{self.sequence}</TSLSequenceNumber><SchemeTerritory>XX</SchemeTerritory>"
            f"<ListIssueDateTime>{_time(NOW - timedelta(days=1))}</ListIssueDateTime>"
            f"<NextUpdate>{following}</NextUpdate></SchemeInformation><TrustServiceProviderList>"
            f"<TrustServiceProvider><TSPServices>{services}</TSPServices></TrustServiceProvider>"
            f"</TrustServiceProviderList></TrustServiceStatusList>"
        )

    def signed(self, *, key: Any = None, operator: bytes | None = None) -> bytes:
        """The list, signed as an enveloped signature."""
        pem = x509.load_der_x509_certificate(operator or self.operator).public_bytes(Encoding.PEM).decode()
        signer = XMLSigner(
            method=methods.enveloped,
            signature_algorithm="ecdsa-sha256",
            digest_algorithm="sha256",
            c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
        )
        made = signer.sign(self.plain(), key=key or self.key, cert=pem)
        return etree.tostring(made, xml_declaration=True, encoding="UTF-8")

    def _service(self, one: Service) -> str:
        (status, since), *history = one.statuses
        past = "".join(
            f"<ServiceHistoryInstance><ServiceTypeIdentifier>{one.kind}</ServiceTypeIdentifier>"
            f'<ServiceName><Name xml:lang="en">{one.name}</Name></ServiceName>'
            f"<ServiceStatus>{was}</ServiceStatus><StatusStartingTime>{_time(then)}</StatusStartingTime>"
            f"</ServiceHistoryInstance>"
            for was, then in history
        )
        return (
            f"<TSPService><ServiceInformation><ServiceTypeIdentifier>{one.kind}</ServiceTypeIdentifier>"
            f'<ServiceName><Name xml:lang="xx">Z</Name><Name xml:lang="en">{one.name}</Name></ServiceName>'
            f"<ServiceDigitalIdentity><DigitalId><X509Certificate>{base64.b64encode(one.der).decode()}"
            f"</X509Certificate></DigitalId></ServiceDigitalIdentity><ServiceStatus>{status}</ServiceStatus>"
            f"<StatusStartingTime>{_time(since)}</StatusStartingTime></ServiceInformation>"
            f"<ServiceHistory>{past}</ServiceHistory></TSPService>"
        )


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
