"""What does one PAdES signature cost, beside others in the same run, and above what it must cost at least?

Usage: python -m bench.sign [--rounds N] [--warm SECONDS] [--keys rsa2048,...] [--levels B-T,...] [--only
documenso,...] [--no-peers]. The floor is SHA-256 of the document, one private-key operation and the joining of the
output. All implementations take turns, round after round, so that a busy moment strikes all alike; a figure is the
median of the rounds, in milliseconds of processor for one signature. Ours is the path of the service: permit, key
store, self-check; the status of the certificate is known. The timestamp authority is a process of its own, the same
for all. 100 MB go from file to file; the others sign them in memory where they can do no other. What each signs is
validated once before it is timed; where it is less than PAdES, its row says what is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import io
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from bench import signing_world
from bench.desk import Desk
from bench.peers.outcome import differences
from bench.peers.pyhanko_signing import Pyhanko
from bench.peers.signing import STARTERS, TITLES, Peer
from bench.table import publish
from events.values import Digest
from services.signer.adapters.pades_writer import EitherWriter
from services.signer.compilation import form
from tools.real.child import NotHere, say

FLOOR, OURS, STAMPED = "floor", "antin", "antin, with a visible stamp"
LEVELS = ("B-B", "B-T", "B-LTA")
LARGE = 100_000_000
OFTEN = {"pyHanko": 2, "endesive": 2, "@signpdf": 2, "@libpdf/core": 10, "EU": 30}
"""Signatures in a round where it is not 100: few of the slow, but many in Java, whose clock goes in steps of 10 ms."""
Measure = Callable[[int], Awaitable[float]]


def document(pages: int, size: int) -> bytes:
    """A contract of text and scanned-looking pictures: `pages` pages, about `size` octets."""
    chance = random.Random(pages)
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1, pageCompression=1)
    side = max(8, int(((size / pages - 1_500) / 3) ** 0.5))
    for page in range(pages):
        for line in range(30):
            canvas.drawString(72, 780 - 18 * line, f"Clause {page + 1}.{line + 1}: what was agreed stays agreed.")
        picture = Image.frombytes("RGB", (side, side), chance.randbytes(3 * side * side))
        canvas.drawImage(ImageReader(picture), 72, 60, 150, 150)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def grown(pdf: bytes, size: int) -> bytes:
    """The document with an unused stream in a revision of its own, so that it has about `size` octets."""
    previous = int(pdf.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    trailer = pdf.rsplit(b"trailer\n<<", 1)[1].split(b">>")[0]
    number = int(trailer.split(b"/Size ")[1].split()[0])
    root = trailer.split(b"/Root ")[1].split(b" R")[0]
    length = size - len(pdf) - 400
    place = len(pdf)
    head = b"%d 0 obj\n<< /Length %d >>\nstream\n" % (number, length)
    body = random.Random(0).randbytes(1_000_000)
    filling = (body * (length // len(body) + 1))[:length]
    start = place + len(head) + length + len(b"\nendstream\nendobj\n")
    return b"".join(
        (
            pdf,
            head,
            filling,
            b"\nendstream\nendobj\nxref\n%d 1\n%010d 00000 n\r\ntrailer\n" % (number, place),
            b"<< /Size %d /Root %b R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (number + 1, root, previous, start),
        )
    )


def floor(key: Any, pdf: bytes) -> Callable[[], None]:
    """The least there is to do for one signature."""
    prehashed = Prehashed(hashes.SHA256())

    def once() -> None:
        digest = hashlib.sha256(pdf).digest()
        if isinstance(key, ec.EllipticCurvePrivateKey):
            value = key.sign(digest, ec.ECDSA(prehashed))
        else:
            value = key.sign(digest, padding.PKCS1v15(), prehashed)
        b"".join((pdf, value.hex().encode()))

    return once


async def spent(often: int, work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of this process's processor for one run, the mean of `often`."""
    before = time.process_time()
    for _ in range(often):
        await work()
    return (time.process_time() - before) * 1000 / often


async def measure_key(
    kind: str, folder: Path, tsa: str, documents: dict[str, Path], options: argparse.Namespace, absent: dict[str, str]
) -> list[dict[str, Any]]:
    """The rows of one kind of key."""
    rows: list[dict[str, Any]] = []
    key = load_pem_private_key((folder / kind / "key.pem").read_bytes(), None)
    with ExitStack() as stack:
        peers: dict[str, Peer] = {}
        less: dict[str, str] = {}
        root = (folder / kind / "root.pem").read_bytes()
        for group, (start, every) in STARTERS.items():
            names = [name for name in every if options.peers and name in options.only]
            if not names:
                continue
            try:
                peer = stack.enter_context(start(folder / kind, tsa))
                peers |= dict.fromkeys(names, peer)
            except NotHere as fault:
                absent[group] = str(fault)
        async with Desk.open(folder, tsa, kind) as desk:
            either = EitherWriter(desk.keys, desk.authority, desk.status)
            pyhanko = Pyhanko(folder / kind, tsa)
            for name, place in documents.items():
                pdf, digest = place.read_bytes(), Digest.of(place.read_bytes())
                base = floor(key, pdf)
                for level in options.levels:
                    todo: dict[str, Measure] = {}

                    async def at_least(often: int, base: Callable[[], None] = base) -> float:
                        async def once() -> None:
                            base()

                        return await spent(often, once)

                    todo[FLOOR] = at_least
                    for title, stamped in ((OURS, False), (STAMPED, True)):
                        order = desk.order(digest, len(pdf), level, stamped=stamped)

                        async def ours(often: int, order: Any = order, pdf: bytes = pdf) -> float:
                            return await spent(often, lambda: either.sign(pdf, order, desk.evidence))

                        todo[title] = ours
                        revision = await either.sign(pdf, order, desk.evidence)
                        less[title] = await differences(revision.pdf, level, root)
                    for title, sign in pyhanko.ways(pdf, level).items() if "pyhanko" in options.only else ():

                        async def others(often: int, sign: Any = sign) -> float:
                            return await spent(often, sign)

                        todo[title] = others
                        less[title] = await differences((await sign()).getvalue(), level, root)
                    for peer_name, peer in peers.items():
                        target = folder / f"{peer_name}-{kind}-{name}-{level}.pdf"

                        async def outside(
                            often: int, peer: Peer = peer, who: str = peer_name, level: str = level,
                            place: Path = place, target: Path = target, warm: float = 0.0,
                        ) -> float:  # fmt: skip
                            return peer.sign(who, level, often, place, target, warm=warm)

                        # Each level is code of its own: all are warmed in full, and once more for another document.
                        warm = options.warm if name == "small" else options.warm / 5
                        try:
                            await outside(1, warm=warm if peer_name in STARTERS["java"][1] else warm / 10)
                            less[TITLES[peer_name]] = await differences(target.read_bytes(), level, root)
                        except NotHere as fault:
                            if absent.setdefault(f"{peer_name} {level}", fault.found) != fault.found:
                                absent[f"{peer_name} {level}, {kind}, {name}"] = fault.found
                            continue
                        todo[TITLES[peer_name]] = outside
                    say(f"{kind}, {name}, {level}: {len(todo)} implementations")
                    for row in await _rounds(todo, kind, name, level, options):
                        lacks = less.get(row["impl"])
                        rows.append(row | ({"less_than_pades": lacks} if lacks else {}))
    return rows


async def _rounds(
    todo: dict[str, Measure], kind: str, name: str, level: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    found: dict[str, list[float]] = {title: [] for title in todo}
    for measure in todo.values():
        await measure(1)
    for _ in range(options.rounds):
        for title, measure in todo.items():
            gc.collect()
            found[title].append(await measure(OFTEN.get(title.split(",")[0].split(" ")[0], 100)))
    least = statistics.median(found[FLOOR])
    return [
        {
            "impl": title,
            "level": level,
            "key": kind,
            "document": name,
            "ms": round(statistics.median(taken), 3),
            "floor_ratio": round(statistics.median(taken) / least, 2),
        }
        for title, taken in found.items()
    ]


def children(command: list[str]) -> tuple[float, str]:
    """Milliseconds of processor of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ((after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)) * 1000, done.stdout


def measure_large(folder: Path, tsa: str, source: Path, rounds: int) -> list[dict[str, Any]]:
    """100 MB from file to file, beside `cp` and `openssl dgst -sha256`."""
    target = source.with_suffix(".out")
    taken: dict[tuple[str, str], list[float]] = {}
    peak = 0
    for _ in range(rounds):
        for level in ("B-B", "B-LTA"):
            target.unlink(missing_ok=True)
            copied, _ = children(["cp", str(source), str(target)])
            hashed, _ = children(["openssl", "dgst", "-sha256", str(target)])
            taken.setdefault(("cp + openssl dgst", level), []).append(copied + hashed)
            target.unlink()
            said = children(
                [sys.executable, "-m", "bench.sign_file", str(folder), tsa, "rsa2048", level, str(source), str(target)]
            )[1]
            taken.setdefault((OURS, level), []).append(float(said.split()[0]))
            peak = max(peak, int(said.split()[1]))
    target.unlink(missing_ok=True)
    rows = []
    for (title, level), found in taken.items():
        least = statistics.median(taken["cp + openssl dgst", level])
        rows.append(
            {
                "impl": title,
                "level": level,
                "key": "rsa2048",
                "document": "large",
                "ms": round(statistics.median(found), 1),
                "floor_ratio": round(statistics.median(found) / least, 2),
            }
            | ({"peak_rss_mb": round(peak / 1000, 1)} if title == OURS else {})
        )
    return rows


TARGETS = (
    ("B-B small RSA-2048, times the floor", 2.5, ("rsa2048", "small", "B-B"), None),
    ("B-T small RSA-2048, times the floor", 3.5, ("rsa2048", "small", "B-T"), None),
    ("B-LTA small RSA-2048, times the floor", 5.0, ("rsa2048", "small", "B-LTA"), None),
    ("B-B small P-256, times the floor", 7.0, ("p256", "small", "B-B"), None),
    ("B-B small RSA-2048, of pyHanko with a cached key", 1 / 30, ("rsa2048", "small", "B-B"), "pyHanko, key cached"),
    ("B-LTA small RSA-2048, of iText", 1 / 5, ("rsa2048", "small", "B-LTA"), TITLES["itext"]),
    ("B-B small RSA-2048, of the fastest other", 0.7, ("rsa2048", "small", "B-B"), "*"),
    ("B-B small RSA-2048, of the fastest other of equal work", 0.7, ("rsa2048", "small", "B-B"), "="),
    ("B-B 100 MB, of cp + openssl dgst", 1.0, ("rsa2048", "large", "B-B"), "cp + openssl dgst"),
    ("B-LTA 100 MB, of cp + openssl dgst", 1.1, ("rsa2048", "large", "B-LTA"), "cp + openssl dgst"),
)


def against(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Each target, what was found, and whether it is met; a target whose rows are not there is left out."""
    lines = []
    for title, most, (key, document_name, level), other in TARGETS:
        here = {
            row["impl"]: row
            for row in rows
            if (row["key"], row["document"], row["level"]) == (key, document_name, level)
        }
        if OURS not in here:
            continue
        if other is None:
            found = here[OURS]["floor_ratio"]
        else:
            others = [
                row["ms"]
                for name, row in here.items()
                if name not in (OURS, STAMPED, FLOOR)
                and other in ("*", "=", name)
                and not (other == "=" and "less_than_pades" in row)
            ]
            if not others:
                continue
            found = here[OURS]["ms"] / min(others)
        lines.append((title, f"<= {most:.3g}", f"{found:.3g}", "met" if found <= most else "missed"))
    return lines


def shown(row: dict[str, Any]) -> str:
    """The implementation, and in brackets what its work lacks."""
    return f"{row['impl']} ({row['less_than_pades']})" if "less_than_pades" in row else str(row["impl"])


async def main(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="antin-bench-sign-") as name, ExitStack() as stack:
        folder = Path(name)
        server = subprocess.Popen(  # noqa: ASYNC220 - before anything runs beside it
            [sys.executable, "-m", "bench.signing_world", str(folder)], stdout=subprocess.PIPE, text=True
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        assert server.stdout is not None
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.stdout.close()
        signing_world.make(folder, base)
        tsa = base + "/tsa"
        small, medium = folder / "small.pdf", folder / "medium.pdf"
        small.write_bytes(document(2, 27_000))
        medium.write_bytes(document(30, 2_400_000))
        absent: dict[str, str] = {}
        rows: list[dict[str, Any]] = []
        for kind in options.keys.split(","):
            documents = {"small": small, "medium": medium} if kind == "rsa2048" else {"small": small}
            rows += await measure_key(kind, folder, tsa, documents, options, absent)
        if "rsa2048" in options.keys and options.large:
            large = folder / "large.pdf"
            large.write_bytes(grown(small.read_bytes(), LARGE))
            large.with_suffix(".small.pdf").write_bytes(small.read_bytes())
            rows += measure_large(folder, tsa, large, max(3, options.rounds // 2))
    columns = ("implementation", "key", "document", "level", "ms", "x floor")
    publish(
        "sign",
        "One PAdES signature, milliseconds of processor",
        columns,
        [
            (shown(row), row["key"], row["document"], row["level"], f"{row['ms']:.2f}", f"{row['floor_ratio']:.2f}")
            for row in rows
        ],
        {"rows": rows, "targets": [dict(zip(("what", "most", "found", "said"), t, strict=True)) for t in against(rows)],
         "absent": absent, "form": form().name},
    )  # fmt: skip
    print(f"antin was measured in {form().name} form (docs/adr/0013; the other: ANTIN_COMPILED=no)")
    for line in against(rows):
        print("{:<56} {:>8}  found {:>6}  {}".format(*line))
    for who, why in absent.items():
        print(f"not measured: {who}: {why}")
    for row in rows:
        if "peak_rss_mb" in row:
            print(f"peak memory of ours with 100 MB, {row['level']}: {row['peak_rss_mb']} MB")
            break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.sign", description="What one PAdES signature costs.")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each implementation (default 7)")
    parser.add_argument("--warm", type=float, default=25.0, help="seconds of warm-up of each Java signer (default 25)")
    parser.add_argument("--keys", default="rsa2048,rsa3072,p256", help="which kinds of keys (default all three)")
    every = [name for _, names in STARTERS.values() for name in names] + ["antin", "pyhanko"]
    parser.add_argument("--levels", default=",".join(LEVELS), help=f"which of {', '.join(LEVELS)} (default all)")
    parser.add_argument(
        "--only", default=",".join(every), help=f"beside antin and the floor, which of {', '.join(every)}"
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours, pyHanko and the floor alone")
    given = parser.parse_args()
    given.levels, given.only = given.levels.split(","), given.only.split(",")
    for wanted, known in ((given.levels, LEVELS), (given.only, every), (given.keys.split(","), signing_world.KEYS)):
        if unknown := set(wanted) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    given.large = set(given.levels) == set(LEVELS)
    asyncio.run(main(given))
