"""Study `coalitions`: which coalitions of peers form, and against what they are stable."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from market.mechanisms.baselines import mid_market_bills
from market.mechanisms.coalitions import (
    Partition,
    Peers,
    Verdict,
    c_stable,
    gain_of_every_member,
    hp_stable,
    in_core,
    merge_and_split,
)
from node.scenario.streams import stream
from node.studies.study import Basis, Claim, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

PRICE, FIT = 30, 10
CASES, PEERS_MAX, NET_MAX = 400, 6, 9
OUTSIDE = Peers((5, 5, -5), PRICE, FIT)
"""Two who want the same five: the mid-market rate pays the one who has it less than both could."""
PLANTED = Peers((4, 3, -5), PRICE, FIT), (frozenset({0, 1}), frozenset({2}))
"""Three, and a partition nobody would come to: it keeps want and plenty apart, to show a verdict of no."""


@dataclass(frozen=True, slots=True)
class Formed:
    """Random peers, what merging and splitting made of them, and every verdict on it."""

    peers: Peers
    partition: Partition
    hp: Verdict
    c: Verdict
    core: Verdict
    better: Verdict

    @classmethod
    def of(cls, peers: Peers) -> Formed:
        """Form and judge."""
        partition, payoffs = merge_and_split(peers), _payoffs(peers)
        return cls(
            peers,
            partition,
            hp_stable(peers, partition),
            c_stable(peers, partition),
            in_core(peers, payoffs),
            gain_of_every_member(peers, payoffs),
        )

    @property
    def mixed(self) -> bool:
        """Whether somebody wants and somebody has: else there is nothing to share."""
        return min(self.peers.net) < 0 < max(self.peers.net)


def run(seed: int) -> Findings:
    """Random peers, what forms of them and its verdicts with a witness each; then what is told by hand."""
    found = [Formed.of(peers) for peers in _drawn(stream(seed, "coalitions"))]
    mixed = [each for each in found if each.mixed]
    outside = in_core(OUTSIDE, _payoffs(OUTSIDE))
    planted = hp_stable(*PLANTED)
    fallen = next(each for each in mixed if not each.c.stable)
    counted = {name: sum(getattr(each, name).stable for each in mixed) for name in ("hp", "c", "core")}
    improved = sum(not each.better.stable for each in mixed)
    words = {
        "hp": "what forms by merging and splitting is D_hp-stable",
        "c": "it is D_c-stable",
        "core": "mid-market payoffs of all together are in the core",
    }
    rows = (
        *((words[name], f"{count} of {len(mixed)}") for name, count in counted.items()),
        ("some set could pay each of its members more at the same rate", f"{improved} of {len(mixed)}"),
    )
    return Findings(
        figures={
            "seed": seed,
            "cases": CASES,
            "mixed": len(mixed),
            "hp_stable": counted["hp"],
            "c_stable": counted["c"],
            "in_core": counted["core"],
            "improved_by_leaving": improved,
            "counterexamples": [
                _to_json("core", OUTSIDE, outside),
                {**_to_json("D_c", fallen.peers, fallen.c), "formed": _named(fallen.partition)},
                _to_json("D_hp, planted", PLANTED[0], planted),
            ],
        },
        tables=(
            Table(f"{len(mixed)} of {CASES} random sets of 2 to {PEERS_MAX} peers: some want, some have",
                  ("verdict", "cases"), rows),
            Table("Witnesses", ("of", "nets", "step", "from", "to", "gain"),
                  (_witness("the core", OUTSIDE, outside), _witness("D_c, formed", fallen.peers, fallen.c),
                   _witness("D_hp, planted", PLANTED[0], planted))),
        ),
        claims=(
            Claim("what merging and splitting end with is D_hp-stable", counted["hp"] == len(mixed),
                  f"{counted['hp']} of {len(mixed)}", basis=Basis.CONSTRUCTION),
            Claim("it may fall to a set across its coalitions: D_c-stable it often is not",
                  counted["c"] < len(mixed) and fallen.hp.stable and fallen.c.gain > 0,
                  f"{len(mixed) - counted['c']} of {len(mixed)}, as of nets"
                  f" {_nets(fallen.peers)} formed to {_named(fallen.partition)}"),
            Claim("no set of peers can pay each of its members more at the mid-market rate", improved == 0,
                  f"{improved} of {len(mixed)}"),
            Claim("mid-market payoffs are often outside the core of the game with transfers",
                  not outside.stable and counted["core"] < len(mixed),
                  f"{len(mixed) - counted['core']} of {len(mixed)}"),
            Claim("a partition that keeps want and plenty apart is not stable, and the merger is named",
                  not planted.stable and planted.step == "merge", str(planted.gain),
                  basis=Basis.CONSTRUCTION),
        ),
        draw=_draw,
        notes=(
            "A reconstruction: the paper's payoffs and peers are not in its abstract.",
            f"In the other {CASES - len(mixed)} draws nobody wants or nobody has, so that coalitions change"
            " nothing and every verdict is yes; they are not counted.",
            "Here v is superadditive: nobody gains by splitting, and a partition is D_hp-stable as soon as no"
            " coalition that wants stands beside one that has. So the counterexample to D_hp is planted; none"
            " forms.",
        ),
    )  # fmt: skip


def _payoffs(peers: Peers) -> list[Fraction]:
    """What the mid-market rate leaves each peer of all together."""
    return [-bill for bill in mid_market_bills(peers.net, peers.price, peers.fit)]


def _drawn(rng: np.random.Generator) -> list[Peers]:
    return [
        Peers(tuple(int(net) for net in rng.integers(-NET_MAX, NET_MAX + 1, count)), PRICE, FIT)
        for count in rng.integers(2, PEERS_MAX + 1, CASES)
    ]


def _named(partition: Partition) -> str:
    return " ".join("{" + ", ".join(str(peer + 1) for peer in sorted(part)) + "}" for part in partition)


def _nets(peers: Peers) -> str:
    return " ".join(f"{int(net):+d}" for net in peers.net)


def _witness(of: str, peers: Peers, verdict: Verdict) -> tuple[str, ...]:
    gain = f"{float(verdict.gain):g}"
    return (of, _nets(peers), verdict.step, _named(verdict.before), _named(verdict.after), gain)


def _to_json(of: str, peers: Peers, verdict: Verdict) -> dict[str, str | float]:
    step = {"step": verdict.step, "before": _named(verdict.before), "after": _named(verdict.after)}
    return {"of": of, "nets": _nets(peers), **step, "gain": float(verdict.gain)}


def _draw(figure: Figure, theme: Theme) -> None:
    """What the counterexample's mid-market payoffs are, and what the blocking pair could share."""
    axes = figure.subplots()
    payoffs = [float(payoff) for payoff in _payoffs(OUTSIDE)]
    blocking = in_core(OUTSIDE, _payoffs(OUTSIDE)).after[0]
    names = ["peer 1, wants 5", "peer 2, wants 5", "peer 3, has 5"]
    colours = [theme.worse if peer in blocking else theme.market for peer in range(len(names))]
    axes.barh(names, payoffs, color=colours)
    axes.set(
        xlabel="mid-market payoff",
        title=f"{_named((blocking,))} get {sum(payoffs[peer] for peer in blocking):g} together,"
        f" and could have {float(OUTSIDE.worth(blocking)):g}",
    )


STUDY = Study(
    name="coalitions",
    about="which coalitions of peers are stable, and against what",
    source=Source(
        citation="Tushar et al., IEEE TSG 11(2):1407-1418, 2020; Apt and Witzel, A Generic Approach to"
        " Coalition Formation, Int. Game Theory Review 11(3), 2009",
        taken="coalitions that trade inside and settle the rest with the grid; merge and split; D_hp- and"
        " D_c-stability",
        added="the worth of a coalition by its net energy, the core of transfers, the random peers",
    ),
    run=run,
)
