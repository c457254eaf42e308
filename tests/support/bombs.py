"""Small files that ask for endless work, memory or depth: each names what it does to a reader that believes it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial

import pdfs
from cryptography import x509
from forge import Forge, with_store
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.pdf_byterange import SignatureObject

from services.verifier.model import Brought

PAGES = {2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>", 3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"}


def classic(objects: dict[int, bytes], head: bytes = b"%PDF-1.7\n") -> bytes:
    """A file with a cross-reference table; objects that are not given are free."""
    out = bytearray(head)
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, count = len(out), max(objects) + 1
    out += b"xref\n0 %d\n" % count
    for number in range(count):
        out += b"%010d %05d %c \n" % (
            places.get(number, 0),
            0 if number in places else 65535,
            b"nf"[number not in places],
        )
    return bytes(out + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, start))


def _form(fields: bytes) -> bytes:
    return b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]/SigFlags 3>>>>" % fields


def _xref_stream(dictionary: bytes, data: bytes) -> bytes:
    head = b"%PDF-1.5\n"
    stream = b"1 0 obj\n<</Type/XRef/Root 2 0 R%s/Length %d>>\nstream\n%s\nendstream\nendobj\n"
    return head + stream % (dictionary, len(data), data) + b"startxref\n%d\n%%%%EOF\n" % len(head)


def endless_xref() -> bytes:
    """An xref stream of entries without width, 2^31 of them: 307 octets or less, 75 MB a second for who believes it."""
    return _xref_stream(b"/W[0 0 0]/Size 2147483648", b"")


def endless_index() -> bytes:
    """The same by /Index."""
    return _xref_stream(b"/W[0 0 0]/Size 9/Index[0 2147483647 0 2147483647]", b"")


def repeating_kids() -> bytes:
    """A form tree in which every node names the same child twice: 2^28 visits."""
    objects = {1: _form(b"10 0 R"), **PAGES}
    for number in range(10, 38):
        objects[number] = b"<</T(f%d)/FT/Sig/Kids[%d 0 R %d 0 R]>>" % (number, number + 1, number + 1)
    objects[38] = b"<</T(end)/FT/Sig/V<</Type/Sig/ByteRange[0 1 2 3]/Contents<00>>>>>"
    return classic(objects)


def repeating_pages() -> bytes:
    """The same for the page tree."""
    objects = {1: b"<</Type/Catalog/Pages 10 0 R/AcroForm<</Fields[4 0 R]/SigFlags 3>>>>"}
    objects[4] = b"<</T(a)/FT/Sig/V<</Type/Sig/ByteRange[0 1 2 3]/Contents<00>>>>>"
    for number in range(10, 40):
        objects[number] = b"<</Type/Pages/Count 9/Kids[%d 0 R %d 0 R]>>" % (number + 1, number + 1)
    objects[40] = b"<</Type/Page/MediaBox[0 0 9 9]>>"
    return classic(objects)


def many_fields_one_signature() -> bytes:
    """2,000 fields that share one signature."""
    objects = {1: _form(b" ".join(b"%d 0 R" % number for number in range(5, 2005))), **PAGES}
    objects[4] = b"<</Type/Sig/SubFilter/ETSI.CAdES.detached/ByteRange[0 10 20 30]/Contents<3080>>>"
    objects |= {number: b"<</T(f%d)/FT/Sig/V 4 0 R>>" % number for number in range(5, 2005)}
    return classic(objects)


def many_signatures() -> bytes:
    """2,000 fields, each with a signature of its own."""
    objects = {1: _form(b" ".join(b"%d 0 R" % number for number in range(5, 2005))), **PAGES}
    value = b"<</Type/Sig/SubFilter/ETSI.CAdES.detached/ByteRange[0 10 20 %d]/Contents<3080>>>"
    objects |= {number: b"<</T(f%d)/FT/Sig/V %s>>" % (number, value % number) for number in range(5, 2005)}
    return classic(objects)


def deep_arrays(depth: int = 900) -> bytes:
    """Arrays nested so deep."""
    fields = b"[" * depth + b"]" * depth
    return classic({1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields " + fields + b">>>>", **PAGES})


def deep_dictionaries() -> bytes:
    """Dictionaries nested 100,000 deep, never closed."""
    return classic({1: b"<</Type/Catalog/Pages 2 0 R/AcroForm" + b"<</A" * 100_000, **PAGES})


def inflating_xref() -> bytes:
    """An xref stream of a megabyte that inflates to a gigabyte."""
    return _xref_stream(b"/W[1 2 1]/Size 5/Filter/FlateDecode", _packed(1024))


def inflating_twice() -> bytes:
    """A kilobyte that inflates to a megabyte that inflates to a gigabyte."""
    return _xref_stream(b"/W[1 2 1]/Size 5/Filter[/FlateDecode/FlateDecode]", zlib.compress(_packed(1024), 9))


@cache
def _packed(megabytes: int) -> bytes:
    squeezer = zlib.compressobj(9)
    return b"".join(squeezer.compress(b"\0" * (1 << 20)) for _ in range(megabytes)) + squeezer.flush()


def circling_object_stream() -> bytes:
    """An object stream that is to be found in itself, and one that extends itself."""
    head = b"%PDF-1.5\n"
    entries = b"\1\0\x09\0" + b"\2\0\3\0" * 3
    dictionary = b"<</Type/XRef/Root 2 0 R/W[1 2 1]/Size 5/Index[1 4]/Length %d>>" % (len(entries) + 4)
    place = len(head)
    entries = b"\1" + place.to_bytes(2, "big") + b"\0" + b"\2\0\3\0" + b"\2\0\3\1" + b"\2\0\4\0"
    body = b"1 0 obj\n%s\nstream\n%s\nendstream\nendobj\n" % (dictionary, entries)
    loose = (
        b"3 0 obj\n<</Type/ObjStm/N 2/First 8/Extends 3 0 R/Length 20>>\nstream\n2 0 3 4 <<>><<>>\nendstream\nendobj\n"
    )
    return head + body + loose + b"startxref\n%d\n%%%%EOF\n" % place


def circling_revisions() -> bytes:
    """Revisions whose /Prev lead in a circle."""
    data = pdfs.minimal()
    first = int(data.rpartition(b"startxref")[2].split()[0])
    place = len(data)
    section = b"xref\n0 0\ntrailer\n<</Size 9/Root 1 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
    second = section % (place + len(section % (place, place)) + 20, place)
    second = second.ljust(len(second) + 20)
    third = section % (place, place + len(second))
    assert first < place
    return data + second + third


def many_revisions() -> bytes:
    """10,000 revisions, each an empty section."""
    out = bytearray(pdfs.minimal())
    before = int(out.rpartition(b"startxref")[2].split()[0])
    for _ in range(10_000):
        place = len(out)
        out += b"xref\n0 0\ntrailer\n<</Size 9/Root 1 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (before, place)
        before = place
    return bytes(out)


def huge_byte_range() -> bytes:
    """A /ByteRange of numbers beyond every integer of a machine, and of very many digits."""
    value = b"<</Type/Sig/SubFilter/ETSI.CAdES.detached/ByteRange[0 %s 99999999999999999999 %s]/Contents<3080>>>"
    return classic({1: _form(b"4 0 R"), **PAGES, 4: b"<</T(a)/FT/Sig/V %s>>" % (value % (b"9" * 40, b"9" * 6000))})


def deep_der(forge: Forge) -> bytes:
    """A /Contents whose values are nested 4,000 deep."""
    inside = b"\x05\x00"
    for _ in range(4000):
        size = len(inside)
        inside = b"\x30\x82" + size.to_bytes(2, "big") + inside if size < 1 << 16 else inside
    return _with_contents(forge, inside)


def endless_der(forge: Forge) -> bytes:
    """A /Contents of values of indefinite length, opened 8,000 times and never closed."""
    return _with_contents(forge, b"\x30\x80" * 8000)


def _with_contents(forge: Forge, contents: bytes) -> bytes:
    placeholder = SignatureObject(
        subfilter=SigSeedSubFilter.PADES, timestamp=forge.now, bytes_reserved=2 * len(contents)
    )
    return forge._embed(pdfs.minimal(), "buyer", placeholder, lambda _: contents)


def long_crl(forge: Forge) -> bytes:
    """Signed and stamped, with a CRL of 100,000 entries in its DSS; it is still to be answered."""
    at = forge.now - timedelta(hours=1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(forge.world.issuing.certificate.subject)
        .last_update(at)
        .next_update(at + timedelta(days=1))
    )
    builder._revoked_certificates = [
        x509.RevokedCertificateBuilder().serial_number(number).revocation_date(at).build()
        for number in range(1, 100_001)
    ]
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    listed = builder.sign(forge.world.issuing.key, hashes.SHA256()).public_bytes(Encoding.DER)
    signed = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    return with_store(signed, Brought(crls=(listed, *forge.evidence().crls)))


def many_crls(forge: Forge) -> bytes:
    """A DSS that holds 4,000 CRLs."""
    signed = forge.sign(pdfs.minimal(), forge.signer(), timestamp="ok")
    return with_store(signed, Brought(crls=forge.evidence().crls * 2000))


BOMBS: dict[str, Callable[[Forge], bytes]] = {
    **{
        made.__name__.replace("_", "-"): partial(lambda make, _: make(), made)
        for made in (
            endless_xref, endless_index, repeating_kids, repeating_pages, many_fields_one_signature, many_signatures,
            deep_arrays, deep_dictionaries, inflating_xref, inflating_twice, circling_object_stream, circling_revisions,
            many_revisions, huge_byte_range,
        )
    },
    "deep-der": deep_der,
    "endless-der": endless_der,
    "long-crl": long_crl,
    "many-crls": many_crls,
}  # fmt: skip
"""Every bomb by its name."""
