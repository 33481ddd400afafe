"""Coalitions of peers that share what they have, and which of them hold.

W. Tushar et al., IEEE Transactions on Smart Grid 11(2):1407–1418, 2020, lets prosumers form coalitions by
merging and splitting (K. R. Apt and A. Witzel, "A Generic Approach to Coalition Formation", International
Game Theory Review 11(3), 2009). A coalition S that wants D and has Q to give is worth what it gets of the
grid:

    v(S) = −p_grid·(D − Q)⁺ + p_fit·(Q − D)⁺

A partition P is D_hp-stable if no coalition gains by splitting into parts and no coalitions gain by
merging. It is D_c-stable if v is superadditive inside its coalitions and Σ_i v(P_i ∩ T) ≥ v(T) for every
T that lies in none of them. A verdict of "no" has a witness.

Energies and prices are whole numbers or fractions, so that worths and verdicts are exact.

CoalitionError   no peers, or too many for a verdict; prices out of order; a partition that is none; payoffs
                 that do not add up
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations
from numbers import Rational

from market.mechanisms.baselines import Exact, mid_market_bills

Coalition = frozenset[int]
Partition = tuple[Coalition, ...]
PEERS_MAX = 10
"""Verdicts look at every set of peers and every way to split it."""


class CoalitionError(ValueError):
    """Peers, prices, a partition or payoffs that no verdict can be given of; the message says why."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Net energy of each peer, wanting positive, and the grid's two prices. Raises CoalitionError."""

    net: tuple[Exact, ...]
    price: Exact
    fit: Exact

    def __post_init__(self) -> None:
        if not self.net:
            raise CoalitionError("a game without peers")
        if any(not isinstance(each, Fraction | int) for each in (*self.net, self.price, self.fit)):
            raise CoalitionError("energies and prices are whole numbers or fractions: verdicts are exact")
        if self.price < self.fit:
            raise CoalitionError(f"the grid's price {self.price} is below its feed-in tariff {self.fit}")

    def worth(self, coalition: Iterable[int]) -> Fraction:
        """v(S): what the grid pays it, negative where it pays."""
        net = sum((Fraction(self.net[peer]) for peer in coalition), Fraction(0))
        return -net * (self.price if net > 0 else self.fit)

    @property
    def alone(self) -> Partition:
        """Everybody in a coalition of one."""
        return tuple(frozenset({peer}) for peer in range(len(self.net)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a partition is stable; if not, who would gain by which step, and how much."""

    stable: bool
    step: str = ""
    before: Partition = ()
    after: Partition = ()
    gain: Fraction = Fraction(0)


# --- forming ----------------------------------------------------------------------------------------


def merge_and_split(peers: Peers, start: Partition | None = None) -> Partition:
    """Merge and split while that gains anything; of all steps the first in order. Raises CoalitionError."""
    partition = peers.alone if start is None else start
    _require_partition(peers, partition)
    while True:
        step = next(chain(_merges(peers, partition), _splits(peers, partition)), None)
        if step is None:
            return _sorted(partition)
        kept = [coalition for coalition in partition if coalition not in step.before]
        partition = (*kept, *step.after)


def _merges(peers: Peers, partition: Partition) -> Iterator[Verdict]:
    for count in range(2, len(partition) + 1):
        for parts in combinations(partition, count):
            together = frozenset().union(*parts)
            gain = peers.worth(together) - sum(map(peers.worth, parts), Fraction(0))
            if gain > 0:
                yield Verdict(False, "merge", parts, (together,), gain)


def _splits(peers: Peers, partition: Partition) -> Iterator[Verdict]:
    for coalition in partition:
        for parts in partitions(sorted(coalition)):
            gain = sum(map(peers.worth, parts), Fraction(0)) - peers.worth(coalition)
            if gain > 0:
                yield Verdict(False, "split", (coalition,), parts, gain)


# --- verdicts ---------------------------------------------------------------------------------------


def hp_stable(peers: Peers, partition: Partition) -> Verdict:
    """Whether nobody gains by splitting a coalition or by merging some (D_hp). Raises CoalitionError."""
    _require_partition(peers, partition)
    return next(chain(_splits(peers, partition), _merges(peers, partition)), Verdict(True))


def c_stable(peers: Peers, partition: Partition) -> Verdict:
    """Whether the partition withstands every other collection (D_c). Raises CoalitionError."""
    _require_partition(peers, partition)
    for coalition in partition:
        for one, other in _disjoint(coalition):
            gain = peers.worth(one) + peers.worth(other) - peers.worth(one | other)
            if gain > 0:
                return Verdict(False, "superadditivity", (one | other,), (one, other), gain)
    for across in _subsets(range(len(peers.net))):
        if any(across <= coalition for coalition in partition):
            continue
        parts = tuple(coalition & across for coalition in partition if coalition & across)
        gain = peers.worth(across) - sum(map(peers.worth, parts), Fraction(0))
        if gain > 0:
            return Verdict(False, "incompatible set", parts, (across,), gain)
    return Verdict(True)


def in_core(peers: Peers, payoffs: Sequence[Fraction]) -> Verdict:
    """Whether no set of peers could get more by itself than it is paid, in the game of transfers.

    `payoffs` by peer sum to the worth of all. Raises CoalitionError where they do not or are no fractions.
    """
    everybody = _require_payoffs(peers, payoffs)
    for blocking in _subsets(everybody):
        gain = peers.worth(blocking) - sum((payoffs[peer] for peer in blocking), Fraction(0))
        if gain > 0:
            return Verdict(False, "blocking coalition", (everybody,), (blocking,), gain)
    return Verdict(True)


def gain_of_every_member(peers: Peers, payoffs: Sequence[Fraction]) -> Verdict:
    """Whether no set of peers could pay each of its members strictly more by the rule that paid them all.

    The rule is the mid-market rate: who leaves shares with those who leave too. `payoffs` by peer sum to the
    worth of all. Raises CoalitionError where they do not or are no fractions.
    """
    everybody = _require_payoffs(peers, payoffs)
    for leaving in _subsets(everybody):
        members = sorted(leaving)
        bills = mid_market_bills([peers.net[peer] for peer in members], peers.price, peers.fit)
        gains = [-bill - payoffs[peer] for peer, bill in zip(members, bills, strict=True)]
        if min(gains) > 0:
            return Verdict(False, "all members gain", (everybody,), (leaving,), min(gains))
    return Verdict(True)


# --- sets -------------------------------------------------------------------------------------------


def partitions(members: Sequence[int]) -> Iterator[Partition]:
    """Every way to split members into two or more parts, in a fixed order."""
    for partition in _all_partitions(list(members)):
        if len(partition) > 1:
            yield tuple(frozenset(part) for part in partition)


def _all_partitions(members: list[int]) -> Iterator[list[list[int]]]:
    if not members:
        yield []
        return
    first, *rest = members
    for partition in _all_partitions(rest):
        yield [[first], *partition]
        for index, part in enumerate(partition):
            yield [*partition[:index], [first, *part], *partition[index + 1 :]]


def _subsets(members: Iterable[int]) -> Iterator[Coalition]:
    """Every set of them but the empty one, small ones first."""
    known = sorted(members)
    for count in range(1, len(known) + 1):
        for subset in combinations(known, count):
            yield frozenset(subset)


def _disjoint(coalition: Coalition) -> Iterator[tuple[Coalition, Coalition]]:
    """Pairs of sets inside a coalition that share nobody."""
    for one in _subsets(coalition):
        for other in _subsets(coalition - one):
            if min(one) < min(other):
                yield one, other


def _sorted(partition: Partition) -> Partition:
    return tuple(sorted(partition, key=min))


def _require_few(peers: Peers) -> None:
    if len(peers.net) > PEERS_MAX:
        raise CoalitionError(f"{len(peers.net)} peers: every set of at most {PEERS_MAX} can be looked at")


def _require_partition(peers: Peers, partition: Partition) -> None:
    _require_few(peers)
    if not all(partition) or sorted(chain(*partition)) != list(range(len(peers.net))):
        raise CoalitionError("a partition has each peer in one coalition, and no coalition without peers")


def _require_payoffs(peers: Peers, payoffs: Sequence[Fraction]) -> Coalition:
    """Everybody, if the payoffs are what everybody together is worth."""
    _require_few(peers)
    if len(payoffs) != len(peers.net):
        raise CoalitionError(f"{len(payoffs)} payoffs for {len(peers.net)} peers")
    for payoff in payoffs:
        if not isinstance(payoff, Rational):
            raise CoalitionError(f"a payoff of {payoff}: fractions alone, since verdicts are exact")
    everybody = frozenset(range(len(peers.net)))
    if sum(payoffs, Fraction(0)) != peers.worth(everybody):
        raise CoalitionError("payoffs do not sum to what everybody together is worth")
    return everybody
