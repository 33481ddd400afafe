"""Study `coalitions`: which coalitions of peers form, and against what they are stable."""

from __future__ import annotations

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
from node.studies.study import Claim, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

PRICE, FIT = 30, 10
CASES, PEERS_MAX, NET_MAX = 400, 6, 9
OUTSIDE = Peers((5, 5, -5), PRICE, FIT)
"""Two who want the same five: the mid-market rate pays the one who has it less than both could."""
SPLIT = Peers((4, 3, -5), PRICE, FIT)
"""Three, and a partition that leaves one of them alone."""


def run(seed: int) -> Findings:
    """Both counterexamples, then random peers: what forms, its verdicts, and the mid-market rate's."""
    counted = _random(seed)
    outside = in_core(OUTSIDE, _payoffs(OUTSIDE))
    alone = (frozenset({0, 1}), frozenset({2}))
    unstable = hp_stable(SPLIT, alone)
    rows = (
        ("what forms by merging and splitting is D_hp-stable", f"{counted['hp']} of {CASES}"),
        ("it is D_c-stable", f"{counted['c']} of {CASES}"),
        ("mid-market payoffs of all together are in the core", f"{counted['core']} of {CASES}"),
        ("some set could pay each of its members more at the same rate", f"{counted['improved']} of {CASES}"),
    )
    return Findings(
        figures={
            "seed": seed,
            "cases": CASES,
            "hp_stable": counted["hp"],
            "c_stable": counted["c"],
            "in_core": counted["core"],
            "improved_by_leaving": counted["improved"],
            "counterexamples": [_to_json("core", outside), _to_json("D_hp", unstable)],
        },
        tables=(
            Table(f"{CASES} random sets of 2 to {PEERS_MAX} peers", ("verdict", "cases"), rows),
            Table("Witnesses", ("of", "step", "from", "to", "gain"),
                  (_witness("the core, nets +5 +5 −5", outside), _witness("D_hp, nets +4 +3 −5", unstable))),
        ),
        claims=(
            Claim("what merging and splitting end with is D_hp-stable", counted["hp"] == CASES,
                  f"{counted['hp']} of {CASES}"),
            Claim("no set of peers can pay each of its members more at the mid-market rate",
                  counted["improved"] == 0, f"{counted['improved']} of {CASES}"),
            Claim("mid-market payoffs are often outside the core of the game with transfers",
                  not outside.stable and counted["core"] < CASES, f"{CASES - counted['core']} of {CASES}"),
            Claim("a partition that keeps want and plenty apart is not stable, and the merger is named",
                  not unstable.stable and unstable.step == "merge", str(unstable.gain)),
        ),
        draw=_draw,
    )  # fmt: skip


def _payoffs(peers: Peers) -> list[Fraction]:
    """What the mid-market rate leaves each peer of all together."""
    return [-bill for bill in mid_market_bills([int(net) for net in peers.net], PRICE, FIT)]


def _random(seed: int) -> dict[str, int]:
    counted = dict.fromkeys(("hp", "c", "core", "improved"), 0)
    for peers in _drawn(stream(seed, "coalitions")):
        formed = merge_and_split(peers)
        counted["hp"] += hp_stable(peers, formed).stable
        counted["c"] += c_stable(peers, formed).stable
        counted["core"] += in_core(peers, _payoffs(peers)).stable
        counted["improved"] += not gain_of_every_member(peers, _payoffs(peers)).stable
    return counted


def _drawn(rng: np.random.Generator) -> list[Peers]:
    return [
        Peers(tuple(int(net) for net in rng.integers(-NET_MAX, NET_MAX + 1, count)), PRICE, FIT)
        for count in rng.integers(2, PEERS_MAX + 1, CASES)
    ]


def _named(partition: Partition) -> str:
    return " ".join("{" + ", ".join(str(peer + 1) for peer in sorted(part)) + "}" for part in partition)


def _witness(of: str, verdict: Verdict) -> tuple[str, ...]:
    gain = f"{float(verdict.gain):g}"
    return (of, verdict.step, _named(verdict.before), _named(verdict.after), gain)


def _to_json(of: str, verdict: Verdict) -> dict[str, str | float]:
    step = {"step": verdict.step, "before": _named(verdict.before), "after": _named(verdict.after)}
    return {"of": of, **step, "gain": float(verdict.gain)}


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
