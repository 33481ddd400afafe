"""What a day leaves to owners of PV and to all peers, with trade and without: the paper's claims on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from market.feeder.powerflow import violations
from node.scenario.world import World
from node.studies.community import ALONE, Day, spending, utility_eur
from node.studies.study import Basis, Claim, Table, Value


def under(rule: str) -> str:
    """What trade under a settlement rule is called."""
    return f"P2P, rule {rule}"


CUT, TRADED, UNBOUND = f"{ALONE}, cut to limits", under("dlmp"), "P2P, no limit binds"
"""Beside FiT/retail as it is: without what limits have no room for; with trade, under limits and without."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a day leaves, €: bills less what flexible energy is worth, negated; and the limits it breaks."""

    owners_eur: float
    peers_eur: float
    utility_eur: float
    broken: int

    @classmethod
    def of(cls, world: World, day: Day) -> Case:
        """A day of this world, under its limits."""
        spent = spending(world, day)
        return cls(
            -float(spent[world.generator_peak > 0].sum()),
            -float(spent.sum()),
            utility_eur(world, day),
            len(violations(world.feeder, day.flow)),
        )

    def to_json(self) -> dict[str, Value]:
        """By name."""
        money = {"owners_eur": self.owners_eur, "peers_eur": self.peers_eur, "utility_eur": self.utility_eur}
        return {**money, "violations": self.broken}


def table(cases: Mapping[str, Case]) -> Table:
    """One row a case."""
    rows = tuple(
        (name, f"{each.owners_eur:.0f}", f"{each.peers_eur:.0f}", f"{each.utility_eur:.0f}", str(each.broken))
        for name, each in cases.items()
    )
    head = ("", "owners of PV, €", "all peers, €", "utility, €", "limits broken")
    return Table("What a day leaves: what is earned and what flexible load is worth, less bills", head, rows)


def claims(cases: Mapping[str, Case]) -> tuple[Claim, ...]:
    """That trade leaves more than FiT/retail, as the paper says, and of which limits take back some.

    How much they take depends on the day: at a bus that they cut off, sun has no price.
    """
    alone, cut, traded, unbound = (cases[name] for name in (ALONE, CUT, TRADED, UNBOUND))
    peers, owners, bound = "all peers together", "owners of PV", "where limits bind"
    return (
        Claim("where no limit binds, trade leaves owners of PV more than FiT/retail",
              unbound.owners_eur > alone.owners_eur, _euros(alone.owners_eur, unbound.owners_eur),
              basis=Basis.SOURCE),
        _finding(f"{bound}, it leaves {peers} more than {CUT}", cut.peers_eur, traded.peers_eur),
        _finding(f"{bound}, it leaves {owners} more than {CUT}", cut.owners_eur, traded.owners_eur),
        _finding(f"{bound}, it leaves {owners} more than {ALONE} that breaks them",
                 alone.owners_eur, traded.owners_eur),
    )  # fmt: skip


def _finding(what: str, without: float, with_trade: float) -> Claim:
    held = with_trade > without
    why = "sun that no line can carry has no price under usage charges, the feed-in tariff has one"
    return Claim(what, held, _euros(without, with_trade), "" if held else why, Basis.SOURCE, required=False)


def _euros(without: float, with_trade: float) -> str:
    return f"{with_trade:.0f} €, and {without:.0f} € without"


def paper(said: Sequence[Claim]) -> Table:
    """What the paper says beside what came out; the bounds are ours."""
    rows = tuple((claim.what, claim.figure, "shown" if claim.held else claim.outcome) for claim in said)
    return Table(
        "What the paper says",
        ("claim", "found", "outcome"),
        (*rows, ("its own DERs, prices and digits", "they are not public", "not compared")),
    )
