"""What `antin trust` does: list, show, add, remove and refresh the named anchor sets of a data folder.

Circular 15/2025/TT-BKHCN Art 5: certificates of NEAC, public CAs and foreign lists are installed and updated (S5),
added and removed, and all of them can be listed (S12). Exit: 0 done; 1 a source could not be fetched or is not to be
believed; 2 wrong usage, nothing there, or a fingerprint not confirmed. Nothing is changed unless the exit is 0.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from events.errors import AntinError, Refused
from services.runtime.clock import Clock, SystemClock
from services.runtime.outbound import Outbound
from services.verifier.adapters.trust_sources import fetch
from services.verifier.report import local
from services.verifier.trust_store import (
    ANY,
    FOLDER,
    NAME,
    SUFFIXES,
    Anchor,
    AnchorSet,
    Fetched,
    Kind,
    Purpose,
    SetSettings,
    Source,
    read_certificates,
    read_fetched,
    read_set,
    read_settings,
    utc,
    write_certificate,
    write_fetched,
    write_settings,
)

DONE, FAILED, USAGE = 0, 1, 2
_KINDS = {
    Kind.PUBLIC: "công cộng / public",
    Kind.GOVERNMENT: "chuyên dùng công vụ / government",
    Kind.FOREIGN: "nước ngoài / foreign",
    Kind.OWN: "tự chọn / own",
    Kind.LAB: "thử nghiệm / lab",
}
_PURPOSES = {Purpose.SIGNATURES: "chữ ký / signatures", Purpose.TIMESTAMPS: "dấu thời gian / timestamps"}


class TrustDesk:
    """The commands, on the trust folder of one data folder."""

    def __init__(
        self, data: Path, *, out: TextIO | None = None, err: TextIO | None = None, clock: Clock | None = None
    ) -> None:
        self._folder = data / FOLDER
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._clock = clock or SystemClock()

    def list(self, name: str | None = None, *, as_json: bool = False) -> int:
        """Every set and every certificate in it; with a name only that set's."""
        return self._guarded(lambda: self._list(name, as_json))

    def show(self, digest: str, *, as_json: bool = False) -> int:
        """One certificate, by the beginning of its SHA-256 (eight digits or more)."""
        return self._guarded(lambda: self._show(digest, as_json))

    def add(
        self,
        places: Sequence[Path],
        name: str,
        *,
        kind: Kind | None = None,
        label: str | None = None,
        purpose: Purpose | None = None,
        confirmed: Sequence[str] = (),
    ) -> int:
        """Add certificates from files or folders to a set, once each fingerprint is confirmed."""
        return self._guarded(lambda: self._add(places, name, kind, label, purpose, confirmed))

    async def subscribe(
        self,
        url: str,
        name: str,
        *,
        kind: Kind | None = None,
        label: str | None = None,
        operators: Path | None = None,
        days: int = 7,
        confirmed: Sequence[str] = (),
        allow: Sequence[str] = (),
    ) -> int:
        """Make a set that comes from a URL: a trusted list of these operators, or a bundle pinned by its digest."""

        async def act() -> int:
            place = self._place(name)
            if not 1 <= days <= 366:
                raise _usage(f"--days {days}", "1 to 366", "give another number")
            if place.exists():
                raise _usage(f"a set {name} already", "a new name", "remove it first: antin trust remove --set")
            if operators is not None:
                ders = read_certificates(operators)
                if not self._confirmed([Anchor(der) for der in ders], confirmed):
                    return USAGE
                source = Source(url=url, operators=tuple(base64.b64encode(der).decode() for der in ders), days=days)
            elif len(confirmed) == 1:
                source = Source(url=url, sha256=_digest(confirmed[0]), days=days)
            else:
                raise _usage(
                    "a URL without anything that makes its answer believable",
                    "--operators FILE (a signed trusted list), or --sha256 of the bundle",
                    "ask the publisher for either by another way",
                )
            settings = SetSettings(kind=kind or Kind.FOREIGN, label=label or name, source=source)
            async with Outbound(allowed=allow) as outbound:
                fetched = await fetch(source, outbound, self._clock.now())
            write_settings(place, settings)
            write_fetched(place, fetched)
            self._say(_told(name, fetched))
            return DONE

        return await self._guarded_async(act)

    async def refresh(self, names: Sequence[str] = (), *, allow: Sequence[str] = ()) -> int:
        """Fetch every set that comes from a URL; what was fetched before stays when the new answer is not good."""
        code = DONE
        async with Outbound(allowed=allow) as outbound:
            for place in self._places():
                if names and place.name not in names:
                    continue
                code = max(code, await self._guarded_async(partial(self._refresh, place, outbound)))
        return code

    def remove(self, name: str, digests: Sequence[str] = (), *, whole: bool = False) -> int:
        """Take certificates out of a set by the beginnings of their SHA-256, or the whole set."""
        return self._guarded(lambda: self._remove(name, digests, whole))

    # --- what they do

    def _list(self, name: str | None, as_json: bool) -> int:
        now = self._clock.now()
        sets = [read_set(place) for place in self._places() if name in (None, place.name)]
        if name is not None and not sets:
            raise self._no_set(name)
        if as_json:
            self._out.write(json.dumps([_set_json(one, now) for one in sets], ensure_ascii=False, indent=2) + "\n")
            return DONE
        if not sets:
            self._say(
                f"Chưa có danh sách tin cậy nào trong {self._folder}; không chữ ký nào có thể Đạt nếu không có.",
                f"No trusted set in {self._folder} yet; nothing can pass without one.",
                "antin trust add root.pem --set neac --kind public --label NEAC",
            )
            return DONE
        console = Console(file=self._out, highlight=False)
        for one in sets:
            title = f"{one.name}: {one.label} ({_KINDS[one.kind]}), {len(one.anchors)}"
            state = _state(one, now)
            if not console.is_terminal:
                self._say(title, *([f"  {state}"] if state else []))
                for anchor in one.anchors:
                    self._say(f"  {anchor.sha256}  {_purposes(anchor)}  {anchor.name}  {_life(anchor, now)}")
                continue
            console.print(f"[bold]{escape(title)}[/]" + (f"  [dim]{escape(state)}[/]" if state else ""))
            table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
            for heading in ("SHA-256", "ai / who", "dùng cho / for", "thời hạn / validity"):
                table.add_column(heading, overflow="fold")
            for anchor in one.anchors:
                table.add_row(anchor.sha256[:16], escape(anchor.name), _purposes(anchor), _life(anchor, now))
            console.print(table)
        return DONE

    def _show(self, digest: str, as_json: bool) -> int:
        wanted = _prefix(digest)
        now = self._clock.now()
        found = [
            (one, anchor)
            for one in (read_set(place) for place in self._places())
            for anchor in one.anchors
            if anchor.sha256.startswith(wanted)
        ]
        if not found:
            raise _usage(f"no certificate {digest}", "one of antin trust list", "check the digits")
        if as_json:
            rows = [{"set": one.name, **_anchor_json(anchor)} for one, anchor in found]
            self._out.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
            return DONE
        for one, anchor in found:
            certificate = anchor.certificate
            self._say(
                f"{anchor.name}",
                f"  danh sách / set       {one.name} ({one.label}, {_KINDS[one.kind]})",
                f"  dùng cho / for        {_purposes(anchor)}",
                f"  chủ thể / subject     {anchor.subject}",
                f"  nơi cấp / issuer      {certificate.issuer.rfc4514_string()}",
                f"  số / serial           {certificate.serial_number:x}",
                f"  thời hạn / validity   {_life(anchor, now)}",
                f"  SHA-256               {anchor.sha256}",
                f"  khóa / key (SPKI)     {anchor.spki}",
            )
            for span in anchor.granted or ():
                until = local(span.end) if span.end else "…"
                self._say(f"  công nhận / granted   {local(span.start)} – {until}")
            if anchor.granted == ():
                self._say("  công nhận / granted   không / never")
        return DONE

    def _add(
        self,
        places: Sequence[Path],
        name: str,
        kind: Kind | None,
        label: str | None,
        purpose: Purpose | None,
        confirmed: Sequence[str],
    ) -> int:
        place = self._place(name)
        ders = list(dict.fromkeys(der for one in places for der in read_certificates(one)))
        anchors = [Anchor(der) for der in ders]
        settings = read_settings(place) if place.exists() else SetSettings()
        if settings.source is not None:
            raise _usage(f"a set {name} that comes from a URL", "a set of files", "choose another name")
        if not self._confirmed(anchors, confirmed):
            return USAGE
        known = {anchor.sha256 for anchor in read_set(place).anchors} if place.exists() else set()
        purposes = dict(settings.purposes)
        for anchor in anchors:
            purposes.pop(anchor.sha256, None)
            if purpose is not None:
                purposes[anchor.sha256] = (purpose,)
        settings = settings.model_copy(
            update={
                "kind": kind or settings.kind,
                "label": label or settings.label or name,
                "purposes": purposes,
            }
        )
        for anchor in anchors:
            if anchor.sha256 not in known:
                write_certificate(place, anchor.der)
        write_settings(place, settings)
        fresh = sum(anchor.sha256 not in known for anchor in anchors)
        self._say(f"{name}: +{fresh} chứng thư, {len(anchors) - fresh} đã có / {fresh} added, rest already there")
        return DONE

    async def _refresh(self, place: Path, outbound: Outbound) -> int:
        settings = read_settings(place)
        if settings.source is None:
            return DONE
        fetched = await fetch(settings.source, outbound, self._clock.now(), known=read_fetched(place))
        write_fetched(place, fetched)
        self._say(_told(place.name, fetched))
        return DONE

    def _remove(self, name: str, digests: Sequence[str], whole: bool) -> int:
        place = self._place(name)
        if not place.is_dir():
            raise self._no_set(name)
        if whole == bool(digests):
            raise _usage(
                "neither or both of certificates and --all", "digests of certificates, or --all", "see antin trust list"
            )
        if whole:
            shutil.rmtree(place)
            self._say(f"{name}: đã bỏ / removed")
            return DONE
        settings = read_settings(place)
        if settings.source is not None:
            raise _usage(f"a set {name} that comes from a URL", "a set of files", "remove the whole set with --all")
        kept: dict[Path, list[bytes]] = {
            each: list(read_certificates(each))
            for each in sorted(place.iterdir())
            if each.suffix.lower() in SUFFIXES and each.is_file()
        }
        every = {hashlib.sha256(der).hexdigest() for ders in kept.values() for der in ders}
        gone: set[str] = set()
        for digest in digests:
            hits = {one for one in every if one.startswith(_prefix(digest))}
            if len(hits) != 1:
                raise _usage(f"{len(hits)} certificates {digest} in {name}", "exactly one", "give more digits")
            gone |= hits
        # What goes is taken out of every file first written anew, so that a crash leaves too much and never too little.
        for each, ders in kept.items():
            rest = [der for der in ders if hashlib.sha256(der).hexdigest() not in gone]
            if len(rest) != len(ders):
                for der in rest:
                    write_certificate(place, der)
                if each.name not in {f"{hashlib.sha256(der).hexdigest()[:16]}.pem" for der in rest}:
                    each.unlink()
        purposes = {key: value for key, value in settings.purposes.items() if key not in gone}
        write_settings(place, settings.model_copy(update={"purposes": purposes}))
        self._say(f"{name}: -{len(gone)} chứng thư / certificates")
        return DONE

    # --- around it

    def _confirmed(self, anchors: Sequence[Anchor], confirmed: Sequence[str]) -> bool:
        """Whether every certificate's fingerprint was given in full; else say them and how to confirm."""
        given = {_digest(one) for one in confirmed}
        missing = [anchor for anchor in anchors if anchor.sha256 not in given]
        if not missing:
            return True
        self._err.write(
            "antin: chưa thêm gì. Hãy so dấu vân tay với nguồn đáng tin (không phải nơi bạn tải tệp), rồi xác nhận:\n"
            "antin: nothing was added. Compare each fingerprint with what its owner publishes by another way, then "
            "confirm:\n"
        )
        for anchor in missing:
            self._err.write(f"  {anchor.subject}\n    --sha256 {anchor.sha256}\n")
        return False

    def _place(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise _usage(
                "another name of a set", "small letters, digits and hyphens, at most 40", "choose another name"
            )
        return self._folder / name

    def _places(self) -> Sequence[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(each for each in self._folder.iterdir() if each.is_dir() and NAME.fullmatch(each.name))

    def _no_set(self, name: str) -> Refused:
        known = ", ".join(place.name for place in self._places()) or "none yet"
        return _usage(f"no set {name}", f"one of: {known}", "see antin trust list")

    def _say(self, *lines: str) -> None:
        self._out.writelines(f"{line}\n" for line in lines)

    def _guarded(self, act: Callable[[], int]) -> int:
        try:
            return act()
        except AntinError as fault:
            return self._fault(fault)

    async def _guarded_async(self, act: Callable[[], Any]) -> int:
        try:
            return int(await act())
        except AntinError as fault:
            return self._fault(fault)

    def _fault(self, fault: AntinError) -> int:
        self._err.write(f"antin: found {fault.found}; expected {fault.expected}; {fault.remedy}\n")
        return USAGE if fault.code in ("trust-usage", "anchors-unusable", "source-not-https") else FAILED


def _told(name: str, fetched: Fetched) -> str:
    number = f", số / number {fetched.sequence}" if fetched.sequence is not None else ""
    following = f", bản sau trước / next by {local(fetched.next_update)}" if fetched.next_update else ""
    odd = f", {fetched.unreadable} không đọc được / unreadable" if fetched.unreadable else ""
    return f"{name}: {len(fetched.anchors)} chứng thư / certificates{number}{following}{odd}"


def _state(one: AnchorSet, now: datetime) -> str:
    if one.source is None:
        return ""
    if one.fetched_at is None:
        return "chưa tải / never fetched"
    stale = " QUÁ HẠN, không dùng / STALE, not used" if one.stale(now) else ""
    return f"tải / fetched {local(one.fetched_at)}, dùng đến / usable until {local(one.usable_until)}{stale}"


def _purposes(anchor: Anchor) -> str:
    return ", ".join(_PURPOSES[one] for one in ANY if one in anchor.purposes)


def _life(anchor: Anchor, now: datetime) -> str:
    certificate = anchor.certificate
    note = ""
    if now > certificate.not_valid_after_utc:
        note = " hết hạn / expired"
    elif now < certificate.not_valid_before_utc:
        note = " chưa hiệu lực / not yet valid"
    return f"{local(certificate.not_valid_before_utc)} – {local(certificate.not_valid_after_utc)}{note}"


def _set_json(one: AnchorSet, now: datetime) -> dict[str, Any]:
    return {
        "set": one.name,
        "kind": one.kind.value,
        "label": one.label,
        "url": one.source.url if one.source else None,
        "fetched_at": utc(one.fetched_at),
        "usable_until": utc(one.usable_until),
        "stale": one.stale(now),
        "certificates": [_anchor_json(anchor) for anchor in one.anchors],
    }


def _anchor_json(anchor: Anchor) -> dict[str, Any]:
    certificate = anchor.certificate
    return {
        "sha256": anchor.sha256,
        "spki_sha256": anchor.spki,
        "name": anchor.name,
        "subject": anchor.subject,
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": utc(certificate.not_valid_before_utc),
        "not_after": utc(certificate.not_valid_after_utc),
        "purposes": [one.value for one in ANY if one in anchor.purposes],
        "granted": None
        if anchor.granted is None
        else [{"from": utc(span.start), "until": utc(span.end)} for span in anchor.granted],
    }


def _digest(text: str) -> str:
    """A whole SHA-256; colons and spaces, as tools print them, do not matter."""
    found = text.lower().replace(":", "").replace(" ", "")
    if len(found) != 64 or not set(found) <= set("0123456789abcdef"):
        raise _usage("a --sha256 that is none", "64 hexadecimal digits", "copy it whole")
    return found


def _prefix(text: str) -> str:
    found = text.lower().replace(":", "").replace(" ", "")
    if not 8 <= len(found) <= 64 or not set(found) <= set("0123456789abcdef"):
        raise _usage(f"the digest {text[:70]}", "at least 8 hexadecimal digits of a SHA-256", "see antin trust list")
    return found


def _usage(found: str, expected: str, remedy: str) -> Refused:
    return Refused("trust-usage", found=found, expected=expected, remedy=remedy)
