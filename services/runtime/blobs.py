"""Bytes by their digest, and artefacts by a name that only the first writer gets.

obstore (files or S3), always with create-only puts: what has a name never changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from events.errors import Unavailable
from events.values import Digest


class Blobs:
    """A store whose content can be checked by its name."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._root = Path(str(store.prefix)) if isinstance(store, LocalStore) and store.prefix else None

    @classmethod
    def at(cls, folder: Path) -> Blobs:
        """Files below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(folder, mkdir=True))

    @classmethod
    def in_bucket(
        cls, bucket: str, *, endpoint: str | None, region: str, prefix: str | None, access_key: str, secret: str
    ) -> Blobs:
        """Objects of an S3-compatible server. Plain HTTP only where the endpoint says so."""
        options: dict[str, Any] = {"region": region, "access_key_id": access_key, "secret_access_key": secret}
        if endpoint is not None:
            options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        plain = endpoint is not None and endpoint.startswith("http://")
        store = S3Store(bucket, prefix=prefix, client_options={"allow_http": plain, "timeout": "30s"}, **options)
        return cls(store)

    @classmethod
    def in_memory(cls) -> Blobs:
        """For tests."""
        return cls(MemoryStore())

    async def keep(self, data: bytes) -> Digest:
        """Store bytes under their digest; storing the same again changes nothing. On disk when this returns."""
        digest = Digest.of(data)
        await self._create(_place(digest), data)
        return digest

    async def fetch(self, digest: Digest) -> bytes:
        """The bytes with this digest, checked.

        Raises:
            Unavailable: missing, damaged, or the store does not answer.
        """
        data = await self._get(_place(digest))
        if data is None:
            raise _lost(digest, "nothing there")
        found = hashlib.sha256(data).hexdigest()
        if found != digest.hex:
            raise _lost(digest, "bytes with another digest")
        return data

    async def has(self, digest: Digest) -> bool:
        """Whether these bytes are there."""
        return await self._get(_place(digest), head=True) is not None

    async def publish(self, name: str, data: bytes) -> tuple[Digest, bool]:
        """Give an artefact its name, once. Returns the digest of what the name holds now, and whether it is ours.

        Who comes second gets the first one's digest and throws its own bytes away.
        """
        digest = await self.keep(data)
        if await self._create(f"artefacts/{name}", digest.encode()):
            return digest, True
        found = await self.published(name)
        if found is None:
            raise _lost(digest, "a name that was taken and is gone")
        return found, False

    async def published(self, name: str) -> Digest | None:
        """The digest an artefact's name holds, if it was published."""
        data = await self._get(f"artefacts/{name}")
        return Digest(data.decode()) if data is not None else None

    async def _create(self, place: str, data: bytes) -> bool:
        try:
            await obstore.put_async(self._store, place, data, mode="create")
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as fault:
            raise _silent(fault) from fault
        if self._root is not None:
            await asyncio.to_thread(_onto_disk, self._root / place)
        return True

    async def _get(self, place: str, *, head: bool = False) -> bytes | None:
        try:
            if head:
                await obstore.head_async(self._store, place)
                return b""
            result: Any = await obstore.get_async(self._store, place)
            return bytes(await result.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as fault:
            raise _silent(fault) from fault


def _place(digest: Digest) -> str:
    return f"sha256/{digest.hex[:2]}/{digest.hex}"


def _onto_disk(path: Path) -> None:
    """A name survives a power cut only when the file and the folders that hold it are synced."""
    for place in (path, path.parent, path.parent.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lost(digest: Digest, what: str) -> Unavailable:
    return Unavailable(
        "blob-missing",
        found=f"{what} under {digest.short}",
        expected="the bytes that were stored under this digest",
        remedy="restore the store from its backup; the step is tried again",
    )


def _silent(fault: Exception) -> Unavailable:
    return Unavailable(
        "blobs-unavailable",
        found=f"the blob store does not answer ({type(fault).__name__})",
        expected="a reachable store with room",
        remedy="the step is tried again; check the store",
    )
