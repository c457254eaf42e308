"""`antin`: the commands, their options and their exit codes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from events.errors import AntinError

app = App(
    name="antin",
    help=(
        "Verified e-identities to certificates, contracts to PAdES-signed PDFs, every step an event.\n\n"
        "Designed against Vietnamese law and ETSI standards; not certified to anything."
    ),
    version="0.1.0",
)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="folder for the signed PDF, report, evidence and events")] = Path("var/demo"),
    contract: Annotated[Path | None, Parameter(help="a PDF of yours; without it one is made from a template")] = None,
) -> int:
    """Run the main job once: identities, certificates, a contract signed by three, verified, notified.

    Everything runs in this process, with the outside world from lab/. Exit: 0 all done, 1 a step failed, 2 wrong usage.
    """
    from cli.demo import run

    return run(out, contract)


@app.command
def serve(
    *,
    data: Annotated[Path, Parameter(help="folder of the database, files, keys and secrets")] = Path("var/serve"),
    port: Annotated[int, Parameter(help="port on 127.0.0.1")] = 8480,
    lab_port: Annotated[int, Parameter(help="port of the toy outside world")] = 8481,
    lab: Annotated[bool, Parameter(help="run the toy outside world too; --no-lab needs ANTIN_OUTSIDE__*")] = True,
    check: Annotated[bool, Parameter(help="check the settings and stop")] = False,
) -> int:
    """Keep every service running in one process on loopback, with its HTTP API and its OpenAPI page.

    Data survive a restart. Exit: 0 stopped on request, 1 could not run, 2 wrong usage.
    """
    from cli.serve import run

    return asyncio.run(run(data, port, lab_port, lab, check))


@app.command
def run(
    names: Annotated[
        list[str], Parameter(help="ca_bridge, contracts, signer, verifier, notifier, timeline, relay; or all")
    ],
    /,
    *,
    data: Annotated[Path, Parameter(help="folder of secrets and signing keys, shared by the processes")] = Path(
        "var/serve"
    ),
    host: Annotated[str, Parameter(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="port of these services' API; 0 takes a free one")] = 0,
    check: Annotated[bool, Parameter(help="check the settings and stop")] = False,
) -> int:
    """Keep some services running in this process, as ANTIN_* says: Kafka, PostgreSQL, S3 and the outside world.

    Several processes share the work when ANTIN_KAFKA__BOOTSTRAP and ANTIN_DATABASE__URL are set: start any service as
    often as you like, and at least one relay. See docs/operating.md. Exit: 0 stopped on request, 1 could not run,
    2 wrong usage.
    """
    from cli.composition import RUNNABLE
    from cli.serve import run_some

    strangers = [name for name in names if name not in (*RUNNABLE, "all")]
    if strangers:
        print(f"antin: found {', '.join(strangers)}; expected {', '.join(RUNNABLE)} or all", file=sys.stderr)  # noqa: T201
        return 2
    return asyncio.run(run_some(RUNNABLE if "all" in names else names, data, host, port, check))


@app.command
def topics(
    action: Annotated[Literal["apply", "check"], Parameter(help="create what is missing, or name what differs")], /
) -> int:
    """The topics on Apache Kafka, from events/flow.py. Needs ANTIN_KAFKA__BOOTSTRAP.

    Exit: 0 all as they should be, 1 something differs or the broker does not answer, 2 wrong usage.
    """
    from cli import operation

    return asyncio.run(operation.apply() if action == "apply" else operation.check())


@app.command
def rebuild() -> int:
    """Delete what the timeline keeps on Kafka; its next start reads everything anew. Stop `antin run timeline` before.

    Needs ANTIN_KAFKA__BOOTSTRAP. Exit: 0 done, 1 the broker does not answer, 2 wrong usage.
    """
    from cli import operation

    return asyncio.run(operation.rebuild())


@app.command
def redrive(
    group: Annotated[str, Parameter(help="a consumer group, for example signer")],
    /,
    *,
    data: Annotated[Path, Parameter(help="data folder, where there is no ANTIN_DATABASE__URL")] = Path("var/serve"),
    letter: Annotated[int | None, Parameter(help="only this one; without it all that were not given again")] = None,
    list: Annotated[bool, Parameter(help="only list them", negative="")] = False,
) -> int:
    """Give a consumer group its dead letters once more: the same event ids, to this group only.

    Exit: 0 done, 1 there is no such group or letter, or the database does not answer, 2 wrong usage.
    """
    from cli import operation

    return asyncio.run(operation.again(group, data, letter, list))


@app.command
def lab(
    *,
    data: Annotated[Path, Parameter(help="folder of the toy world's state")] = Path("var/lab"),
    port: Annotated[int, Parameter(help="port on 127.0.0.1")] = 8481,
) -> int:
    """Run only the toy outside world: e-identity authority, CA with OCSP, CRL and TSA, enterprise registry."""
    from cli.serve import run_lab

    return asyncio.run(run_lab(data, port))


@app.command
def verify(
    files: Annotated[list[Path], Parameter(help="PDF files or folders", allow_leading_hyphen=False)],
    /,
    *,
    anchors: Annotated[Path | None, Parameter(help="folder of trusted roots, PEM or DER")] = None,
    json: Annotated[bool, Parameter(help="one JSON object a line, for machines", negative="")] = False,
) -> int:
    """Judge signed PDF files from their bytes, offline.

    Exit: 0 every signature passed, 1 one failed, 2 wrong usage, 3 none failed but one is undetermined (for example no
    trusted root), 4 not a readable PDF or no signature.
    """
    from services.verifier.cli import verify as judge

    return int(asyncio.run(judge(files, anchors=anchors, as_json=json)))


def main() -> None:
    """The entry point of the command."""
    try:
        found = app(sys.argv[1:], exit_on_error=False, print_error=True)
    except AntinError as fault:
        print(f"antin: {fault}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as fault:
        from cyclopts import CycloptsError

        if isinstance(fault, CycloptsError):
            sys.exit(2)
        raise
    sys.exit(found if isinstance(found, int) else 0)


if __name__ == "__main__":
    main()
