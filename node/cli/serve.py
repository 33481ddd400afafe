"""`wattbook serve`: the pages and the API of a market that is finished, or goes on elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.errors import FAILED, UNVERIFIABLE, USAGE, stop
from node.cli.joining import until_stopped
from node.cli.records import (
    ExchangeAddress,
    ProofPlaces,
    Source,
    is_url,
    proof_places,
    read_record,
    wanted_exchange,
)

if TYPE_CHECKING:
    from node.api.archive import Archive
    from node.api.projection import Projection
    from node.api.proofs import Proofs


@dataclass(frozen=True)
class _Shown:
    """A market to be shown: what `create_api` takes."""

    projection: Projection
    site: dict[str, Any]
    archive: Archive
    proofs: Proofs


def serve(
    source: Source,
    exchange: ExchangeAddress = None,
    proofs: ProofPlaces = None,
    api_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the pages and the API; 0 chooses one.")
    ] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine by default.")
    ] = "127.0.0.1",
) -> None:
    """Show a market in a browser, read-only, until Ctrl-C: a finished one, or one on a node as it goes on.

    Example: wattbook serve out/demo/bundle
    A simulation that runs is watched on its node: wattbook serve http://127.0.0.1:8545 --exchange 0x…
    What is shown is what the bundle or the node says; `wattbook audit` says whether it is true.
    """
    from node.api.app import create_api  # noqa: PLC0415 - these load slowly
    from node.client.serving import PortTakenError, listening, serving  # noqa: PLC0415

    if not is_url(source) and not Path(source).is_dir():
        stop(f"{source}: no such folder; name a bundle's, or the URL of a node", USAGE)
    folders, services = proof_places(source, proofs or ())
    shown = _watched(source, exchange, folders, services) if is_url(source) else _finished(source, exchange)
    try:
        taken = listening(host, api_port, "--api-port")
    except PortTakenError as refusal:
        stop(refusal, FAILED)
    except UnicodeError:
        stop(f"--host {host}: is no name of a host", USAGE)
    stopped = until_stopped()
    api = create_api(shown.projection, shown.site, archive=shown.archive, proofs=shown.proofs, host=host)
    with serving(api, taken) as url:
        print(f"{source} at {url} (Ctrl-C stops)", flush=True)
        stopped.wait()


def _finished(bundle: str, exchange: str | None) -> _Shown:
    """The market of a bundle; leaves with 2 or 3 where it shows none."""
    from ledger.history import NoHistory  # noqa: PLC0415 - these load slowly
    from node.api.archive import Finished  # noqa: PLC0415
    from node.api.projection import Projection  # noqa: PLC0415
    from node.api.proofs import Proofs  # noqa: PLC0415
    from node.api.sources import RecordSource  # noqa: PLC0415

    record = read_record(bundle, exchange)
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
    proofs = Proofs(record.bundle.inputs, record.bundle.certificates)
    return _Shown(projection, site, Finished(record, bundle), proofs)


def _watched(url: str, exchange: str | None, folders: Sequence[Path], services: Sequence[str]) -> _Shown:
    """A market on a node, which goes on, with proofs that others have; leaves with 2 or 3 where none is."""
    from ledger.bundle import CERTIFICATES, INPUTS  # noqa: PLC0415 - these load slowly
    from ledger.chain.protocol import ChainError  # noqa: PLC0415
    from ledger.chain.rpc import RpcChain  # noqa: PLC0415
    from ledger.record import Record, RecordError, find_exchange  # noqa: PLC0415
    from node.api.archive import Growing  # noqa: PLC0415
    from node.api.projection import Projection  # noqa: PLC0415
    from node.api.proofs import Proofs  # noqa: PLC0415
    from node.api.watching import WatchedSource  # noqa: PLC0415
    from node.client.proving import ProofsElsewhere  # noqa: PLC0415

    try:
        chain = RpcChain(url, outage_ms=0)
        market = find_exchange(chain, wanted_exchange(exchange))
        source = WatchedSource(chain, market)
        projection = Projection(source)
        _read_through(projection)
    except RecordError as failure:
        stop(f"{url}: {failure} (--exchange ADDRESS)", UNVERIFIABLE)
    except (ChainError, LookupError, ValueError) as failure:
        stop(f"{url}: {failure}", UNVERIFIABLE)
    site = {"rpc_url": url, "exchange": market.address, "chain_id": chain.chain_id}
    archive = Growing(source, lambda: Record.from_chain(chain, market.address))
    inputs, certificates = (ProofsElsewhere(kind, folders, services) for kind in (INPUTS, CERTIFICATES))
    site |= {"token": market.token().address}
    return _Shown(projection, site, archive, Proofs(inputs, certificates))


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
