"""One database for a process: SQLite or PostgreSQL behind the same two doors, `write` and `read`.

SQLite needs care: SQLAlchemy drops `FOR UPDATE SKIP LOCKED` there without a word, and read-modify-write in a deferred
transaction loses updates. So the driver's own transaction handling is off, every write begins with `BEGIN IMMEDIATE`,
and all writes of the process go through one connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from events.errors import OWN_DATABASE, Unavailable


class Instant(sa.types.TypeDecorator[datetime]):
    """A point in time: UTC in the database, aware in Python, also on SQLite, which forgets the offset."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To the database: must carry an offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("found a time without an offset; expected an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """From the database: always aware."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Schema:
    """The tables of one room and where their migrations live."""

    name: str
    metadata: sa.MetaData
    versions: Path


@dataclass
class Tx:
    """One write transaction. `after_commit` runs when, and only when, it has been committed."""

    conn: AsyncConnection
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    async def execute(self, statement: sa.Executable, values: Any = None) -> sa.CursorResult[Any]:
        """Run one statement."""
        return await self.conn.execute(statement, values)


class Database:
    """Opens connections and keeps their discipline."""

    def __init__(self, url: str, *, readers: int = 4) -> None:
        self.url = sa.make_url(url)
        self._opened: list[Any] = []
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if self.sqlite:
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            # One writer: the pool itself is the queue in which writes wait their turn.
            self._writer = create_async_engine(self.url, pool_size=1, max_overflow=0, pool_timeout=60)
            self._reader = create_async_engine(self.url, pool_size=readers, max_overflow=0, pool_timeout=60)
            _care_for_sqlite(self._writer, "BEGIN IMMEDIATE", self._opened)
            _care_for_sqlite(self._reader, "BEGIN", self._opened)
        else:
            self._writer = self._reader = create_async_engine(self.url, pool_size=10, max_overflow=10, pool_timeout=60)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """A transaction that commits when the block ends and leaves no trace when it raises.

        Raises:
            Unavailable: the database cannot be reached or is locked by another process.
        """
        with _waits_are_told():
            async with self._writer.begin() as conn:
                tx = Tx(conn)
                yield tx
        for action in tx.after_commit:
            action()

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose transactions are the migrations' own.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _waits_are_told():
            async with self._writer.connect() as conn:
                yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view; nothing can be changed through it."""
        with _waits_are_told():
            async with self._reader.connect() as conn:
                yield conn

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()
        # The pool forgets a connection whose task was cancelled in the middle of a statement; it is closed here.
        for connection in self._opened:
            await connection.close()
        self._opened.clear()


_WAITS = (
    "database is locked",
    "database table is locked",
    "disk i/o error",
    "unable to open",
    "database or disk is full",
)

_PASSING = ("08", "40", "53", "55P03", "57P", "58")
"""SQLSTATE classes of PostgreSQL that pass: connection, rollback for others' sake, resources, starting and stopping."""


@contextmanager
def _waits_are_told() -> Iterator[None]:
    """Faults of the connection leave the block as `Unavailable`."""
    try:
        yield
    except (DBAPIError, PoolTimeout, TimeoutError, ConnectionError) as fault:
        other = _as_unavailable(fault)
        if other is fault:
            raise
        raise other from fault


def _as_unavailable(fault: Exception) -> Exception:
    """Faults of the connection are waits; faults of the statement are bugs and stay what they are."""
    lost = isinstance(fault, DBAPIError) and (
        fault.connection_invalidated
        or isinstance(fault, sa.exc.InterfaceError)
        or any(sign in str(fault.orig).lower() for sign in _WAITS)
        or str(getattr(fault.orig, "sqlstate", "") or "").startswith(_PASSING)
    )
    if lost or isinstance(fault, PoolTimeout | TimeoutError | ConnectionError):
        return Unavailable(
            OWN_DATABASE,
            found=f"the database does not answer ({type(fault).__name__})",
            expected="a reachable database that no other process holds locked",
            remedy="the step is tried again; check the database and the disk",
        )
    return fault


def _care_for_sqlite(engine: AsyncEngine, begin: str, opened: list[Any]) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        opened.append(connection.driver_connection)
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)


class News:
    """Wakes those who wait for commits in this process."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._told = 0

    def ticket(self) -> int:
        """Taken before looking, and given to `wait`: what is told in between is not missed."""
        return self._told

    def tell(self) -> None:
        """Something was committed."""
        self._told += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def wait(self, seconds: float, *, since: int | None = None) -> None:
        """Return at the next `tell` (after the ticket `since`), at the latest after `seconds`."""
        if since is not None and since != self._told:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            # Not wait_for: until Python 3.12 it can swallow a cancellation that meets the end of the wait.
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiting)
