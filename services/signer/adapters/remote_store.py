"""The books of remote keys, in SQL: which key stands behind which credential, and every operation asked for."""

from __future__ import annotations

import base64
from typing import Any

import sqlalchemy as sa

from events.errors import Refused
from events.values import CredentialId, Digest
from services.runtime.database import Database
from services.signer.adapters.remote_keys import Answer, Operation, RemoteKey, State
from services.signer.adapters.tables import remote_keys, remote_operations
from services.signer.model import SigningAlgorithm

_OPEN = (State.INTENDED.value, State.WAITING.value)


class SqlRemoteBooks:
    """`Books` of remote keys; each call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def key(self, credential: CredentialId) -> RemoteKey | None:
        """The key behind a credential."""
        async with self._database.read() as connection:
            query = sa.select(remote_keys).where(remote_keys.c.credential == str(credential))
            row = (await connection.execute(query)).first()
        return _key(row) if row is not None else None

    async def taken(self) -> frozenset[str]:
        """Ids of the provider's keys that stand behind a credential of ours."""
        async with self._database.read() as connection:
            return frozenset((await connection.execute(sa.select(remote_keys.c.remote))).scalars())

    async def link(self, key: RemoteKey) -> RemoteKey:
        """Remember the key; what stands there now: the first that was linked stays.

        Raises:
            Refused: the provider's key stands behind another credential.
        """
        async with self._database.write() as tx:
            either = (remote_keys.c.credential == str(key.credential)) | (remote_keys.c.remote == key.remote)
            rows = (await tx.execute(sa.select(remote_keys).where(either))).all()
            for row in rows:
                if row.credential == str(key.credential):
                    return _key(row)
            if rows:
                raise Refused(
                    "remote-key-taken",
                    found="a key of the provider that stands behind another credential",
                    expected="one key for one credential (Decree 23/2025/ND-CP Art 38: unique public keys)",
                    remedy="name another key, or use the credential it has",
                    status=409,
                )
            values = {"credential": str(key.credential), "remote": key.remote, "algorithm": key.algorithm.value}
            await tx.execute(remote_keys.insert().values(**values, public=base64.b64encode(key.public).decode()))
        return key

    async def intend(self, wanted: Operation) -> tuple[Operation, bool]:
        """Write the intent, or find the operation on the same digest; whether the intent is ours and new."""
        async with self._database.write() as tx:
            row = (await tx.execute(sa.select(remote_operations).where(*_is(wanted)))).first()
            if row is not None:
                return _operation(row), False
            await tx.execute(
                remote_operations.insert().values(
                    credential=str(wanted.credential),
                    digest=str(wanted.digest),
                    id=wanted.id,
                    jti=wanted.jti,
                    salt=wanted.salt,
                    state=wanted.state.value,
                    asked_at=wanted.asked_at,
                    expires_at=wanted.expires_at,
                )
            )
        return wanted, True

    async def note(self, operation: Operation, answer: Answer) -> None:
        """Write how an operation stands, unless it has ended."""
        values: dict[str, Any] = {"state": answer.state.value}
        if answer.handle is not None:
            values["handle"] = answer.handle
        if answer.expires_at is not None:
            values["expires_at"] = answer.expires_at
        if answer.signature is not None:
            values["signature"] = base64.b64encode(answer.signature).decode()
        async with self._database.write() as tx:
            await tx.execute(
                remote_operations.update()
                .where(remote_operations.c.id == operation.id, remote_operations.c.state.in_(_OPEN))
                .values(**values)
            )

    async def forget(self, operation: Operation) -> None:
        """Take an operation out, so that it is asked for anew."""
        async with self._database.write() as tx:
            await tx.execute(remote_operations.delete().where(remote_operations.c.id == operation.id))

    async def of_permit(self, jti: str) -> tuple[Operation, ...]:
        """The operations under a permit."""
        return await self._found(remote_operations.c.jti == jti)

    async def of_id(self, id: str) -> Operation | None:
        """The operation with this id of ours."""
        return next(iter(await self._found(remote_operations.c.id == id)), None)

    async def of_handle(self, handle: str) -> Operation | None:
        """The operation with this handle of the provider's."""
        return next(iter(await self._found(remote_operations.c.handle == handle)), None)

    async def _found(self, condition: sa.ColumnElement[bool]) -> tuple[Operation, ...]:
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(remote_operations).where(condition))).all()
        return tuple(_operation(row) for row in rows)


def _is(wanted: Operation) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        remote_operations.c.credential == str(wanted.credential),
        remote_operations.c.digest == str(wanted.digest),
    )


def _key(row: Any) -> RemoteKey:
    algorithm = SigningAlgorithm(row.algorithm)
    return RemoteKey(CredentialId(row.credential), row.remote, algorithm, base64.b64decode(row.public))


def _operation(row: Any) -> Operation:
    return Operation(
        credential=CredentialId(row.credential),
        digest=Digest(row.digest),
        id=row.id,
        jti=row.jti,
        salt=row.salt,
        state=State(row.state),
        handle=row.handle,
        signature=base64.b64decode(row.signature) if row.signature else None,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
    )
