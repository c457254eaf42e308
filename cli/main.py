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


batch = App(name="batch", help="One approval for a folder of PDFs; each signature is provable against it.")
app.command(batch)


@batch.command(name="prepare")
def batch_prepare(
    folder: Annotated[Path, Parameter(help="folder of PDF files")],
    /,
    *,
    credential: Annotated[str, Parameter(help="id of the signing credential")],
    json: Annotated[bool, Parameter(help="JSON, for machines", negative="")] = False,
) -> int:
    """Print what the holder must approve: the Merkle root of the documents' digests, their number, the credential.

    Exit: 0 printed, 2 wrong usage.
    """
    from cli.batch import prepare

    return prepare(folder, credential, json)


@batch.command(name="sign")
def batch_sign(
    folder: Annotated[Path, Parameter(help="folder of PDF files, as it was approved")],
    /,
    *,
    out: Annotated[Path, Parameter(help="folder for signed files and proofs; the same one resumes")],
    credential: Annotated[str, Parameter(help="id of the signing credential")],
    activation: Annotated[Path, Parameter(help="file with the activation (JWS of the e-identity authority)")],
    level: Annotated[Literal["B", "T", "LT", "LTA"], Parameter(help="PAdES baseline level")] = "LTA",
    url: Annotated[str, Parameter(help="the installation")] = "http://127.0.0.1:8480",
    key_file: Annotated[Path, Parameter(help="file with a bearer key of the scope batches:write")] = Path(
        "var/serve/secrets/api-key"
    ),
) -> int:
    """Sign every PDF of a folder under one approval. Run it again after any end: nothing is signed twice.

    Exit: 0 every document is signed, 1 some are not or the API refused, 2 wrong usage.
    """
    from cli.batch import sign
    from events.values import BaselineLevel

    return asyncio.run(
        sign(folder, out, url, key_file, credential, activation, BaselineLevel(f"PAdES-BASELINE-{level}"))
    )


@batch.command(name="check")
def batch_check(
    out: Annotated[Path, Parameter(help="folder that `antin batch sign` wrote")],
    /,
    *,
    jwks: Annotated[Path | None, Parameter(help="file with the authority's JWK Set: its signature is checked")] = None,
) -> int:
    """Check every proof offline: each signed file begins with a document that the activation approved.

    Exit: 0 every proof holds, 1 one does not, 2 wrong usage.
    """
    from cli.batch import check

    return check(out, jwks)


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
    trust: Annotated[Path | None, Parameter(help="data or trust folder whose named sets are trusted too")] = None,
    set: Annotated[
        list[str] | None, Parameter(help="only this set of it, for example neac; may be repeated", negative="")
    ] = None,
    json: Annotated[bool, Parameter(help="one JSON object a line, for machines", negative="")] = False,
    html: Annotated[Path | None, Parameter(help="folder for one HTML report of each file, its pages drawn")] = None,
    lang: Annotated[Literal["vi", "en"] | None, Parameter(help="only this language; without it both")] = None,
    pdf: Annotated[Path | None, Parameter(help="folder for a sealed PDF report of each file")] = None,
    unsealed: Annotated[bool, Parameter(help="let those PDFs go without a seal", negative="")] = False,
    seal_key: Annotated[
        Path | None,
        Parameter(help="private key of the seal, PEM, mode 0600", env_var="ANTIN_VERIFIER__SEAL_KEY_FILE"),
    ] = None,
    seal_chain: Annotated[
        Path | None, Parameter(help="its certificates, PEM, its own first", env_var="ANTIN_VERIFIER__SEAL_CHAIN_FILE")
    ] = None,
    seal_tsa: Annotated[
        str | None, Parameter(help="URL of the seal's timestamp authority", env_var="ANTIN_VERIFIER__SEAL_TSA")
    ] = None,
    allow: Annotated[list[str] | None, Parameter(help="an inner host:port that the seal may call", negative="")] = None,
    etsi_xml: Annotated[Path | None, Parameter(help="folder for an ETSI TS 119 102-2 report of each file")] = None,
    engines: Annotated[
        Literal["both", "one"], Parameter(help="ask a second engine too, which may only take trust away; or not")
    ] = "both",
) -> int:
    """Judge signed PDF files from their bytes, offline: files, and every PDF below a folder.

    A table at a terminal (without colours where NO_COLOR is set), plain lines in a pipe.

    Exit: 0 every signature passed, 1 one failed, 2 wrong usage, 3 none failed but one is undetermined (for example no
    trusted root), 4 not a readable PDF or no signature.
    """
    from cli.verifying import Papers, judge

    papers = Papers(pdf, unsealed, seal_key, seal_chain, seal_tsa, allow or [], etsi_xml)
    sets, both = set or (), engines == "both"
    return asyncio.run(
        judge(files, papers, anchors=anchors, trust=trust, sets=sets, as_json=json, html=html, lang=lang, both=both)
    )


trust = App(
    name="trust",
    help=(
        "The named sets of trusted certificates: who may be the root of a signature or a timestamp.\n\n"
        "Nothing is shipped: an operator confirms every certificate by its SHA-256. Exit: 0 done, 1 a source could not "
        "be fetched or is not to be believed, 2 wrong usage, nothing there, or a fingerprint not confirmed."
    ),
)
app.command(trust)

Data = Annotated[Path, Parameter(help="data folder; the sets are in its folder trust/")]
Json = Annotated[bool, Parameter(help="for machines", negative="")]
Named = Annotated[str, Parameter(name="--set", help="name of the set, for example neac")]
Allowed = Annotated[
    list[str] | None, Parameter(help="an inner host:port that may be called; may be repeated", negative="")
]
_DATA = Path("var/serve")


@trust.command(name="list")
def trust_list(
    *,
    data: Data = _DATA,
    named: Annotated[str | None, Parameter(name="--set", help="only this set")] = None,
    json: Json = False,
) -> int:
    """Every set and every certificate in it: purpose, owner, validity, SHA-256."""
    from services.verifier.trust_cli import TrustDesk

    return TrustDesk(data).list(named, as_json=json)


@trust.command(name="show")
def trust_show(
    digest: Annotated[str, Parameter(help="the first eight or more digits of a certificate's SHA-256")],
    /,
    *,
    data: Data = _DATA,
    json: Json = False,
) -> int:
    """One certificate: subject, issuer, serial, validity, SHA-256 of it and of its key, since when it is granted."""
    from services.verifier.trust_cli import TrustDesk

    return TrustDesk(data).show(digest, as_json=json)


@trust.command(name="add")
def trust_add(
    places: Annotated[list[str], Parameter(help="files or folders (PEM or DER), or one https URL")],
    /,
    *,
    named: Named,
    data: Data = _DATA,
    kind: Annotated[
        Literal["public", "government", "foreign", "own", "lab"] | None, Parameter(help="whose hierarchy it is")
    ] = None,
    label: Annotated[str | None, Parameter(help="what reports call it")] = None,
    purpose: Annotated[
        Literal["signatures", "timestamps"] | None, Parameter(help="only for this; without it for both")
    ] = None,
    sha256: Annotated[
        list[str] | None,
        Parameter(
            help="confirms a certificate (or the operator's, or a pinned bundle) by its digest; may be repeated",
            negative="",
        ),
    ] = None,
    operators: Annotated[
        Path | None, Parameter(help="certificates of the scheme operator whose signed trusted list is at the URL")
    ] = None,
    days: Annotated[int, Parameter(help="what was fetched longer ago than this is not used")] = 7,
    allow: Allowed = None,
) -> int:
    """Add certificates to a set, or make a set from a URL: a signed trusted list (ETSI TS 119 612) or a pinned bundle.

    Without --sha256 the fingerprints are printed and nothing is changed.
    """
    from services.verifier.trust_cli import TrustDesk
    from services.verifier.trust_store import Kind, Purpose

    desk, sort, digests = TrustDesk(data), Kind(kind) if kind else None, sha256 or []
    if any("://" in place for place in places):
        if len(places) != 1 or purpose is not None:
            print("antin: found a URL beside something else; expected one URL, without --purpose", file=sys.stderr)  # noqa: T201
            return 2
        made = desk.subscribe(
            places[0],
            named,
            kind=sort,
            label=label,
            operators=operators,
            days=days,
            confirmed=digests,
            allow=allow or (),
        )
        return asyncio.run(made)
    only = Purpose(purpose) if purpose else None
    return desk.add([Path(one) for one in places], named, kind=sort, label=label, purpose=only, confirmed=digests)


@trust.command(name="remove")
def trust_remove(
    digests: Annotated[list[str] | None, Parameter(help="first eight or more digits of each SHA-256")] = None,
    /,
    *,
    named: Named,
    data: Data = _DATA,
    all: Annotated[bool, Parameter(help="the whole set", negative="")] = False,
) -> int:
    """Take certificates out of a set, or the whole set away. A running service heeds it at its next judgement."""
    from services.verifier.trust_cli import TrustDesk

    return TrustDesk(data).remove(named, digests or [], whole=all)


@trust.command(name="refresh")
def trust_refresh(
    names: Annotated[list[str] | None, Parameter(help="only these sets")] = None,
    /,
    *,
    data: Data = _DATA,
    allow: Allowed = None,
) -> int:
    """Fetch the sets that come from a URL. When an answer is not good, what was fetched before stays, until stale."""
    from services.verifier.trust_cli import TrustDesk

    return asyncio.run(TrustDesk(data).refresh(names or [], allow=allow or ()))


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
