"""A small PKI for `make bench-sign`, and its timestamp authority and CRLs as a process of their own, the same for all.

Usage: python -m bench.signing_world FOLDER: serves what `make` wrote there; prints the port it listens on.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from lab.timestamps import answer
from services.runtime.clock import SystemClock

KEYS = {
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
}
PASSWORD = b"bench"


@dataclass
class Issuer:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        """The certificate, DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate, PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def make(folder: Path, base: str) -> None:
    """Write root, issuing CA, timestamp authority, CRLs and a signer of each kind; `base` is the server's URL."""
    now = SystemClock().now().replace(microsecond=0)

    def issue(common: str, key: Any, issuer: Issuer | None, *, ca: bool, tsa: bool = False) -> Issuer:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        usage |= {"key_cert_sign": True, "crl_sign": True} if ca else {"content_commitment": True}
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=700))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if issuer is not None:
            short = "root" if issuer.certificate.issuer == issuer.certificate.subject else "issuing"
            place = x509.UniformResourceIdentifier(f"{base}/{short}")
            builder = (
                builder.add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
                )
                .add_extension(
                    x509.AuthorityInformationAccess(
                        [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, _url(place, "cer"))]
                    ),
                    critical=False,
                )
                .add_extension(
                    x509.CRLDistributionPoints([x509.DistributionPoint([_url(place, "crl")], None, None, None)]),
                    critical=False,
                )
            )
        if tsa:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        return Issuer(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)

    root = issue("Bench root", KEYS["rsa2048"](), None, ca=True)
    issuing = issue("Bench issuing CA", KEYS["rsa2048"](), root, ca=True)
    tsa = issue("Bench timestamp authority", KEYS["rsa2048"](), root, ca=False, tsa=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tsa.key").write_bytes(tsa.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "tsa.pem").write_bytes(tsa.pem)
    for name, ca in (("root", root), ("issuing", issuing)):
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.certificate.subject)
            .last_update(now)
            .next_update(now + timedelta(days=7))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
            .sign(ca.key, hashes.SHA256())
        )
        (folder / f"{name}.crl").write_bytes(crl.public_bytes(Encoding.DER))
        (folder / f"{name}.cer").write_bytes(ca.der)
    for name, new in KEYS.items():
        signer = issue(f"Bench signer {name}", new(), issuing, ca=False)
        place = folder / name
        place.mkdir(exist_ok=True)
        (place / "key.pem").write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (place / "chain.pem").write_bytes(signer.pem + issuing.pem + root.pem)
        (place / "signer.p12").write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"bench", signer.key, signer.certificate, [issuing.certificate, root.certificate],
                BestAvailableEncryption(PASSWORD),
            )
        )  # fmt: skip
        # node-forge knows neither PBES2 with HMAC-SHA-256 nor elliptic curves.
        old = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2_048)
        (place / "old.p12").write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"bench", signer.key, signer.certificate, [issuing.certificate, root.certificate],
                old.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
                .hmac_hash(hashes.SHA1())  # noqa: S303 - a container for a peer that reads no other
                .build(PASSWORD),
            )
        )  # fmt: skip
        (place / "root.pem").write_bytes(root.pem)
        for file in ("root.crl", "issuing.crl", "tsa.pem"):
            (place / file).write_bytes((folder / file).read_bytes())


def _url(base: x509.UniformResourceIdentifier, ending: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"{base.value}.{ending}")


async def serve(folder: Path) -> None:
    """Serve timestamps, CRLs and CA certificates on loopback until the process is ended."""
    tsa: list[Issuer] = []
    clock = SystemClock()

    async def stamp(request: web.Request) -> web.Response:
        if not tsa:
            key = load_pem_private_key((folder / "tsa.key").read_bytes(), None)
            tsa.append(Issuer(x509.load_pem_x509_certificate((folder / "tsa.pem").read_bytes()), key))
        # A token of RFC 5816 leaves out the default hash of ESSCertIDv2, and asn1crypto then encodes all that is around
        # it anew, over and over: pyHanko and endesive would take seconds for a signature.
        body = answer(await request.read(), tsa[0], clock.now, first_edition=True)  # type: ignore[arg-type]
        return web.Response(body=body, content_type="application/timestamp-reply")

    async def file(request: web.Request) -> web.Response:
        return web.Response(body=(folder / Path(request.path).name).read_bytes(), content_type="application/pkix-crl")

    app = web.Application()
    app.router.add_post("/tsa", stamp)
    app.router.add_get("/{name:(root|issuing)[.](crl|cer)}", file)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
