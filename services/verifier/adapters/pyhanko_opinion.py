"""Engine two: pyHanko's own validation of every signature, each field on its own; whatever it raises is "cannot say".

It shares no code with engine one and none of its rules: what pyHanko says is handed on as it is, with the reason, and
`services.verifier.agreement` knows where it is known to mislead. Nothing is ever fetched.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from typing import Any

from asn1crypto import crl, ocsp, pem, x509
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.crypt import AuthStatus
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESFailure, AdESIndeterminate, AdESStatus, AdESSubIndic
from pyhanko.sign.diff_analysis import SuspiciousModification
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.validation import generic_cms
from pyhanko.sign.validation.ades import (
    ades_basic_validation,
    ades_lta_validation,
    ades_timestamp_validation,
    ades_with_time_validation,
)
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

from services.verifier.model import Brought, Indication, Integrity, Opinion, Scope, Verdict

ENGINE = "pyhanko"
VERSION = version("pyhanko")
MOST_SIGNATURES = 100
"""More signatures than this are not judged."""
MOST_REVISIONS = 64
"""More revisions than this are not compared: pyHanko compares each signature's with every later one."""
MOST_FIELDS = 5_000
MOST_DEPTH = 60

_KINDS = frozenset(each.value for each in SigSeedSubFilter)
_INDICATIONS = {
    AdESStatus.PASSED: Indication.PASSED,
    AdESStatus.FAILED: Indication.FAILED,
    AdESStatus.INDETERMINATE: Indication.INDETERMINATE,
}
_PAST_MAY_HELP = (
    AdESIndeterminate.REVOKED_NO_POE,
    AdESIndeterminate.REVOKED_CA_NO_POE,
    AdESIndeterminate.OUT_OF_BOUNDS_NO_POE,
    AdESIndeterminate.OUT_OF_BOUNDS_NOT_REVOKED,
    AdESIndeterminate.CRYPTO_CONSTRAINTS_FAILURE_NO_POE,
    AdESIndeterminate.REVOCATION_OUT_OF_BOUNDS_NO_POE,
    AdESIndeterminate.TRY_LATER,
)


class _CannotSay(Exception):
    """pyHanko has no answer; `reason` is a kebab-case name."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class _Signature(EmbeddedPdfSignature):
    """A signature whose digest and differences are computed once, however often pyHanko asks for them."""

    def compute_integrity_info(self, diff_policy: Any = None, skip_diff: bool = False) -> None:
        if not self._integrity_checked:
            super().compute_integrity_info(diff_policy, skip_diff)  # type: ignore[no-untyped-call]


async def opinions(
    data: bytes, *, anchors: Sequence[bytes], now: datetime, extra: Brought | None = None
) -> tuple[Opinion, ...]:
    """What pyHanko says of each signature of a PDF; of the file alone where it finds none or cannot read it.

    `anchors` are certificates, PEM or DER; `now` is aware. Strict reading first; a signature that it cannot judge is
    read tolerantly. Never raises for what is in the file, except MemoryError.
    """
    answers: dict[Any, Opinion] = {}
    unreadable: _CannotSay | None = None
    read = 0
    for strict in (True, False):
        try:
            reader = _open(data, strict)
            found = list(_signatures(reader))
        except _CannotSay as why:
            unreadable = why
            continue
        read += 1
        judge = _Judge(reader, found, _anchors(anchors), now, extra or Brought())
        for key, name, field in found:
            before = answers.get(key)
            if before is None or before.verdict is None:
                said = await judge.opinion(name, field)
                answers[key] = before if before is not None and _worse(said, before) else said
        if answers and all(said.verdict is not None for said in answers.values()):
            break
    if answers:
        return tuple(answers.values())
    if read == 0 and unreadable is not None:
        return (Opinion(engine=ENGINE, scope=Scope.FILE, reason=unreadable.reason, detail=unreadable.detail),)
    return (Opinion(engine=ENGINE, scope=Scope.FILE, integrity=Integrity.UNSIGNED, reason="no-signature"),)


def _worse(tolerant: Opinion, strict: Opinion) -> bool:
    """Whether the tolerant reading says less than the strict one."""
    return tolerant.integrity is None and strict.integrity is not None


def _open(data: bytes, strict: bool) -> PdfFileReader:
    try:
        reader = PdfFileReader(io.BytesIO(data), strict=strict)
        if reader.encrypted and reader.decrypt(b"").status is AuthStatus.FAILED:
            raise _CannotSay("encrypted")
        reader.root  # noqa: B018 - read the catalog now
        if reader.xrefs.total_revisions > MOST_REVISIONS:
            raise _CannotSay("too-many-revisions", found=str(reader.xrefs.total_revisions), most=str(MOST_REVISIONS))
    except _CannotSay:
        raise
    except Exception as fault:
        raise _exception(fault) from fault
    return reader


def _signatures(reader: PdfFileReader) -> Iterator[tuple[Any, str, Any]]:
    """(value, field name, field) of every signature value, once; its own walk, since pyHanko's stops at a bad field."""
    try:
        fields = reader.root["/AcroForm"]["/Fields"]
        stack = [("", fields.raw_get(index), None, 0) for index in reversed(range(len(fields)))]
    except KeyError:
        return
    except Exception as fault:
        raise _exception(fault) from fault
    seen: set[Any] = set()
    values: set[Any] = set()
    while stack:
        prefix, raw, kind, depth = stack.pop()
        try:
            if isinstance(raw, generic.IndirectObject):
                if raw.reference in seen:
                    continue
                seen.add(raw.reference)
            field = raw.get_object()
            if not isinstance(field, generic.DictionaryObject):
                continue
            name = ".".join(part for part in (prefix, str(field["/T"]) if "/T" in field else "") if part)
            kind = field["/FT"] if "/FT" in field else kind  # noqa: SIM401 - get() would not follow references
            if "/Kids" in field and depth < MOST_DEPTH:
                kids = field["/Kids"]
                stack.extend((name, kids.raw_get(index), kind, depth + 1) for index in reversed(range(len(kids))))
            value = field.raw_get("/V") if kind == "/Sig" and "/V" in field else None
            key = value.reference if isinstance(value, generic.IndirectObject) else id(value)
        except Exception:  # noqa: BLE001, S112 - one bad field hides no other; engine one names it
            continue
        if len(seen) > MOST_FIELDS:
            raise _CannotSay("too-many-fields", most=str(MOST_FIELDS))
        if value is None or isinstance(value, generic.NullObject) or key in values:
            continue
        values.add(key)
        if len(values) > MOST_SIGNATURES:
            raise _CannotSay("too-many-signatures", most=str(MOST_SIGNATURES))
        # A reference means the same in both readings; a direct value is found again by its field.
        yield (key if isinstance(value, generic.IndirectObject) else name), name, field


class _Judge:
    """One reading of one file: its signatures, and what is known to judge them by."""

    def __init__(
        self,
        reader: PdfFileReader,
        found: list[tuple[Any, str, Any]],
        anchors: Sequence[x509.Certificate],
        now: datetime,
        extra: Brought,
    ) -> None:
        self._reader = reader
        self._signatures: dict[str, _Signature | _CannotSay] = {}
        for _, name, field in found:
            try:
                self._signatures[name] = _embedded(reader, name, field)
            except _CannotSay as why:
                self._signatures[name] = why
        # pyHanko's long-term validation lists the signatures anew and falls over a bad one: it gets the usable ones.
        usable = [one for one in self._signatures.values() if isinstance(one, _Signature) and _measurable(one)]
        reader._embedded_signatures = sorted(  # type: ignore[assignment]
            usable, key=lambda one: one.signed_revision
        )
        policy = CertValidationPolicySpec(
            trust_manager=SimpleTrustManager.build([CertTrustAnchor(each) for each in anchors]),
            revinfo_policy=CertRevTrustPolicy(REQUIRE_REVINFO),
        )
        self._spec = SignatureValidationSpec(
            cert_validation_policy=policy,
            revinfo_gathering_policy=RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY),
            local_knowledge=_knowledge(reader, extra),
        )
        self._timing = ValidationTimingInfo(
            validation_time=now, best_signature_time=now, point_in_time_validation=False
        )

    async def opinion(self, name: str, field: Any) -> Opinion:
        """What pyHanko says of one signature."""
        base = Opinion(
            engine=ENGINE,
            scope=Scope.TIMESTAMP if _is_stamp(field) else Scope.SIGNATURE,
            field=name,
            signed_octets=_end(field),
            parsing="strict" if self._reader.strict else "tolerant",
        )
        one = self._signatures[name]
        if isinstance(one, _CannotSay):
            return base.model_copy(update={"reason": one.reason, "detail": one.detail})
        try:
            integrity, reason, detail = _integrity(one)
        except _CannotSay as why:
            return base.model_copy(update={"reason": why.reason, "detail": why.detail})
        if integrity is not Integrity.INTACT:
            said = {"integrity": integrity, "verdict": Verdict.FAILED, "reason": reason, "detail": detail}
            return base.model_copy(update=said)
        try:
            sub = await self._trust(one)
        except Exception as fault:  # noqa: BLE001 - pyHanko leaks what it meets
            leak = _exception(fault)
            return base.model_copy(update={"integrity": integrity, "reason": leak.reason, "detail": leak.detail})
        indication = _INDICATIONS[sub.status]
        if sub is AdESFailure.FORMAT_FAILURE:
            # Digest and value have been found to fit: any other failure is that of a timestamp, or of trust.
            integrity = Integrity.BROKEN
        return base.model_copy(
            update={
                "integrity": integrity,
                "verdict": Verdict.of(indication),
                "indication": indication,
                "sub_indication": None if indication is Indication.PASSED else sub.standard_name,
            }
        )

    async def _trust(self, one: _Signature) -> AdESSubIndic:
        """Path, revocation as a hard requirement, timestamps: EN 319 102-1 clauses 5.3 to 5.6 as pyHanko has them."""
        if one.sig_object_type == "/DocTimeStamp":
            stamp = await ades_timestamp_validation(
                one.signed_data, self._spec, one.compute_digest, timing_info=self._timing
            )
            return stamp.ades_subindic
        stamped = any(True for _ in generic_cms.extract_tst_data_iter(one.signer_info, signed=False))
        # Without a signature timestamp pyHanko's validation with time gives up; now is the moment to judge by.
        validate = ades_with_time_validation if stamped else ades_basic_validation
        present = await validate(one.signed_data, self._spec, timing_info=self._timing, raw_digest=one.compute_digest())
        if not stamped or present.ades_subindic not in _PAST_MAY_HELP:
            return present.ades_subindic
        # Only now the past: pyHanko's long-term validation asks for proofs of it even where the present suffices.
        long = await ades_lta_validation(one, PdfSignatureValidationSpec(self._spec), timing_info=self._timing)
        return long.ades_subindic


def _embedded(reader: PdfFileReader, name: str, field: Any) -> _Signature:
    try:
        value = field["/V"]
        kind, sub_filter = value.get("/Type", "/Sig"), value["/SubFilter"] if "/SubFilter" in value else None  # noqa: SIM401
        if sub_filter not in _KINDS:
            raise _CannotSay("sub-filter-unsupported", found=str(sub_filter)[:40])
        if sub_filter == SigSeedSubFilter.ETSI_RFC3161.value and kind != "/DocTimeStamp":
            raise _CannotSay("timestamp-without-type")
        return _Signature(reader, field, name)
    except _CannotSay:
        raise
    except Exception as fault:
        raise _exception(fault) from fault


def _integrity(one: _Signature) -> tuple[Integrity, str | None, dict[str, str]]:
    """(what became of the signed bytes, why it is not good, detail): digest and value, coverage, later changes."""
    try:
        one.compute_integrity_info()
        intact, valid = _value_fits(one)
        docmdp_ok = one.summarise_integrity_info()["docmdp_ok"]
    except SignatureValidationError as fault:
        if fault.ades_status is AdESStatus.FAILED:
            return Integrity.BROKEN, "refused-by-rule", {"where": _where(fault)}
        raise _CannotSay("refused-by-rule", where=_where(fault)) from fault
    except Exception as fault:
        raise _exception(fault) from fault
    if not intact:
        return Integrity.BROKEN, "digest-differs", {}
    if not valid:
        return Integrity.BROKEN, "value-does-not-fit" if _is_der(one) else "attributes-not-der", {}
    coverage: Any = one.coverage
    if coverage < SignatureCoverageLevel.ENTIRE_REVISION:
        return Integrity.CHANGED, "coverage-unclear", {"coverage": coverage.name.lower().replace("_", "-")}
    result: Any = one.diff_result
    if isinstance(result, SuspiciousModification):
        return Integrity.CHANGED, "modification-suspicious", {"where": _where(result)}
    if docmdp_ok is False:
        return Integrity.CHANGED, "beyond-permission", {"level": result.modification_level.name.lower()}
    return Integrity.INTACT, None, {}


def _value_fits(one: _Signature) -> tuple[bool, bool]:
    """(the digest is that of the signed bytes, the signature value fits the key)."""
    token = one.sig_object_type == "/DocTimeStamp"
    digest, right = one.compute_digest(), True
    if token:
        content = one.signed_data["encap_content_info"]["content"]
        right = content.parsed["message_imprint"]["hashed_message"].native == digest
        digest = hashlib.new(one.md_algorithm, bytes(content)).digest()
    intact, valid = generic_cms.validate_sig_integrity(
        one.signer_info,
        one.signer_cert,
        expected_content_type="tst_info" if token else "data",
        actual_digest=digest,
    )
    return intact and right, valid


def _measurable(one: _Signature) -> bool:
    try:
        one.compute_integrity_info()
    except Exception:  # noqa: BLE001 - its own opinion says so; here it is only kept from the others
        return False
    return True


def _is_der(one: _Signature) -> bool:
    """Whether the signed attributes stand in the file as DER; pyHanko hashes them re-encoded."""
    try:
        attributes = one.signer_info["signed_attrs"]
        return bool(attributes.dump() == attributes.copy().dump(force=True))
    except Exception:  # noqa: BLE001
        return False


def _is_stamp(field: Any) -> bool:
    try:
        value = field["/V"]
        return bool(value.get("/Type") == "/DocTimeStamp" or value["/SubFilter"] == SigSeedSubFilter.ETSI_RFC3161.value)
    except Exception:  # noqa: BLE001
        return False


def _end(field: Any) -> int | None:
    try:
        _, _, start, rest = (int(each) for each in field["/V"]["/ByteRange"])
    except Exception:  # noqa: BLE001
        return None
    return start + rest


def _knowledge(reader: PdfFileReader, extra: Brought) -> LocalKnowledge:
    """What the file's DSS and the caller bring; what cannot be read serves nobody."""
    certificates, responses, lists = list(extra.certificates), list(extra.ocsps), list(extra.crls)
    try:
        store = DocumentSecurityStore.read_dss(reader)
        certificates += [each.get_object().data for each in store.certs.values()]
        responses += [each.get_object().data for each in store.ocsps]
        lists += [each.get_object().data for each in store.crls]
    except Exception:  # noqa: BLE001, S110 - also where there is none
        pass
    found = LocalKnowledge([], [], [])
    for raw in certificates:
        with suppress(Exception):
            found.known_certs.append(_certificate(raw))
    for raw in responses:
        with suppress(Exception):
            found.known_ocsps.extend(OCSPContainer.load_multi(ocsp.OCSPResponse.load(raw)))
    for raw in lists:
        with suppress(Exception):
            found.known_crls.append(CRLContainer(crl.CertificateList.load(raw)))
    return found


def _certificate(raw: bytes) -> x509.Certificate:
    der = pem.unarmor(raw)[2] if pem.detect(raw) else raw
    found: x509.Certificate = x509.Certificate.load(der)
    found.native  # noqa: B018 - asn1crypto reads late; a certificate that cannot be read must fail here
    return found


def _anchors(given: Sequence[bytes]) -> list[x509.Certificate]:
    found = []
    for raw in given:
        with suppress(Exception):
            found.append(_certificate(raw))
    return found


def _exception(fault: Exception) -> _CannotSay:
    """A foreign exception by its type and place; its message may quote the file and is not handed on."""
    return _CannotSay("exception", fault=type(fault).__name__, where=_where(fault))


def _where(fault: BaseException) -> str:
    """Module and function in which it was raised; "-" when it never was."""
    trace, place = fault.__traceback__, "-"
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", "?"))
        if module.startswith("pyhanko"):
            place = f"{module.rpartition('.')[2]}.{trace.tb_frame.f_code.co_qualname}"
        trace = trace.tb_next
    return place
