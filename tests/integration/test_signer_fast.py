"""The fast writer: judged like pyHanko's, declining before a key moves, splicing without touching anything else."""

from __future__ import annotations

import hashlib
import io
import re
import sys
import zlib
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
import two_readings
from signer_world import desk, order

from events.errors import Refused, Unavailable
from events.values import BaselineLevel, Digest
from services.runtime.clock import SystemClock
from services.signer.adapters.fast.check import check as self_check
from services.signer.adapters.fast.form import Catalog, Form
from services.signer.adapters.fast.pages import last_page
from services.signer.adapters.fast.reader import File
from services.signer.adapters.fast.revision import Revision, repeated
from services.signer.adapters.fast.syntax import (
    Declined,
    Dictionary,
    Ref,
    appended,
    dictionary_at,
    items,
    name_of,
    reference,
    text_string,
)
from services.signer.adapters.fast.writer import FastWriter
from services.signer.adapters.pades_writer import BoundedWriter
from services.signer.adapters.pyhanko_writer import PyhankoWriter
from services.signer.adapters.tsa import Rfc3161Authority
from services.signer.model import Certify, Passed, SigningAlgorithm, WrittenBy
from services.verifier.engine import examine
from services.verifier.model import Integrity
from tests.support.judges import passes_at_pyhanko

LTA = BaselineLevel.LTA
BAD = pdfs.bad()


def locked(lock: str, more: str = "") -> bytes:
    """A document with an empty field that locks others when it is signed."""
    objects = {
        5: f"<< /FT /Sig /T (buyer) /Type /Annot /Subtype /Widget /Rect [50 50 200 100] /P 10 0 R /F 132 "
        f"/Lock << /Type /SigFieldLock {lock} >> {more} >>",
        6: "<< /Fields [5 0 R 7 0 R] >>",
        7: "<< /FT /Tx /T (meter) /V (000123) /Type /Annot /Subtype /Widget /Rect [50 150 200 170] /P 10 0 R /F 4 >>",
    }
    return pdfs.assemble([{"/Annots": "[5 0 R 7 0 R]"}], catalog_extra="/AcroForm 6 0 R", more=objects)


@pytest.mark.parametrize("kind", ["typst-pdfa", "reportlab-acroform", "hybrid", "xref-stream-predictor", "rotated"])
async def test_both_writers_are_judged_equal(tmp_path, kind):
    """ETSI EN 319 142-1 clause 6.3: whoever wrote it, the same levels and no change beside the signatures."""
    found = {}
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        base = pdfs.good()[kind]
        for writer in (FastWriter, PyhankoWriter):
            pdf = base
            for index, slot in enumerate(("buyer", "witness")):
                ordered = order(pdf, check.path, party.credential, party.algorithm, slot=slot, index=index)
                signed = await writer(at.keys, at.authority, at.status).sign(pdf, ordered, check.evidence)
                pdf = signed.pdf
            root = at.world.root.certificate.public_bytes(Encoding.PEM)
            report = examine(pdf, file=kind, anchors=[root], now=SystemClock().now())
            assert await passes_at_pyhanko(pdf, at.world.root.der) == 2
            found[signed.written_by] = [
                (one.field, one.integrity, one.verdict, one.level, [c.allowed for c in one.changes if not c.allowed])
                for one in report.signatures
            ]
    assert found[WrittenBy.FAST] == found[WrittenBy.PYHANKO]
    assert [row[3] for row in found[WrittenBy.FAST]] == [LTA.value] * 2


@pytest.mark.parametrize(
    ("kind", "why"),
    [("bytes-after", "no startxref at the end"), ("one-wrong-offset", "an object that is not where")],
)
async def test_what_is_unusual_goes_to_the_other_writer_which_says_why(tmp_path, kind, why):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        pdf = BAD[kind][0]
        ordered = order(pdf, check.path, party.credential, party.algorithm, level=BaselineLevel.B)
        signed = await at.writer.sign(pdf, ordered, check.evidence)
    # A wrong offset that no signature needs is never noticed: what is not read is not believed either.
    if signed.written_by is WrittenBy.PYHANKO:
        assert signed.declined.startswith(why)
    else:
        assert kind == "one-wrong-offset"


# Two more kinds of a file with two readings take a look at every octet, which the intake of contracts has taken, and
# which BoundedWriter takes for batches and the CSC API: tests/unit/contracts/test_contract_intake.py, and below.
WITHOUT_A_WHOLE_LOOK = ("named twice", "far from the end", "by another's index")


@pytest.mark.parametrize("what", ["seed values", "an XFA form", "encryption", "usage rights", *WITHOUT_A_WHOLE_LOOK])
async def test_the_fast_writer_declines_before_a_key_moves(tmp_path, what):
    """House habit 2: one redemption, one key operation; a file that is declined has had none."""
    data = {
        "seed values": lambda: locked("/Action /All", "/SV << /Ff 1 /SubFilter [/adbe.pkcs7.detached] >>"),
        "an XFA form": lambda: BAD["xfa"][0],
        "encryption": lambda: BAD["encrypted-rc4"][0],
        "usage rights": lambda: pdfs.assemble([{}], catalog_extra="/Perms << /UR3 << /Type /Sig >> >>"),
    }.get(what, lambda: two_readings.made(what))()
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        moved = []

        class Watched:
            async def sign(self, permit):
                moved.append(permit)
                return await at.keys.sign(permit)

        ordered = order(data, check.path, party.credential, party.algorithm, level=BaselineLevel.B)
        with pytest.raises(Declined):
            await FastWriter(Watched(), at.authority, at.status).sign(data, ordered, check.evidence)
    assert moved == []


@pytest.mark.parametrize("writer", [FastWriter, PyhankoWriter])
@pytest.mark.parametrize(
    ("lock", "action"),
    [
        ("/Action /All", "/All"),
        ("/Action /Include /Fields [(meter)]", "/Include"),
        ("/Action /Exclude /Fields [(meter)] /P 2", "/Exclude"),
    ],
)
async def test_a_locked_field_says_what_it_locks(tmp_path, writer, lock, action):
    """ISO 32000-2 clause 12.7.5.5: the lock goes into the signature as a FieldMDP transform (clause 12.8.2.4)."""
    base = locked(lock)
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        ordered = order(base, check.path, party.credential, party.algorithm, level=BaselineLevel.LTA)
        signed = await writer(at.keys, at.authority, at.status).sign(base, ordered, check.evidence)
        assert await passes_at_pyhanko(signed.pdf, at.world.root.der) == 1
    (signature,) = PdfFileReader(io.BytesIO(signed.pdf)).embedded_regular_signatures
    (reference,) = signature.sig_object["/Reference"]
    parameters = reference["/TransformParams"]
    assert reference["/TransformMethod"] == "/FieldMDP"
    assert parameters["/Action"] == action
    assert [str(name) for name in parameters.get("/Fields", [])] == (["meter"] if "/Fields" in lock else [])
    assert parameters.get("/P") == (2 if "/P" in lock else None)


@pytest.mark.parametrize("writer", [FastWriter, PyhankoWriter])
async def test_a_certification_allows_what_it_says_and_others_may_sign(tmp_path, writer):
    """ISO 32000-2 clause 12.8.2.2: the first signature may certify, P 2 lets others sign."""
    base = pdfs.minimal()
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        sign = writer(at.keys, at.authority, at.status).sign
        ordered = order(base, check.path, party.credential, party.algorithm, certify=Certify.FORMS)
        certified = (await sign(base, ordered, check.evidence)).pdf
        once_more = order(certified, check.path, party.credential, party.algorithm, slot="seller", index=1)
        both = (await sign(certified, once_more, check.evidence)).pdf
        assert await passes_at_pyhanko(both, at.world.root.der) == 2
        again = order(both, check.path, party.credential, party.algorithm, slot="third", certify=Certify.FORMS)
        with pytest.raises(Refused, match="certification-not-first"):
            await at.writer.sign(both, again, check.evidence)
        root = at.world.root.certificate.public_bytes(Encoding.PEM)
        report = examine(both, file="certified", anchors=[root], now=SystemClock().now())
    with pikepdf.open(io.BytesIO(both)) as document:
        value = document.Root.Perms.DocMDP
        assert value.Reference[0].TransformMethod == "/DocMDP"
        assert value.Reference[0].TransformParams.P == 2
    assert report.integrity is Integrity.INTACT


async def test_a_store_of_another_maker_stays_beside_ours(tmp_path):
    """EN 319 142-1 clause 5.4.2: read after the key moved, so no length told elsewhere and no filter matters."""
    async with desk(tmp_path) as at:
        root, issuing = at.world.root.der, at.world.issuing.der
        more = {
            5: "<< /Type /DSS /Certs [6 0 R 8 0 R] >>",
            6: f"<< /Length 7 0 R >>\nstream\n{root.decode('latin-1')}\nendstream",
            7: f"{len(root)}",
            8: f"<< /Length {2 * len(issuing) + 1} /Filter /ASCIIHexDecode >>\nstream\n{issuing.hex()}>\nendstream",
        }
        base = pdfs.assemble([{}], catalog_extra="/DSS 5 0 R", more=more)
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        ordered = order(base, check.path, party.credential, party.algorithm)
        signed = await FastWriter(at.keys, at.authority, at.status).sign(base, ordered, check.evidence)
        assert await passes_at_pyhanko(signed.pdf, root) == 1
    with pikepdf.open(io.BytesIO(signed.pdf)) as document:
        store = document.Root.DSS
        assert [one.objgen for one in store.Certs] == [(6, 0), (8, 0)]
        assert [one.read_bytes() for one in store.OCSPs]


async def test_a_signature_that_needs_nothing_new_brings_the_shortest_there_is(tmp_path):
    """EN 319 142-1 clause 5.4.2.3: no VRI dictionary; a store that differs from the one before is what LT asks for."""
    stores, slots = [], ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
    base = pdfs.minimal()
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        token = await at.authority.timestamp(Digest.of(base))
        for index, slot in enumerate(slots):
            ordered = order(base, check.path, party.credential, party.algorithm, slot=slot, index=index)
            base = (await FastWriter(at.keys, at.authority, at.status).sign(base, ordered, check.evidence)).pdf
            with pikepdf.open(io.BytesIO(base)) as document:
                store = document.Root.DSS
                assert "/VRI" not in store
                kinds = ("/Certs", "/OCSPs", "/CRLs")
                stores.append({kind: [one.read_bytes() for one in store.get(kind, [])] for kind in kinds})
        assert await passes_at_pyhanko(base, at.world.root.der) == len(slots)
    fresh = []
    for one, other in pairwise(stores):
        assert all(other[kind][: len(held)] == held for kind, held in one.items())
        fresh += [found for kind, held in one.items() for found in other[kind][len(held) :]]
    # First the certificates, of which the signature has each already; then a statement of a status once more.
    shortest = min((*stores[0]["/OCSPs"], *stores[0]["/CRLs"]), key=len)
    *certificates, last, another = fresh
    assert certificates == sorted(certificates, key=len)
    assert sorted(certificates) == sorted({*check.path, *token.path})
    assert last == another == shortest


@pytest.mark.parametrize(
    ("claim", "first"),
    [
        ("<pdfaid:part>1</pdfaid:part>", True),
        ("<pdfaid:part>\n 1 </pdfaid:part>", True),
        ("<rdf:Description pdfaid:part='1' pdfaid:conformance='B'/>", True),
        ('<rdf:Description pdfaid:part = "1"/>', True),
        ("<pdfaid:part>2</pdfaid:part>", False),
        ("<pdfaid:part>10</pdfaid:part>", False),
        ("<pdfaid:rev>1</pdfaid:rev>", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("length", ["{0}", "6 0 R"])
async def test_a_pdf_a_1_gets_what_later_parts_do_not_want(tmp_path, claim, first, length):
    """ISO 19005-1 clauses 6.9, 6.3.5: an appearance for each field, also one that nobody sees, and a CIDSet."""
    text = f"<x:xmpmeta>{claim}</x:xmpmeta>"
    metadata = f"<< /Type /Metadata /Subtype /XML /Length {length.format(len(text))} >>\nstream\n{text}\nendstream"
    base = pdfs.assemble([{}], catalog_extra="/Metadata 5 0 R", more={5: metadata, 6: str(len(text))})
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        for index, stamped in enumerate((True, False)):
            ordered = order(
                base, check.path, party.credential, party.algorithm, slot=f"s{index}", index=index, stamped=stamped
            )
            base = (await FastWriter(at.keys, at.authority, at.status).sign(base, ordered, check.evidence)).pdf
        assert await passes_at_pyhanko(base, at.world.root.der) == 2
    with pikepdf.open(io.BytesIO(base)) as document:
        stamp, *unseen = document.Root.AcroForm.Fields
        assert len(unseen) == 3
        assert [list(one.get("/AP", {}).keys()) for one in unseen] == [["/N"] if first else []] * 3
        font = stamp.AP.N.Resources.Font.F.DescendantFonts[0].FontDescriptor
        assert ("/CIDSet" in font) == first
        if first:
            glyphs = TTFont(io.BytesIO(font.FontFile2.read_bytes()))["maxp"].numGlyphs
            bits = "".join(f"{octet:08b}" for octet in font.CIDSet.read_bytes())
            assert bits == ("1" * glyphs).ljust(-(-glyphs // 8) * 8, "0")


@pytest.mark.parametrize("writer", [FastWriter, PyhankoWriter])
@pytest.mark.parametrize("carries", [True, False])
async def test_the_store_brings_the_certificates_that_the_signature_lacks(tmp_path, writer, carries):
    """EN 319 142-1 clause 6.3, r and s: all of them in the file, none twice."""
    base = pdfs.minimal()
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        path = (await at.authority.timestamp(Digest.of(base))).path

        class Authority:
            """The world's; where its tokens are not to carry certificates, the writer is told that they do not."""

            def room(self, *, steady):
                return at.authority.room(steady=steady)

            async def timestamp(self, digest):
                token = await at.authority.timestamp(digest)
                return token if carries else replace(token, carried=())

        ordered = order(base, check.path, party.credential, party.algorithm)
        pdf = (await writer(at.keys, Authority(), at.status).sign(base, ordered, check.evidence)).pdf
        assert await passes_at_pyhanko(pdf, at.world.root.der) == 1
    with pikepdf.open(io.BytesIO(pdf)) as document:
        held = [one.read_bytes() for one in document.Root.DSS.get("/Certs", [])]
    assert path[0] not in check.path
    known = [one for one in held if one in (*check.path, *path)]  # pyHanko adds those of OCSP responders
    assert known == ([] if carries else list(path))


@pytest.mark.parametrize("writer", [FastWriter, PyhankoWriter])
@pytest.mark.parametrize("first", ["alone", "whole"])
async def test_an_issuer_that_stands_elsewhere_in_the_file_only_is_in_the_store(tmp_path, writer, first):
    """Its certificate in the signature, or in its first timestamp, is none that every validator finds for a later one.

    RFC 3161 clause 2.4.1: a token has to bring the authority's own certificate, and no other.
    """
    base = pdfs.minimal()
    async with desk(tmp_path) as at:
        world, clock = at.world, SystemClock()
        world.renew_tsa(issuer=world.issuing)
        alone, whole = (world.tsa.der,), (world.tsa.der, world.issuing.der, world.root.der)
        world.tsa_carries = [alone] if first == "alone" else [whole, alone]
        anchors, pool = [world.root.certificate], [world.issuing.certificate]
        authority = Rfc3161Authority(at.outbound, f"{world.base}/tsa", anchors, clock, pool=pool)
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        ordered = order(base, check.path, party.credential, party.algorithm)
        pdf = (await writer(at.keys, authority, at.status).sign(base, ordered, check.evidence)).pdf
        assert await passes_at_pyhanko(pdf, world.root.der) == 1
    with pikepdf.open(io.BytesIO(pdf)) as document:
        held = [one.read_bytes() for one in document.Root.DSS.Certs]
    assert world.issuing.der in held
    assert len(held) == len(set(held))


async def test_a_store_that_brings_nothing_for_the_signature_before_it_is_not_released(tmp_path):
    """EN 319 142-1 clause 5.4: validators call such a signature T, whatever the store says of an earlier one."""
    first = pdfs.minimal()
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        writer = FastWriter(at.keys, at.authority, at.status)
        ordered = order(first, check.path, party.credential, party.algorithm, level=BaselineLevel.LT)
        second = (await writer.sign(first, ordered, check.evidence)).pdf
        ordered = order(second, check.path, party.credential, party.algorithm, slot="seller", level=BaselineLevel.T)
        timed = (await writer.sign(second, ordered, check.evidence)).pdf
    file = File.open(timed)
    catalog = Catalog.of(file)
    revision = Revision(file, len(timed), file.beyond)
    revision.put(catalog.ref, catalog.content)
    revision.put(reference(catalog.content.get(b"/DSS")), file.dictionary(catalog.content.get(b"/DSS")))
    again, _ = revision.write(repeated(file, bytes(16)), on_a_new_line=False)
    info = PdfFileReader(io.BytesIO(timed)).embedded_regular_signatures[1].signer_info
    token = info["unsigned_attrs"][0]["values"][0].dump()
    said = {
        "base": Passed(second),
        "field": "seller",
        "certificate": party.chain[0],
        "algorithm": party.algorithm,
        "tokens": {hashlib.sha256(info["signature"].native).digest(): token},
    }
    self_check(timed, level=BaselineLevel.T, **said)
    with pytest.raises(Refused, match="no validation data for this signature"):
        self_check(timed + again, level=BaselineLevel.LT, **said)


async def test_the_self_check_sees_what_was_changed_after_it_was_written(tmp_path):
    """EN 319 142-1 clauses 5.4.3, 6.3: ranges over all but /Contents, the file's digest, the timestamps that came."""
    base, tokens = pdfs.minimal(), {}
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)

        class Authority:
            """The world's; what it gave is kept."""

            room = at.authority.room

            async def timestamp(self, digest):
                token = await at.authority.timestamp(digest)
                tokens[digest.raw] = token.der
                return token

        ordered = order(base, check.path, party.credential, party.algorithm)
        pdf = (await FastWriter(at.keys, Authority(), at.status).sign(base, ordered, check.evidence)).pdf
    said = {"field": "buyer", "certificate": party.chain[0], "algorithm": party.algorithm}

    def judge(found, level=LTA, known=tokens):
        self_check(found, Passed(base), level=level, tokens=known, **said)

    def changed(at):
        return pdf[:at] + bytes([pdf[at] ^ 1]) + pdf[at + 1 :]

    judge(pdf)
    both = list(re.finditer(rb"/ByteRange \[0 (\d+) (\d+) \d+\]", pdf))
    assert len(both) == 2
    for ranges in both:
        for number in (1, 2):
            with pytest.raises(Refused, match="leave out /Contents alone"):
                judge(changed(ranges.end(number) - 1))
    with pytest.raises(Refused, match="a message digest that is not the file's"):
        judge(changed(pdf.index(b"/M (D:") + 6))
    with pytest.raises(Refused, match="another signature timestamp"):
        judge(pdf, known={})
    with pytest.raises(Refused, match="another document timestamp"):
        judge(pdf, known=dict(list(tokens.items())[:1]))
    with pytest.raises(Refused, match="another document timestamp"):
        judge(changed(pdf.rindex(b"\nendstream") - 1))
    for found, level in ((pdf, BaselineLevel.T), (pdf + b"\n", LTA)):
        with pytest.raises(Refused, match="octets after the last signed range"):
            judge(found, level)


@pytest.mark.parametrize("writer", [FastWriter, PyhankoWriter])
@pytest.mark.parametrize("level", [BaselineLevel.B, LTA])
async def test_one_list_may_be_the_form_s_and_the_page_s(tmp_path, level, writer):
    """ISO 32000-2 clauses 7.3.10, 12.7.3: fields that are their own widgets; the new one stands in it once."""
    text = "<< /FT /Tx /T (meter) /Type /Annot /Subtype /Widget /Rect [50 150 200 170] /P 10 0 R /F 4 >>"
    base = pdfs.assemble(
        [{"/Annots": "6 0 R"}], catalog_extra="/AcroForm << /Fields 6 0 R >>", more={5: text, 6: "[5 0 R]"}
    )
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        ordered = order(base, check.path, party.credential, party.algorithm, level=level)
        signed = await writer(at.keys, at.authority, at.status).sign(base, ordered, check.evidence)
    with pikepdf.open(io.BytesIO(signed.pdf)) as document:
        names = [str(one.T) for one in document.Root.AcroForm.Fields]
        assert names == ["meter", "buyer", "timestamp-1"][: 3 if level is LTA else 2]
        assert [str(one.T) for one in document.pages[0].Annots] == names


@pytest.mark.parametrize("writer", [FastWriter, PyhankoWriter])
async def test_an_authority_with_a_new_certificate_for_each_token_is_not_asked_for_ever(tmp_path, writer):
    """EN 319 142-1 clause 6.3: LTA holds the material of all its timestamps; each try would add some and lack some."""
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        asked = []

        class Restless:
            def room(self, *, steady):
                return at.authority.room(steady=steady)

            async def timestamp(self, digest):
                assert len(asked) < 100
                asked.append(digest)
                at.world.renew_tsa()
                return await at.authority.timestamp(digest)

        base = pdfs.minimal()
        ordered = order(base, check.path, party.credential, party.algorithm)
        with pytest.raises(Unavailable, match="timestamp-authority-unsteady"):
            await writer(at.keys, Restless(), at.status).sign(base, ordered, check.evidence)


async def test_a_file_signed_into_another_is_the_same_as_one_signed_in_memory(tmp_path):
    """RSASSA-PKCS1-v1_5 is deterministic, and so is all else: a repeated try gives the same octets."""
    base = pdfs.good()["with-picture"]
    (tmp_path / "base.pdf").write_bytes(base)
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.RSA_3072_PKCS1)
        check = await at.status.check(party.chain)
        writer = FastWriter(at.keys, at.authority, at.status)
        ordered = order(base, check.path, party.credential, party.algorithm, level=BaselineLevel.B)
        one = await writer.sign(base, ordered, check.evidence)
        two = await writer.sign_file(tmp_path / "base.pdf", tmp_path / "signed.pdf", ordered, check.evidence)
        assert (tmp_path / "signed.pdf").read_bytes() == one.pdf
        assert two.digest == one.digest
        assert not list(tmp_path.glob(".*.part"))
        closed = order(base, check.path, party.credential, party.algorithm)
        await writer.sign_file(tmp_path / "base.pdf", tmp_path / "closed.pdf", closed, check.evidence)
        assert await passes_at_pyhanko((tmp_path / "closed.pdf").read_bytes(), at.world.root.der) == 1


# --- syntax --------------------------------------------------------------------------------------------------------

SIMPLE = st.one_of(
    st.integers(-(10**9), 10**9).map(lambda n: b"%d" % n),
    st.sampled_from([b"/Name", b"true", b"null", b"12 0 R", b"<48 65>", b"(a (nested) \\) string)", b"1.50"]),
)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda found: b"[" + b" ".join(found) + b"]"),
        st.lists(inner, max_size=3).map(
            lambda found: b"<<" + b"".join(b"/K%d %b" % (i, one) for i, one in enumerate(found)) + b">>"
        ),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(rb"/[A-Za-z]{1,8}", fullmatch=True), VALUES, max_size=6), VALUES)
def test_a_spliced_entry_leaves_every_other_as_it_was(entries, value):
    """ISO 32000-2 clause 7.3.7; what is not changed keeps its very octets."""
    text = b"<< " + b"".join(b"%b %b\n" % pair for pair in entries.items()) + b">> trailing"
    read = Dictionary.parse(text)
    assert {key: read.text[a:b] for key, (a, b) in read.spans.items()} == entries
    for key in [b"/New", *entries][:3]:
        changed = read.put({key: value})
        assert Dictionary.parse(changed.text).spans == changed.spans
        assert changed.text[slice(*changed.spans[key])] == value
        assert {k: changed.text[slice(*s)] for k, s in changed.spans.items() if k != key} == {
            k: v for k, v in entries.items() if k != key
        }
    every = read.put(dict.fromkeys([b"/New", *entries, b"/Other"], value))
    assert {key: every.text[a:b] for key, (a, b) in every.spans.items()} == dict.fromkeys(every.spans, value)
    assert Dictionary.parse(every.text).spans == every.spans


@given(st.lists(VALUES, max_size=6))
def test_an_array_grows_at_its_end(found):
    text = b"[ " + b" ".join(found) + b" ]"
    assert items(text) == found
    assert items(appended(text, bytes(Ref(7)))) == [*found, b"7 0 R"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b"<< /A 1 % /B 2 >>\n>>", {b"/A": b"1"}),
        (b"<< /A 1 % /A 2 (\r/C 3%>>\n>>", {b"/A": b"1", b"/C": b"3"}),
        (b"<< /A % ]\n[1 % 2 ]\n 3] >>", {b"/A": b"[1 % 2 ]\n 3]"}),
    ],
)
def test_a_comment_is_never_read_as_anything_else(text, read):
    """ISO 32000-2 clause 7.2.4: to the end of the line. An entry in one would be changed where nobody else sees it."""
    found, end = dictionary_at(text, 0)
    assert ({key: found.get(key) for key in found.spans}, end) == (read, len(text))


@pytest.mark.parametrize("text", [b"<< /A 1 /B 2 /A 1 >>", b"<< /A 1 /#41 2 >>", b"<< /A#20B 1 >>"])
def test_a_key_twice_or_in_another_spelling_is_declined(text):
    """ISO 32000-2 clauses 7.3.5, 7.3.7: `#41` is `A`, and no two entries may have the same key; readers differ."""
    with pytest.raises(Declined, match="a key twice, or an escaped key"):
        Dictionary.parse(text)


def test_what_stands_in_values_is_no_key():
    read = Dictionary.parse(b"<< /A /A#20B /B (#) /C << /A 1 /D#20E 2 >> >>")
    assert [read.get(key) for key in (b"/A", b"/B", b"/C")] == [b"/A#20B", b"(#)", b"<< /A 1 /D#20E 2 >>"]


@pytest.mark.parametrize("text", [b"<< /A 1 /B >>", b"<< /AB>>", b"<< /A 1 % >>"])
def test_a_key_without_a_value_is_no_shorter_key(text):
    with pytest.raises(Declined):
        Dictionary.parse(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", [b"<< " + b"% " * 200 + b")", b"[" + b"%\t" * 200 + b">", b"<< /A" + b" % %" * 200])
def test_comments_beside_comments_are_looked_at_once(text):
    """Each one more used to double the time: 60 octets were a minute."""
    with pytest.raises(Declined):
        dictionary_at(text, 0) if text[:1] == b"<" else items(text)


def laid_out(objects: dict[int, bytes], *, size: int = 0, more: bytes = b"") -> bytes:
    """A file of these objects' octets as they are, with a table; `more` goes behind its trailer."""
    out, rows = bytearray(b"%PDF-1.7\n"), {}
    for number, text in objects.items():
        rows[number] = len(out)
        out += b"%d 0 obj %b" % (number, text)
    size = size or max(objects) + 1
    at = len(out)
    out += b"xref\n0 %d\n" % size
    out += b"".join(b"%010d 00000 n\r\n" % rows[n] if n in rows else b"0000000000 65535 f\r\n" for n in range(size))
    out += b"trailer\n<</Size %d/Root 1 0 R>>\n" % size + more
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % at


PAGES = {1: b"<</Type/Catalog/Pages 2 0 R>>endobj\n", 2: b"<</Kids[3 0 R]>>endobj\n", 3: b"<</Type/Page>>endobj\n"}


def fields_that_share_an_end() -> bytes:
    """Each field's dictionary goes on, behind a comment with all the fields after it, in the same 300 kB."""
    numbers = range(10, 210)
    form = b"<</Fields[%b]>>" % b" ".join(b"%d 0 R" % n for n in numbers)
    objects = PAGES | {1: b"<</Pages 2 0 R/AcroForm %b>>endobj\n" % form}
    objects |= {n: b"<</T(f%d)%%" % n for n in numbers}
    objects[209] += b"\n" + b"".join(b"/%X 1" % n for n in range(50_000)) + b">>endobj\n"
    return laid_out(objects)


def streams_that_unpack(width: int, predicted: bytes) -> bytes:
    """A chain of cross-reference streams, each of 1 kB for a million octets."""
    body = zlib.compress((predicted + bytes(width)) * (1_000_000 // (width + len(predicted))), 9)
    rows = 1_000_000 // (width + len(predicted))
    out, links = bytearray(b"%PDF-1.7\n"), []
    for _ in range(70):
        previous = b"/Prev %d" % links[-1] if links else b""
        links.append(len(out))
        out += (
            b"9 0 obj\n<</Type/XRef/Size 10/Root 1 0 R/W[1 1 %d]/Index[20 %d]/Filter/FlateDecode/Length %d%b%b>>\n"
            % (width - 2, rows, len(body), previous, b"/DecodeParms<</Predictor 12/Columns 3>>" if predicted else b"")
        )
        out += b"stream\n" + body + b"\nendstream\nendobj\n"
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % links[-1]


def pages_that_hold_none() -> bytes:
    """Nodes without leaves, in a file whose table has 2,000 parts."""
    numbers = range(10, 6_000)
    kids = b" ".join(b"%d 0 R" % n for n in numbers)
    objects = PAGES | {2: b"<</Kids[%b]>>" % kids} | dict.fromkeys(numbers, b"<</Kids[]>>")
    found = laid_out(objects)
    first = found.rindex(b"xref\n0 ")
    parts = b"".join(b"%d 1\n0000000000 65535 f\r\n" % n for n in range(10_000, 11_999))
    return found + b"xref\n%btrailer\n<</Root 1 0 R/Size 6000/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (
        parts,
        first,
        len(found),
    )


def looked_at(pdf: bytes) -> None:
    """What the writer looks at first."""
    catalog = Catalog.of(File.open(pdf))
    Form.of(catalog)
    last_page(catalog.file, catalog.content)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "pdf",
    [fields_that_share_an_end(), streams_that_unpack(4, b""), streams_that_unpack(3, b"\2"), pages_that_hold_none()],
    ids=["fields", "unpack", "predicted", "pages"],
)
def test_a_small_file_that_takes_much_is_left(pdf):
    """1 MB took half a minute of the loop, or a gigabyte: what is looked at and kept ends with the file's size."""
    with pytest.raises(Declined, match=r"more work|too much"):
        looked_at(pdf)


@pytest.mark.parametrize("kind", ["in a hybrid's stream", "named twice"])
def test_two_documents_are_seen_in_one_file(kind):
    """Why such a file is left: PDFium shows 9000 EUR, and showed 900 once the catalog was written anew."""
    with pypdfium2.PdfDocument(two_readings.made(kind)) as shown:
        assert shown[0].get_textpage().get_text_range() == two_readings.SHOWN


@pytest.mark.parametrize("kind", [*two_readings.KINDS, *two_readings.UNSEEN])
async def test_what_nobody_looked_at_is_looked_at_whole(tmp_path, kind):
    """A shadow attack prepares what a mending viewer shows later; batches and the CSC API bring files unseen."""
    pdf = two_readings.made(kind)
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.P256)
        check = await at.status.check(party.chain)
        ordered = order(pdf, check.path, party.credential, party.algorithm, level=BaselineLevel.B, stamped=False)
        with pytest.raises(Refused, match="document-unusual"):
            await BoundedWriter(at.keys, at.authority, at.status).sign(pdf, ordered, check.evidence)


@pytest.mark.parametrize("kind", sorted(pdfs.good()))
def test_sound_files_are_one_document(kind):
    File.open(pdfs.good()[kind]).one_document()


def test_numbers_of_any_length_are_declined():
    """An object stream's own table is not believed to be numbers that can be read."""
    body = b"9" * 5_000 + b" 0 <<>>"
    stream = b"<</Type/ObjStm/N 1/First 5003/Length %d>>stream\n%b\nendstream endobj\n" % (len(body), body)
    row = b"\1\0\0\0\2\0\5\0"
    out = b"%PDF-1.7\n5 0 obj" + stream
    at = len(out)
    out += b"6 0 obj<</Type/XRef/Size 7/Root 1 0 R/W[1 2 1]/Index[1 1 5 1]/Length 8>>stream\n"
    out += row[4:] + b"\1\0\11\0" + b"\nendstream endobj\nstartxref\n%d\n%%%%EOF\n" % at
    file = File.open(out)
    with pytest.raises(Declined, match="does not say what it holds"):
        file.read(file.root)


@given(st.text(max_size=30).filter(lambda text: "\ud800" not in text and text.isprintable()))
def test_a_text_string_says_what_was_written(text):
    assert name_of(text_string(text)) == text


@given(st.binary(max_size=20).map(lambda octets: b"<%b>" % octets))
def test_any_octets_of_a_name_are_declined_or_read(name):
    """ISO 32000-2 clause 7.3.4.3; a field's name is read before any key moves."""
    with suppress(Declined):
        assert isinstance(name_of(name), str)


@given(st.binary(max_size=300), st.integers(0, 2_000))
def test_any_octets_are_declined_or_read(noise, at):
    """Nothing but `Declined` leaves the reader, whatever the file."""
    data = pdfs.minimal()
    data = data[:at] + noise + data[at + len(noise) :]
    try:
        file = File.open(data)
        file.read(file.root)
        assert file.beyond > 0
    except Declined:
        pass
