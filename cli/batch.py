"""`antin batch`: one approval for a folder of PDFs, signed by a running installation, resumed after any end.

Exit: 0 every document is signed (or every proof holds), 1 some are not or the API refused, 2 wrong usage.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.client import Client, Failed
from domain.activation import TYPE, Purpose, hashes_txn
from domain.merkle import Inclusion, Tree
from events.errors import Refused
from events.values import BaselineLevel, CredentialId, Digest
from services.runtime.jwks import KeysAtHand

DONE, FAILED, USAGE = 0, 1, 2
AT_ONCE = 8
PAUSE = 0.5
MOST = 10_000
MEMORY = "batch.json"
"""Beside the results: what a resumed command needs."""
LARGEST = 32 * 1024 * 1024
"""Octets of one document that an installation takes."""
HEADER = 1024
"""Within so many octets a PDF says that it is one."""

REASONS = {
    "document-unusual": "tệp hỏng, được mã hóa hoặc có biểu mẫu XFA / it is damaged, encrypted or has an XFA form: "
    "save it anew with another program, then have it approved in another batch",
    "certificate-revoked": "chứng thư đã bị thu hồi / the certificate was revoked: the holder needs another one",
    "certificate-suspended": "chứng thư đang tạm dừng / the certificate is suspended: "
    "when it is good again, have the rest approved in another batch",
    "certificate-expired": "chứng thư đã hết hạn / the certificate has expired: the holder needs another one",
    "batch-over": "quá một ngày kể từ lúc mở / a day has passed since the batch was opened: "
    "have the rest approved in another batch",
    "unforeseen-fault": "lỗi của hệ thống / a fault of the installation: "
    "ask the operator, quoting the batch in batch.json",
}


@dataclass(frozen=True)
class Order:
    """The documents of a folder in the order of their names: the leaves of the tree."""

    folder: Path
    names: tuple[str, ...]
    digests: tuple[Digest, ...]

    @property
    def root(self) -> Digest:
        """What the holder approves."""
        return Tree([digest.raw for digest in self.digests]).root

    def to_approve(self, credential: CredentialId) -> dict[str, Any]:
        """What an activation must say."""
        return {
            "purpose": Purpose.SIGN_DOCUMENTS.value,
            "digest": str(self.root),
            "txn": hashes_txn(credential, len(self.names)),
            "count": len(self.names),
        }


@dataclass(frozen=True)
class Opened:
    """A batch of the installation and the activation that it was opened with."""

    id: str
    activation: str


def order_of(folder: Path) -> Order:
    """Every PDF below a folder.

    Raises:
        ValueError: no folder, or none or too many in it; says what to do.
    """
    if not folder.is_dir():
        raise ValueError(f"found no folder {folder}; expected a folder of PDF files; check the path")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() == ".pdf")
    if not 1 <= len(paths) <= MOST:
        raise ValueError(f"found {len(paths)} PDF files in {folder}; expected 1 to {MOST}; choose another folder")
    names, digests, others = [], [], []
    for path in paths:
        with path.open("rb") as source:
            # Here already, so that nobody approves what the installation would refuse.
            if b"%PDF-" not in source.read(HEADER) or path.stat().st_size > LARGEST:
                others.append(path.relative_to(folder).as_posix())
            source.seek(0)
            digests.append(Digest.from_raw(hashlib.file_digest(source, "sha256").digest()))
        names.append(path.relative_to(folder).as_posix())
    if others:
        raise ValueError(
            f"found {len(others)} files in {folder} that are no PDF or above {LARGEST >> 20} MiB "
            f"({', '.join(others[:5])}{', …' if len(others) > 5 else ''}); expected PDF files; take them out"
        )
    return Order(folder, tuple(names), tuple(digests))


def prepare(folder: Path, credential: str, as_json: bool) -> int:
    """Print what the holder must approve."""
    try:
        found = order_of(folder).to_approve(_credential(credential))
    except ValueError as fault:
        return _usage(str(fault))
    if as_json:
        _say(json.dumps(found))
        return DONE
    _say(f"{found['count']} văn bản / documents. Để chấp thuận / to be approved with the e-identity application:")
    for name in ("purpose", "digest", "txn"):
        _say(f"  {name:<8} {found[name]}")
    return DONE


async def sign(
    folder: Path, out: Path, url: str, key_file: Path, credential: str, activation: Path, level: BaselineLevel
) -> int:
    """Open the batch or find it, send what is awaited, fetch what is signed with its proof; again after any end."""
    try:
        order = order_of(folder)
        _apart(folder, out)
        key, token = (path.read_text().strip() for path in (key_file, activation))
        body = {
            "credential": _credential(credential),
            "activation": token,
            "documents": order.digests,
            "level": level.value,
        }
        await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
        earlier = _remembered(out, body)
    except OSError as fault:
        return _usage(
            f"found {fault.filename}, which cannot be used ({fault.strerror}); expected files that can be read and a "
            "folder that can be written; check the folder, --key-file, --activation and --out"
        )
    except ValueError as fault:
        return _usage(str(fault))
    async with _service(url, key) as service:
        try:
            batch = earlier or await service.open(out, order, body)
            refused = await _press(service, batch, order, out)
        except Failed as fault:
            sys.stderr.write(f"antin: {fault}\n")
            return FAILED
        except aiohttp.InvalidURL:
            return _usage(f"found {url}, which is no address; expected http:// or https:// and a host; check --url")
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as fault:
            sys.stderr.write(
                f"antin: found no answer from {url} ({type(fault).__name__}); expected a running installation; "
                "run the same command again when it runs: nothing is lost and nothing signed twice\n"
            )
            return FAILED
    for name, reason in refused:
        sys.stderr.write(f"antin: {name} không được ký / was not signed: {reason}: {REASONS.get(reason, '?')}\n")
    _say(f"{len(order.names) - len(refused)} / {len(order.names)} đã ký / signed: {out}")
    return FAILED if refused else DONE


async def _press(service: _Service, batch: Opened, order: Order, out: Path) -> list[tuple[str, str]]:
    """Until every document is signed and fetched, or refused; the refused ones with their reasons."""
    refused: dict[int, str] = {}
    tree = Tree([digest.raw for digest in order.digests])
    fetched = {place for place, name in enumerate(order.names) if _ours(out, name, order.digests[place])}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        disable=not sys.stderr.isatty(),
    ) as progress:
        sending = progress.add_task("gửi / sent", total=len(order.names))
        signing = progress.add_task("ký / signed", total=len(order.names), completed=len(fetched))
        awaited = [one["place"] async for one in service.documents(batch.id, "awaited")]
        progress.update(sending, completed=len(order.names) - len(awaited))

        async def send(place: int) -> None:
            await service.send(batch.id, place, (order.folder / order.names[place]).read_bytes())
            progress.advance(sending)

        async def fetch(place: int) -> None:
            signed = await service.signed(batch.id, place)
            await asyncio.to_thread(_keep, batch, order, tree, place, signed, out)
            fetched.add(place)
            progress.advance(signing)

        sent = asyncio.create_task(_each(awaited, send))
        try:
            while len(fetched) + len(refused) < len(order.names):
                if sent.done():
                    sent.result()
                # They are signed about in their order: what lies before the first that is missing needs no other look.
                done = fetched | refused.keys()
                missing = next(place for place in range(len(order.names)) if place not in done)
                ready = [one["place"] async for one in service.documents(batch.id, "signed", missing - 1)]
                await _each([place for place in ready if place not in fetched], fetch)
                refused = {one["place"]: one.get("reason", "?") async for one in service.documents(batch.id, "refused")}
                if len(fetched) + len(refused) < len(order.names):
                    await asyncio.sleep(PAUSE)
            await sent
        finally:
            sent.cancel()
            await asyncio.gather(sent, return_exceptions=True)
    return [(order.names[place], reason) for place, reason in sorted(refused.items())]


def check(out: Path, jwks: Path | None = None) -> int:
    """Check every proof below a folder offline: each signed file begins with a document that was approved.

    `jwks` is a file with the authority's keys; with it the activation's own signature is checked, too.
    """
    keys = None
    try:
        keys = KeysAtHand(jwks.read_bytes()) if jwks is not None else None
    except OSError as fault:
        return _usage(f"found {jwks}, which cannot be read ({fault.strerror}); expected a JWK Set; check --jwks")
    except ValueError as fault:
        return _usage(f"{fault}; check --jwks")
    vouched: dict[str, str | None] = {}
    proofs = sorted(out.rglob("*.proof.json")) if out.is_dir() else []
    if not proofs:
        return _usage(f"found no proofs in {out}; expected a folder that `antin batch sign` wrote; check the path")
    wrong = 0
    for path in proofs:
        why = _unproven(path, keys, vouched)
        if why is not None:
            wrong += 1
            _say(f"{path}: không khớp / does not hold: {why}")
    _say(f"{len(proofs) - wrong} / {len(proofs)} chứng minh đúng / proofs hold")
    if keys is None:
        _say(
            "Chưa kiểm tra chữ ký của cơ quan xác thực / the authority's signature on the activation was not checked: "
            "give its keys with --jwks"
        )
    return FAILED if wrong else DONE


def _unproven(path: Path, keys: KeysAtHand | None, vouched: dict[str, str | None]) -> str | None:
    """Why a proof does not hold; none when it does. `vouched`: what was found of activations already."""
    try:
        proof = json.loads(path.read_bytes())
        signed = path.with_name(path.name.removesuffix(".proof.json")).read_bytes()
        inclusion = Inclusion(int(proof["place"]), int(proof["count"]), tuple(Digest(one) for one in proof["path"]))
        digest, root = Digest(proof["digest"]), Digest(proof["root"])
        activation = str(proof["activation"])
        claims = dict(json.loads(_decoded(activation.split(".")[1])))
        begins = Digest.of(signed[: int(proof["size"])])
        said = Digest(proof["signed"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as fault:
        return f"unreadable ({type(fault).__name__})"
    if keys is not None:
        if activation not in vouched:
            vouched[activation] = _unvouched(activation, keys)
        if vouched[activation] is not None:
            return vouched[activation]
    if not inclusion.leads(digest.raw, root):
        return "the path does not lead to the root"
    if claims.get("digest") != root or claims.get("purpose") != Purpose.SIGN_DOCUMENTS.value:
        return "the activation approves something else"
    if Digest.of(signed) != said:
        return "the signed file is another"
    return None if begins == digest else "the signed file does not begin with the approved document"


def _unvouched(activation: str, keys: KeysAtHand) -> str | None:
    try:
        keys.claims(activation, typ=TYPE)
    except Refused as fault:
        return f"the activation: {fault.found}"
    return None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Service:
    """The batch API of an installation."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def open(self, out: Path, order: Order, body: dict[str, Any]) -> Opened:
        """Open the batch of this folder with the activation; what it is stays beside the results."""
        answer = await self._client.post("/v1/batches", body)
        kept = {name: answer[name] for name in ("batch", "root")}
        kept |= {name: body[name] for name in ("credential", "level", "activation", "documents")}
        kept["names"] = order.names
        _write(out / MEMORY, json.dumps(kept, indent=1).encode())
        return Opened(answer["batch"], body["activation"])

    async def documents(self, batch: str, state: str, after: int = -1) -> AsyncIterator[dict[str, Any]]:
        """The documents in a state, behind a place, page by page."""
        while True:
            page = await self._client.get(f"/v1/batches/{batch}/documents?state={state}&after={after}")
            for one in page["documents"]:
                yield one
            if page.get("next") is None:
                return
            after = page["next"]

    async def send(self, batch: str, place: int, pdf: bytes) -> None:
        """Send one document."""
        await self._client.put(f"/v1/batches/{batch}/documents/{place}", pdf, "application/pdf")

    async def signed(self, batch: str, place: int) -> bytes:
        """One signed document."""
        return await self._client.fetch(f"/v1/batches/{batch}/documents/{place}/signed")


@asynccontextmanager
async def _service(url: str, key: str) -> AsyncIterator[_Service]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield _Service(Client(url.rstrip("/"), key, session))


async def _each(places: Sequence[int], act: Any) -> None:
    """Act on each, a few at once; the first fault ends it."""
    waiting = iter(places)

    async def lane() -> None:
        for place in waiting:
            await act(place)

    lanes = [asyncio.create_task(lane()) for _ in range(min(AT_ONCE, len(places)))]
    try:
        await asyncio.gather(*lanes)
    finally:
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)


def _keep(batch: Opened, order: Order, tree: Tree, place: int, signed: bytes, out: Path) -> None:
    """Write a signed document and, when that is on disk, its proof: the same that the API gives.

    Raises:
        Failed: it does not begin with the document that was approved.
    """
    name, digest = order.names[place], order.digests[place]
    size = (order.folder / name).stat().st_size
    if Digest.of(signed[:size]) != digest:
        raise Failed(
            502,
            {
                "detail": f"found a signed {name} that does not begin with the approved document; expected its octets "
                "unchanged, the signature behind them; if the folder was not changed, ask the operator"
            },
        )
    inclusion = tree.proof(place)
    proof = {
        "batch": batch.id,
        "place": place,
        "count": inclusion.count,
        "digest": digest,
        "size": size,
        "path": inclusion.path,
        "root": tree.root,
        "activation": batch.activation,
        "signed": Digest.of(signed),
    }
    _write(out / name, signed)
    _write(_proof(out, name), json.dumps(proof, indent=1).encode())


def _proof(out: Path, name: str) -> Path:
    return out / f"{name}.proof.json"


def _ours(out: Path, name: str, digest: Digest) -> bool:
    """Whether a document was fetched already: its proof is written last."""
    try:
        return bool(json.loads(_proof(out, name).read_bytes())["digest"] == digest)
    except (OSError, ValueError, KeyError):
        return False


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())
    draft.replace(path)


def _remembered(out: Path, body: dict[str, Any]) -> Opened | None:
    """The batch that was opened from here before.

    Raises:
        ValueError: it is of other documents, or opened in another way.
    """
    memory = out / MEMORY
    if not memory.exists():
        return None
    try:
        known = json.loads(memory.read_bytes())
        found = Opened(known["batch"], known["activation"])
        documents, credential, level = known["documents"], known["credential"], known["level"]
    except (ValueError, KeyError, TypeError) as fault:
        raise ValueError(
            f"found a damaged {memory}; expected it as it was written; remove it and run the same command again: "
            "the same activation finds the same batch"
        ) from fault
    if documents != [str(digest) for digest in body["documents"]]:
        raise ValueError(
            f"found other documents than those of the batch in {memory}; expected the same folder, unchanged; "
            "choose another --out for another batch"
        )
    if (credential, level) != (body["credential"], body["level"]):
        raise ValueError(
            f"found a batch in {memory} with another --credential or --level ({credential}, {level}); expected those; "
            "choose another --out for another batch"
        )
    return found


def _apart(folder: Path, out: Path) -> None:
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"found --out {out} within {folder}; expected a folder of its own: nothing is overwritten")


def _credential(text: str) -> CredentialId:
    try:
        return CredentialId(text)
    except ValueError as fault:
        raise ValueError(
            f"found --credential {text[:40]!r}; expected {CredentialId.expected}; see GET /v1/applications"
        ) from fault


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _usage(told: str) -> int:
    sys.stderr.write(f"antin: {told}\n")
    return USAGE
