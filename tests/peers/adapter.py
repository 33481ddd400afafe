"""Runs in another package's environment, where Wattbook is not: `python adapter.py NAME QUESTION`.

The question is a file of JSON. It says its package's version once that is loaded, and then replies to each
line of its input with one run: seconds, and what came out. A run is the package's own work on data in its own
form; making that form is not timed.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

Trial = Callable[[], Callable[[], Any]]
"""Sets a run up and returns what is timed; that returns a function which tells what came out."""
BID = 0
EUR_PER_KWH_PER_TICK, EUR_PER_MWH_PER_TICK = 1e-4, 0.1
DRAW = 1
"""The seed of packages that break ties by chance."""


def main(name: str, question: str) -> None:
    """Reply to each line of the input."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the package prints is no reply
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    distribution, prepare = PACKAGES[name]
    trial = prepare(json.loads(Path(question).read_text("utf-8")))

    def reply(what: Any) -> None:
        replies.write(json.dumps(what) + "\n")
        replies.flush()

    reply(version(distribution))
    for _ in sys.stdin:
        work = trial()
        gc.collect()
        gc.disable()
        started = perf_counter()
        found = work()
        seconds = perf_counter() - started
        gc.enable()
        reply({"seconds": seconds, "found": found()})


# --- auctions: orders are [account, side, tick, Wh]; found is the energy traded, Wh -----------------


def assume(question: Any) -> Trial:
    """ASSUME's market roles, which take a book of dictionaries, MW and €/MWh."""
    from assume.common.market_objects import MarketConfig, MarketProduct
    from assume.markets.clearing_algorithms.simple import PayAsBidRole, PayAsClearRole
    from dateutil.rrule import HOURLY, rrule

    begin, quarter = datetime(2026, 6, 23, 10), timedelta(minutes=15)
    hours = rrule(HOURLY, dtstart=begin, until=begin + timedelta(days=1))
    settings = MarketConfig(
        market_id="slot", opening_hours=hours, market_products=[MarketProduct(quarter, 1, timedelta(0))]
    )
    role = {"pay-as-bid": PayAsBidRole, "pay-as-clear": PayAsClearRole}[question["auction"]](settings)
    product = (begin, begin + quarter, None)

    def prepare() -> Callable[[], Any]:
        random.seed(DRAW)
        book = [
            {
                "start_time": product[0],
                "end_time": product[1],
                "only_hours": None,
                "agent_addr": str(account),
                "bid_id": str(place),
                "volume": (-quantity_wh if side == BID else quantity_wh) / 1e6,
                "price": tick * EUR_PER_MWH_PER_TICK,
            }
            for place, (account, side, tick, quantity_wh) in enumerate(question["orders"])
        ]

        def work() -> Callable[[], float]:
            told = role.clear(book, [product])[2]
            return lambda: 1e6 * told[0]["supply_volume"]

        return work

    return prepare


def gsy(question: Any) -> Trial:
    """Grid Singularity's matching algorithms, over dictionaries, kWh and €/kWh."""
    from gsy_framework import matching_algorithms

    kinds = {
        "pay-as-bid": matching_algorithms.PayAsBidMatchingAlgorithm,
        "pay-as-clear": matching_algorithms.PayAsClearMatchingAlgorithm,
    }

    def prepare() -> Callable[[], Any]:
        sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for place, (account, side, tick, quantity_wh) in enumerate(question["orders"]):
            order = {"id": str(place), ("buyer", "seller")[side]: str(account)}
            sides[side].append(
                order | {"energy_rate": tick * EUR_PER_KWH_PER_TICK, "energy": quantity_wh / 1e3}
            )
        slot = {"bids": sides[0], "offers": sides[1], "current_time": "10:00"}
        algorithm = kinds[question["auction"]]()

        def work() -> Callable[[], float]:
            pairs = algorithm.get_matches_recommendations({"market": {"10:00": slot}})
            return lambda: 1e3 * sum(pair["selected_energy"] for pair in pairs)

        return work

    return prepare


def pymarket(question: Any) -> Trial:
    """pymarket's mechanisms, over a frame of bids, kWh and €/kWh.

    They find no trade where bids and asks meet at one price, so no two prices here are the same.
    """
    from pymarket import Market

    def prepare() -> Callable[[], Any]:
        market = Market()
        for place, (account, side, tick, quantity_wh) in enumerate(question["orders"]):
            price = (tick + place / len(question["orders"])) * EUR_PER_KWH_PER_TICK
            market.accept_bid(quantity_wh / 1e3, price, account, side == BID)

        def work() -> Callable[[], float]:
            fills, _ = market.run(question["auction"])
            return lambda: 1e3 * float(fills.get_df()["quantity"].sum()) / 2

        return work

    return prepare


def tesp(question: Any) -> Trial:
    """TESP's double auction of a feeder, which sorts bids as they are handed in, kW and $/kWh."""
    from tesp_support.original.simple_auction import simple_auction

    settings: dict[str, Any] = dict.fromkeys(("stat_mode", "stat_interval", "stat_type", "stat_value"), "")
    settings |= {"init_stdev": 0.01, "init_price": 0.1, "period": 900, "pricecap": 1.0, "statistic_mode": 1}
    settings |= {"max_capacity_reference_bid_quantity": 0}

    def prepare() -> Callable[[], Any]:
        auction = simple_auction(settings, "slot")
        auction.initAuction()
        auction.clear_bids()

        def work() -> Callable[[], float]:
            for _, side, tick, quantity_wh in question["orders"]:
                if side == BID:
                    auction.collect_bid([tick * EUR_PER_KWH_PER_TICK, quantity_wh / 1e3, False])
                else:
                    auction.supplier_bid([tick * EUR_PER_KWH_PER_TICK, quantity_wh / 1e3])
            auction.clear_market()
            return lambda: 1e3 * float(auction.clearing_quantity)

        return work

    return prepare


# --- prices: a feeder and its conditions; found is λ by bus, €/MWh ----------------------------------


def pypsa(question: Any) -> Trial:
    """PyPSA's linear optimum with HiGHS: flows without losses and voltages, costs with their slopes."""
    import pypsa as package

    base_mw, parents = question["base_mw"], question["parent"]
    buses = [f"bus {number}" for number in range(len(parents))]

    def network() -> Any:
        net = package.Network()
        net.add("Bus", buses)
        upper = [buses[parent] for parent in parents[1:]]
        net.add(
            "Line",
            [f"line {number}" for number in range(1, len(buses))],
            bus0=upper,
            bus1=buses[1:],
            r=question["r_pu"][1:],
            x=question["x_pu"][1:],
            s_nom=10 * base_mw,
        )
        wide = {"bus": buses[0], "p_nom": 10 * base_mw}
        net.add("Generator", "import", marginal_cost=question["import_price"], **wide)
        net.add(
            "Generator", "export", marginal_cost=question["export_price"], p_min_pu=-1.0, p_max_pu=0.0, **wide
        )
        firm_mw = [base_mw * each for each in question["firm_p"]]
        net.add("Load", [f"load of {bus}" for bus in buses], bus=buses, p_set=firm_mw)
        for number, device in enumerate(question["devices"]):
            sign = 1.0 if device["kind"] == "gen" else -1.0
            ends = sorted((sign * device["low"] / device["high"], sign))
            net.add(
                "Generator",
                f"device {number}",
                bus=buses[device["bus"]],
                p_nom=base_mw * device["high"],
                p_min_pu=ends[0],
                p_max_pu=ends[1],
                marginal_cost=device["cost"],
                marginal_cost_quadratic=device["slope"] / base_mw / 2,
            )
        return net

    def prepare() -> Callable[[], Any]:
        net = network()

        def work() -> Callable[[], list[float]]:
            status, condition = net.optimize(solver_name="highs", log_to_console=False)
            if status != "ok":
                raise RuntimeError(f"ends with {condition}")
            return lambda: [float(net.buses_t.marginal_price[bus].iloc[0]) for bus in buses]

        return work

    return prepare


PACKAGES: dict[str, tuple[str, Callable[[Any], Trial]]] = {
    "assume": ("assume-framework", assume),
    "gsy": ("gsy-frameworke", gsy),
    "pymarket": ("pymarket", pymarket),
    "pypsa": ("pypsa", pypsa),
    "tesp": ("tesp-support", tesp),
}
"""By name: the distribution, and what makes trials of a question."""

if __name__ == "__main__":
    main(*sys.argv[1:])
