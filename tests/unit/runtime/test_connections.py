"""Persistent connections: what is sent, what is taken for an answer, and what is not (RFC 9112)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from events.errors import Unavailable
from services.runtime.clock import SystemClock
from services.runtime.connections import HEAD_MOST, IDLE_MOST, Connections
from services.runtime.outbound import Outbound

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def asked(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def saying(*answers: bytes, close: bool = False) -> Talk:
    """A server that gives these answers one after the other on each connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await asked(reader)
            writer.write(answer)
            await writer.drain()
        if close:
            writer.close()
        else:
            await reader.read()

    return talk


class Place:
    """Where a server listens, and how often it was connected to."""

    def __init__(self) -> None:
        self.port = 0
        self.connected = 0


@asynccontextmanager
async def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Place]:
    place = Place()
    writers: list[asyncio.StreamWriter] = []

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place.connected += 1
        writers.append(writer)
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    server = await asyncio.start_server(counted, "127.0.0.1", 0, ssl=tls)
    place.port = server.sockets[0].getsockname()[1]
    try:
        yield place
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


async def post(connections: Connections, place: Place, *, limit: int = 1_000, timeout: float = 5.0) -> bytes:
    answer = await connections.post(
        f"http://127.0.0.1:{place.port}/a?b=c", b"question", (("Accept", "x/y"),), limit=limit, timeout=timeout
    )
    assert answer.status == 200
    return answer.body


@pytest.fixture
def connections() -> Connections:
    return Connections(lambda address: None)


async def test_a_connection_is_used_again(connections: Connections) -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await asked(reader))
            writer.write(OK)

    async with serving(talk) as place:
        for _ in range(3):
            assert await post(connections, place) == b"ok"
        assert place.connected == 1
        expected = (
            b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: x/y\r\nContent-Length: 8\r\n\r\nquestion"
            % place.port
        )
        assert seen == [expected] * 3
        connections.close()


async def test_requests_at_once_have_connections_of_their_own_and_few_stay(connections: Connections) -> None:
    together = asyncio.Barrier(IDLE_MOST + 4)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        await together.wait()
        writer.write(OK)
        await asked(reader)
        writer.write(OK)

    async with serving(talk) as place:
        await asyncio.gather(*(post(connections, place) for _ in range(IDLE_MOST + 4)))
        await asyncio.gather(*(post(connections, place) for _ in range(IDLE_MOST)))
        assert place.connected == IDLE_MOST + 4
        connections.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, id="interim"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
    ],
)
async def test_forms_of_an_answer(connections: Connections, answer: bytes) -> None:
    async with serving(saying(answer, answer)) as place:
        assert await post(connections, place) == b"ok"
        assert await post(connections, place) == b"ok"
        connections.close()


async def test_a_body_that_goes_on_until_the_end(connections: Connections) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\n\r\nok", close=True)) as place:
        assert await post(connections, place) == b"ok"
        assert await post(connections, place) == b"ok"
        assert place.connected == 2


async def test_an_idle_connection_that_was_closed_is_replaced(connections: Connections) -> None:
    """RFC 9112 clause 9.3.1: a request that is safe to repeat may be repeated on another connection."""
    async with serving(saying(OK, close=True)) as place:
        assert await post(connections, place) == b"ok"
        assert await post(connections, place) == b"ok"
        assert place.connected == 2


async def test_one_that_is_closed_at_the_moment_of_asking_is_replaced_once(connections: Connections) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(OK)
        await asked(reader)
        writer.close()

    async with serving(talk) as place:
        assert await post(connections, place) == b"ok"
        assert await post(connections, place) == b"ok"
        assert place.connected == 2
        connections.close()


async def test_a_fresh_connection_that_breaks_is_no_answer(connections: Connections) -> None:
    async with serving(saying(b"", close=True)) as place:
        with pytest.raises(ConnectionError):
            await post(connections, place)
        assert place.connected == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + bytes(3_000), id="too large"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nBB8\r\n" + bytes(3_000), id="too large, chunked"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (HEAD_MOST // 6 + 2), id="fields without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", id="length twice"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nok", id="another protocol"),
    ],
)
async def test_what_is_no_answer(connections: Connections, answer: bytes) -> None:
    async with serving(saying(answer)) as place:
        with pytest.raises(ValueError):
            await post(connections, place)
        with pytest.raises(ValueError):
            await post(connections, place)
        assert place.connected == 2


async def test_an_answer_that_is_cut_short(connections: Connections) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", close=True)) as place:
        with pytest.raises(ConnectionError):
            await post(connections, place)


async def test_octets_that_nobody_asked_for_end_the_connection(connections: Connections) -> None:
    """What comes after an answer is never taken for the answer to the next request."""
    async with serving(saying(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) as place:
        for _ in range(3):
            assert await post(connections, place) == b"ok"
        assert place.connected == 3
        connections.close()


async def test_a_silent_server_is_waited_for_no_longer_than_told(connections: Connections) -> None:
    async with serving(saying(b"")) as place:
        with pytest.raises(TimeoutError):
            await post(connections, place, timeout=0.05)


async def test_other_kinds_of_url_and_fields_with_line_ends_are_refused(connections: Connections) -> None:
    for url in ("ftp://127.0.0.1/", "http://user@127.0.0.1/", "/nowhere"):
        with pytest.raises(ValueError, match="plain http"):
            await connections.post(url, b"", (), limit=1, timeout=1)
    with pytest.raises(ValueError, match="control character"):
        await connections.post("http://127.0.0.1/", b"", (("A", "b\r\nC: d"),), limit=1, timeout=1)


async def test_an_inner_address_is_refused_unless_it_is_allowed() -> None:
    async with serving(saying(OK)) as place:
        url = f"http://localhost:{place.port}/"
        async with Outbound() as outbound:
            with pytest.raises(Unavailable, match="Forbidden"):
                await outbound.post(url, b"x", (), limit=10, timeout=5)
        assert place.connected == 0
        async with Outbound(allowed=[f"127.0.0.1:{place.port}"]) as outbound:
            assert (await outbound.post(url, b"x", (), limit=10, timeout=5)).body == b"ok"


async def test_of_a_field_that_is_said_twice_the_first_counts() -> None:
    """RFC 9110 clause 5.3: a sender must not; who mends it has to mend it one way."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "one"\r\netag: "two"\r\n\r\nok')

    async with serving(talk) as place, Outbound(allowed=[f"127.0.0.1:{place.port}"]) as outbound:
        answer = await outbound.call("GET", f"http://127.0.0.1:{place.port}/")
        assert answer.headers["etag"] == '"one"'


@pytest.mark.parametrize("url", ["http://[odd", "http://odd:99999/", "http://odd:port/"])
async def test_an_address_that_cannot_be_read_is_not_there(url: str) -> None:
    """It may stand in a certificate, where anything can."""
    async with Outbound() as outbound:
        with pytest.raises(Unavailable, match="an address that cannot be read"):
            await outbound.call("GET", url)
        with pytest.raises(Unavailable, match="an address that cannot be read"):
            await outbound.post(url, b"", (), limit=10, timeout=5)


async def test_tls_needs_a_certificate_for_the_name(
    connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now.replace(year=now.year - 1))
        .not_valid_after(now.replace(year=now.year + 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    held = tmp_path / "server.pem"
    pem = certificate.public_bytes(Encoding.PEM)
    held.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(held)
    async with serving(saying(OK, OK), tls) as place:
        url = f"https://localhost:{place.port}/"
        with pytest.raises(ssl.SSLCertVerificationError):
            await connections.post(url, b"x", (), limit=10, timeout=5)
        (tmp_path / "root.pem").write_bytes(pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
        trusting = Connections(lambda address: None)
        before = place.connected
        for _ in range(2):
            assert (await trusting.post(url, b"x", (), limit=10, timeout=5)).body == b"ok"
        assert place.connected == before + 1
        with pytest.raises(ssl.SSLCertVerificationError):
            await trusting.post(url.replace("localhost", "127.0.0.1"), b"x", (), limit=10, timeout=5)
        trusting.close()


async def test_names_of_an_answers_fields_are_in_lower_case_whichever_way_it_came() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: x/Y\r\nETAG: Z\r\nContent-Length: 2\r\n\r\nok"
    async with (
        serving(saying(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer)) as place,
        Outbound(allowed=[f"127.0.0.1:{place.port}"]) as outbound,
    ):
        url = f"http://127.0.0.1:{place.port}/"
        said = {"content-type": "x/Y", "etag": "Z", "content-length": "2"}
        assert (await outbound.post(url, b"x", (), limit=10, timeout=5)).headers == said
        assert (await outbound.call("POST", url, body=b"x")).headers == said


async def test_fields_behind_a_body_say_nothing(connections: Connections) -> None:
    """RFC 9110 clause 6.5.1: a trailer field is not merged into the header unless its definition allows it."""
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nContent-Type: c/d\r\n\r\n"
    )
    async with serving(saying(answer)) as place:
        url = f"http://127.0.0.1:{place.port}/"
        found = await connections.post(url, b"x", (), limit=10, timeout=5)
        assert (found.headers["content-type"], found.body) == ("a/b", b"ok")
        connections.close()


@pytest.mark.parametrize("piece", [b"A: b\r\n", b"A"], ids=["many", "long"])
async def test_fields_behind_a_body_have_an_end(connections: Connections, piece: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
    async with serving(saying(head + piece * 2 * HEAD_MOST)) as place:
        with pytest.raises(ValueError, match="around its body"):
            await post(connections, place, limit=10)


async def test_a_body_may_come_in_the_smallest_chunks(connections: Connections) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(saying(head + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n")) as place:
        assert await post(connections, place, limit=50_000) == b"a" * 50_000
        connections.close()
