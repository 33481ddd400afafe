"""`wattbook serve`: the pages and the API of a finished market."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, UNVERIFIABLE, USAGE, stop
from node.cli.records import read_record

if TYPE_CHECKING:
    from node.api.projection import Projection


def serve(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder.", metavar="BUNDLE")],
    api_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the pages and the API; 0 chooses one.")
    ] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine by default.")
    ] = "127.0.0.1",
) -> None:
    """Show a finished market in a browser, read-only, until Ctrl-C.

    Example: wattbook serve out/demo/bundle
    What is shown is what the bundle says; `wattbook audit` says whether it is true.
    """
    from ledger.history import NoHistory  # noqa: PLC0415 - these load slowly
    from node.api.app import create_api  # noqa: PLC0415
    from node.api.archive import Finished  # noqa: PLC0415
    from node.api.projection import Projection  # noqa: PLC0415
    from node.api.proofs import Proofs  # noqa: PLC0415
    from node.api.sources import RecordSource  # noqa: PLC0415
    from node.client.serving import PortTakenError, listening, serving  # noqa: PLC0415

    if not Path(bundle).is_dir():
        stop(f"{bundle}: no such folder; name a bundle's", USAGE)
    record = read_record(bundle, None)
    try:
        projection = Projection(RecordSource(record))
        _read_through(projection)
    except NoHistory as failure:
        stop(f"{bundle}: {failure}", UNVERIFIABLE)
    except (LookupError, ValueError) as failure:
        stop(
            f"{bundle}: its events do not fit together ({failure}); see wattbook audit {bundle}", UNVERIFIABLE
        )
    manifest = record.bundle.manifest
    site = {"exchange": record.exchange, "token": manifest.token, "chain_id": manifest.chain_id}
    try:
        taken = listening(host, api_port, "--api-port")
    except PortTakenError as refusal:
        stop(refusal, FAILED)
    except UnicodeError:
        stop(f"--host {host}: is no name of a host", USAGE)
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    api = create_api(
        projection,
        site,
        archive=Finished(record, bundle),
        proofs=Proofs(record.bundle.inputs, record.bundle.certificates),
        host=host,
    )
    with serving(api, taken) as url:
        print(f"{bundle} at {url} (Ctrl-C stops)", flush=True)
        ended.wait()


def _read_through(projection: Projection) -> None:
    """Look at everything once, so that events that were forged end the start and not a visitor's request.

    Raises LookupError, ValueError.
    """
    from node.api import resources  # noqa: PLC0415 - loads slowly

    for _ in resources.orders(projection, None, None, None, False):
        pass
    for _, filled in resources.fills(projection, None, None):
        resources.fill_resource(filled)
    for _, paid in resources.settlements(projection, None, None, None):
        resources.settlement_resource(paid)
