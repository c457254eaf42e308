"""ETSI EN 319 142-1 clause 6.3, table 1, line by line, on what the fast writer makes."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import pytest
from asn1crypto import cms
from pyhanko.pdf_utils.reader import PdfFileReader

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pdfs
from signer_world import desk, order

from events.values import BaselineLevel, Digest
from services.signer.adapters.fast.writer import FastWriter
from services.signer.model import SigningAlgorithm

TIMED = (BaselineLevel.T, BaselineLevel.LT, BaselineLevel.LTA)
LASTING = (BaselineLevel.LT, BaselineLevel.LTA)


@pytest.mark.parametrize("level", list(BaselineLevel))
async def test_each_line_of_the_table(tmp_path, level):
    async with desk(tmp_path) as at:
        party = await at.party(SigningAlgorithm.RSA_3072_PSS)
        check = await at.status.check(party.chain)
        ordered = order(pdfs.minimal(), check.path, party.credential, party.algorithm, level=level, reason="Agreed")
        writer = FastWriter(at.keys, at.authority, at.status)
        pdf = (await writer.sign(pdfs.minimal(), ordered, check.evidence)).pdf
        token = await at.authority.timestamp(Digest.of(pdf))
    reader = PdfFileReader(BytesIO(pdf))
    (signature,) = reader.embedded_regular_signatures
    said = signature.sig_object
    contents = bytes(said.raw_get("/Contents"))
    # Encoded before anything is looked at: afterwards asn1crypto encodes every part of it anew, for minutes.
    encoded = cms.ContentInfo.load(contents).dump()
    content = cms.ContentInfo.load(contents)
    signed = content["content"]
    (signer,) = signed["signer_infos"]
    attributes = {item["type"].native: item["values"] for item in signer["signed_attrs"]}
    unsigned = {item["type"].native for item in signer["unsigned_attrs"]} if signer["unsigned_attrs"].native else set()

    # "SignedData.certificates: shall be present", with the signing certificate and the path up to the anchor.
    assert {c.chosen.dump() for c in signed["certificates"]} == set(check.path)
    # "content-type: shall be present", of value id-data.
    assert attributes["content_type"][0].native == "data"
    # "message-digest: shall be present".
    assert len(attributes["message_digest"][0].native) == 32
    # "ESS signing-certificate-v2: shall be present" where the digest is not SHA-1; the other form is not used.
    assert "signing_certificate_v2" in attributes
    assert "signing_certificate" not in attributes
    # "signing-time attribute: shall not be present"; "entry with key M in Signature Dictionary: shall be present".
    assert "signing_time" not in attributes
    assert str(said["/M"]).startswith("D:")
    # "entry with key Contents: shall be present", DER, the rest of the room being zeros.
    assert contents[: len(encoded)] == encoded
    assert not contents[len(encoded) :].strip(b"\0")
    # "entry with key Filter: shall be present"; "entry with key SubFilter: shall be present", ETSI.CAdES.detached.
    assert said["/Filter"] == "/Adobe.PPKLite"
    assert said["/SubFilter"] == "/ETSI.CAdES.detached"
    # "entry with key ByteRange: shall be present", over the entire file but Contents.
    start, first, second, length = (int(one) for one in said["/ByteRange"])
    assert start == 0
    assert pdf[first : first + 1] + pdf[second - 1 : second] == b"<>"
    end = second + length
    assert pdf[:end].endswith(b"%%EOF\n")
    assert (end == len(pdf)) == (level not in LASTING)
    # "entry with key Reason: may be present" without a commitment-type-indication; "entry with key Cert: shall not".
    assert said["/Reason"] == "Agreed"
    assert "commitment_type_indication" not in attributes
    assert "/Cert" not in said
    # "signature-time-stamp: shall be provided" from B-T on.
    assert ("signature_time_stamp_token" in unsigned) == (level in TIMED)
    # "DSS: shall be present" from B-LT on, and after the signature it serves (clause 5.4).
    assert ("/DSS" in reader.root) == (level in LASTING)
    if level in LASTING:
        store = reader.root["/DSS"]
        # r: "the full set of certificates [...] which are not already present shall be included"; s: "duplication of
        # certificate values within the signature should be avoided".
        held = [bytes(item.get_object().data) for item in store.get("/Certs", [])]
        (stamp,) = next(item["values"] for item in signer["unsigned_attrs"] if "time_stamp" in item["type"].native)
        carried = {c.chosen.dump() for c in (*signed["certificates"], *stamp["content"]["certificates"])}
        assert len(held) == len(set(held))
        assert not carried & set(held)
        assert {*check.path, *token.path} <= carried | set(held)
        assert [bytes(item.get_object().data) for item in store.get("/OCSPs", [])]
        assert reader.xrefs.get_last_change(reader.root.raw_get("/DSS").reference) == signature.signed_revision + 1
    # "document-time-stamp: shall be present" at B-LTA, over all that is before it.
    stamps = reader.embedded_timestamp_signatures
    assert len(stamps) == (level is BaselineLevel.LTA)
    for stamp in stamps:
        assert stamp.sig_object["/SubFilter"] == "/ETSI.RFC3161"
        assert int(stamp.sig_object["/ByteRange"][2]) + int(stamp.sig_object["/ByteRange"][3]) == len(pdf)
