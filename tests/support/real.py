"""Real servers for tests: started once for each worker, on free ports; absent ones are skipped aloud."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.real.child import NotHere
from tools.real.kafka import Kafka
from tools.real.postgres import Postgres
from tools.real.s3 import S3


def _running(kind: Any, folder: Any, **options: Any) -> Iterator[Any]:
    """With ANTIN_REAL=1 a server that cannot be had is a failure, else the tests that want it skip, saying so."""
    server = kind(folder, **options)
    try:
        server.start()
    except NotHere as fault:
        if os.environ.get("ANTIN_REAL") == "1":
            raise
        pytest.skip(f"NOT TESTED on the real server: {fault}")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Apache Kafka, with a listener that wants SCRAM over TLS beside the plain one."""
    yield from _running(Kafka, tmp_path_factory.mktemp("kafka"), sasl=True)


@pytest.fixture(scope="session")
def real_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """PostgreSQL."""
    yield from _running(Postgres, tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="session")
def real_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server."""
    yield from _running(S3, tmp_path_factory.mktemp("s3"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("real_postgres").create(f"t{uuid.uuid4().hex[:12]}"))
