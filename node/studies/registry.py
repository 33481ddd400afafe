"""The studies by name. Each is imported only when it runs, so that listing them is quick."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from node.studies.study import Study


class UnknownStudy(ValueError):  # noqa: N818 - a question about what does not exist
    """No study has this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A study's name, its one line, and the module whose `STUDY` it is."""

    name: str
    about: str
    module: str


ENTRIES = (
    Entry("baselines", "one day under FiT/retail, the mid-market rate, and any auction", "baselines"),
    Entry("double-auction", "one-shot auctions of a coalition, and the continuous one", "double_auction"),
    Entry("stackelberg", "a grid that prices its peak away, and peers who trade instead", "stackelberg"),
    Entry(
        "peak-hour",
        "the price that leaves a grid's peak alone, the utility's quote in one hour's book",
        "peak_hour",
    ),
    Entry("coalitions", "which coalitions of peers are stable, and against what", "coalitions"),
    Entry(
        "sharing-regions",
        "regions with providers and fees of their own, on a feeder with limits",
        "sharing_regions",
    ),
    Entry(
        "energy-classes",
        "energy in classes: a price for each, sources registered and certified on the chain",
        "energy_classes",
    ),
    Entry(
        "microgrid-platform",
        "ten houses on a platform with gate closure, veto and tariff, with sun alone and with wind",
        "microgrid_platform",
    ),
    Entry("vpp", "prosumers that follow a price so that their sum follows a plan", "vpp"),
    Entry(
        "cosimulation",
        "a market and its three-phase feeder step by step, with and without trade",
        "cosimulation",
    ),
    Entry(
        "loss-allocation",
        "who bears the losses of an unbalanced feeder: by path, pro rata, by price",
        "loss_allocation",
    ),
    Entry(
        "local-market",
        "a street's sealed auction every quarter of an hour, after the Brooklyn Microgrid",
        "local_market",
    ),
    Entry(
        "decomposition", "ATC by every penalty and two to four levels, ADMM, APP, Benders", "decomposition"
    ),
    Entry("utility", "peers trade, the utility charges for its feeder, and ATC prices both", "utility"),
)
"""All studies, in the order of a whole run."""


def load(name: str) -> Study:
    """The study of this name. Raises UnknownStudy."""
    for entry in ENTRIES:
        if entry.name == name:
            study: Study = import_module(f"node.studies.{entry.module}").STUDY
            return study
    known = ", ".join(entry.name for entry in ENTRIES)
    raise UnknownStudy(f"{name}: no such study; there are {known}")
