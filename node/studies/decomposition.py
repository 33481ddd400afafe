"""Study `decomposition`: one feeder, one stopping rule, and every way to bring its levels together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from market.atc.benders import BENDERS
from market.atc.methods import COMPARATORS, DEEPER, METHODS
from market.atc.rounds import Method
from market.pricing.newton import NewtonClearing
from node.bench.atc import Coordination, coordinate
from node.bench.day import demo_day
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

SIZES = (10, 32, 100, 1_000)
NOON = 12
ROUNDS_MAX = 600
"""Methods that stall are given this many."""
NEVER = ("quadratic", "lagrangian")
"""Penalties of which the settled answer is not one."""
ERROR_MAX, ATC_ROUNDS = 1e-4, 20


@dataclass(frozen=True, eq=False)
class Size:
    """All methods with so many prosumers."""

    prosumers: int
    by_method: Mapping[str, Coordination]

    def settled(self) -> list[str]:
        """Methods that met the stopping rule."""
        return [name for name, each in self.by_method.items() if each.settled]


def run(seed: int) -> Findings:
    """Every method at every size; the seed changes nothing, since the day is the demo's."""
    return compared_sizes(SIZES)


def compared_sizes(sizes: Sequence[int], rounds_max: int = ROUNDS_MAX) -> Findings:
    """Every method at noon of the demo's day with so many prosumers; those that stall get `rounds_max`."""
    found = [_size(prosumers, rounds_max) for prosumers in sizes]
    expected = [name for name in METHODS if name not in (*NEVER, BENDERS.name)]
    missing = [f"{name} at {each.prosumers}" for each in found for name in expected
               if not each.by_method[name].settled]  # fmt: skip
    worst = max(each.by_method[name].error for each in found for name in each.settled())
    stalled = [each.by_method[name] for each in found for name in NEVER]
    deep = [each.by_method[name] for each in found for name in DEEPER]
    rounds = [each.by_method["atc"].rounds for each in found]
    textbook = [each.by_method["admm"].rounds for each in found]
    best = [min(each.by_method[name].rounds for name in COMPARATORS) for each in found]
    return Findings(
        figures={"scenario": "ieee33-day", "slot": NOON, "sizes": [_to_json(each) for each in found]},
        tables=(*(_table(each) for each in found), _times(found)),
        claims=(
            Claim("ATC settles by every other penalty, and so do ADMM and APP", not missing,
                  ", ".join(missing) or f"{len(expected)} methods at {len(found)} sizes"),
            Claim("what settles has the central optimum's DLMPs within 1e-4", worst < ERROR_MAX,
                  f"{worst:.1e}"),
            Claim(f"quadratic and ordinary Lagrangian penalties do not settle in {rounds_max} rounds",
                  not any(each.settled for each in stalled),
                  f"DLMP errors {min(e.error for e in stalled):.1e} to {max(e.error for e in stalled):.1e}"),
            Claim("ATC's levels may be three or four: the same prices",
                  all(each.settled and each.error < ERROR_MAX for each in deep),
                  f"{max(each.rounds for each in deep)} rounds at most", basis=Basis.SOURCE),
            Claim(f"ATC by default needs no more than {ATC_ROUNDS} rounds at any size",
                  max(rounds) <= ATC_ROUNDS, _side_by_side(rounds)),
            _of_benders(found),
        ),
        draw=_draw(found),
        notes=(
            f"Rounds of atc {_side_by_side(rounds)}, of textbook ADMM {_side_by_side(textbook)}, of the best"
            f" of {', '.join(COMPARATORS)} {_side_by_side(best)}.",
            "AL-AD without acceleration is ADMM with a weight for each prosumer; where weights are bounded"
            " alike both take the same rounds. An exponential penalty with small gaps is an augmented"
            " Lagrangian. With two levels the levels' method is alternating directions.",
            "Benders and slopes disclose most: cuts are of costs; slopes are of supply curves.",
            "The day is the demo's, whatever the seed.",
        ),
    )  # fmt: skip


def _size(prosumers: int, rounds_max: int) -> Size:
    world = demo_day(prosumers)
    conditions = world.conditions(NOON)
    central = NewtonClearing(world.feeder)(world.feeder, conditions)
    told = {name: coordinate(world, _patient(name, rounds_max), conditions, central) for name in METHODS}
    return Size(prosumers, told)


def _patient(name: str, rounds_max: int) -> Method:
    """The method as it is; those that stall with more rounds than they would give themselves."""
    method = METHODS[name]
    if name not in NEVER:
        return method
    return replace(method, max_rounds=rounds_max, patience=rounds_max)  # type: ignore[type-var]


def _side_by_side(counts: Sequence[int]) -> str:
    return " / ".join(str(each) for each in counts)


def _of_benders(found: Sequence[Size]) -> Claim:
    """Where it stops short: its master program has one cut more of everybody in each round."""
    told = {each.prosumers: each.by_method[BENDERS.name] for each in found}
    settled = all(each.settled for each in told.values())
    return Claim(
        "Benders settles at every size",
        settled,
        ", ".join(f"{prosumers:,}: {_ended(each)}" for prosumers, each in told.items()),
        "" if settled else "the solver of its growing master program cannot tell its cuts apart",
        required=False,
    )


def _ended(method: Coordination) -> str:
    given_up = "" if method.settled else f" and gives up, prices {method.error:.0e} off"
    return f"{method.rounds} rounds{given_up}"


def _table(size: Size) -> Table:
    rows = tuple(
        (
            name,
            str(each.rounds) if each.settled else f"not in {each.rounds}",
            f"{each.messages:,}",
            f"{each.bytes / 1e3:,.1f}",
            f"{each.error:.1e}",
        )
        for name, each in size.by_method.items()
    )
    head = ("method", "rounds", "messages", "kB", "DLMP error")
    return Table(f"{size.prosumers:,} prosumers, noon with export", head, rows)


def _times(found: Sequence[Size]) -> Table:
    rows = tuple(
        (name, *(f"{1e3 * each.by_method[name].seconds:,.0f}" for each in found)) for name in METHODS
    )
    head = ("method", *(f"{each.prosumers:,}" for each in found))
    return Table("Time by number of prosumers, ms", head, rows, timed=True)


def _to_json(size: Size) -> dict[str, Value]:
    """Without times, which no file has."""
    return {
        "prosumers": size.prosumers,
        "methods": {
            name: {
                "rounds": each.rounds,
                "settled": each.settled,
                "messages": each.messages,
                "bytes": each.bytes,
                "dlmp_error": each.error,
            }
            for name, each in size.by_method.items()
        },
    }


def _draw(found: Sequence[Size]) -> Draw:
    """Rounds by method and size, where the method settles."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        names = [name for name in METHODS if name not in NEVER]
        for size, colour in zip(found, (theme.faint, theme.third, theme.market, theme.worse), strict=False):
            axes.plot([size.by_method[name].rounds for name in names], names, "o", color=colour,
                      label=f"{size.prosumers:,}")  # fmt: skip
        axes.set(xlabel="rounds until levels agree", title="Rounds by number of prosumers")
        axes.legend()

    return draw


STUDY = Study(
    name="decomposition",
    about="ATC by every penalty and two to four levels, ADMM, APP, Benders",
    source=Source(
        citation="Kim, Michelena, Papalambros and Jiang, Target Cascading in Optimal System Design, J. Mech."
        " Design 125(3), 2003; Tosserams et al., Struct. Multidisc. Optim. 31, 2006; Boyd et al., Found."
        " Trends Mach. Learn. 3(1), 2011; Cohen, JOTA 32, 1980; Benders, Numer. Math. 4, 1962",
        taken="the penalties of ATC, its hierarchy, and the updates of ADMM, APP and multicut Benders",
        added="one problem, one stopping rule and one count of what is said for all of them",
    ),
    run=run,
)
