"""Study `cosimulation`: a market and the three phases of its feeder, step by step, with and without trade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from market.feeder.powerflow import VOLTAGE_TOLERANCE_PU
from market.feeder.three_phase import UNBALANCE_MAX, PhaseFlow, three_phase_flow
from market.units import KW_PER_MW, Floats
from node.studies.auctions import AUCTIONS
from node.studies.community import ALONE, Day, alone, traded, wh_per_pu
from node.studies.streets import EUROPEAN_LV, Plan, Street, street
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

PLAN = Plan(EUROPEAN_LV, houses=55, pv_share=0.0, pv_kw=3.0, slot_seconds=300)
SUNS = ((0.0, 3.0), (0.5, 3.0), (1.0, 3.0), (1.0, 5.0))
"""Shares of houses with PV and what one has, kW: up to what the feeder carries, and beyond it."""
MODES: dict[str, Callable[[Street, int], Day]] = {
    ALONE: lambda place, seed: alone(place.world),
    "P2P": lambda place, seed: traded(place.world, "uniform", AUCTIONS["uniform"], seed),
}
VOLTAGE_MOVES_PU, GROWS = 0.01, 0.05
"""What counts as significant: a tenth of the ±10 % that EN 50160 allows a voltage; of peaks and losses what
three more houses of such a street would add (3 of 55).
"""


@dataclass(frozen=True, eq=False)
class Log:
    """A day of one sun and mode: by step extremes of voltage, losses, import by phase, all pu.

    `current` is the largest in any line by step and phase, `unbalance` the largest at any bus by step, and
    `broken` counts steps in which a phase of a bus is beyond its voltage limits; `impedances` says where
    zero-sequence impedances are from.
    """

    share: float
    pv_kw: float
    mode: str
    low: Floats
    high: Floats
    loss: Floats
    net_import: Floats
    current: Floats
    unbalance: Floats
    broken: int
    base_kw: float
    hours: float
    traded_kwh: float
    impedances: str

    @property
    def sun(self) -> str:
        """Who has PV, and how much."""
        return f"{self.share:.0%} of {self.pv_kw:g} kW" if self.share else "none"

    @property
    def losses_kwh(self) -> float:
        """Of the whole day."""
        return float(self.loss.sum()) * self.base_kw * self.hours

    @property
    def peak_kw(self) -> float:
        """Highest import of all phases together."""
        return float(self.net_import.sum(axis=1).max()) * self.base_kw

    @property
    def export_kw(self) -> float:
        """Highest export of all phases together."""
        return max(float((-self.net_import).sum(axis=1).max()), 0.0) * self.base_kw

    @property
    def phase_peak_kw(self) -> float:
        """Highest import or export of one phase."""
        return float(np.abs(self.net_import).max()) * self.base_kw


def run(seed: int) -> Findings:
    """A day in steps of five minutes under four suns."""
    return over(seed, SUNS, PLAN.slot_seconds)


def over(seed: int, suns: Sequence[tuple[float, float]], step_seconds: int) -> Findings:
    """A day with these shares and sizes of PV, in steps of so many seconds."""
    pairs = [_pair(seed, sun, step_seconds) for sun in suns]
    logs = [log for pair in pairs for log in pair]
    return Findings(
        figures={
            "seed": seed,
            "feeder": EUROPEAN_LV,
            "steps": len(logs[0].low),
            "impedances": logs[0].impedances,
            "days": [_to_json(log) for log in logs],
        },
        tables=_tables(logs),
        claims=_claims(pairs),
        draw=_draw(logs),
        notes=(
            "What moves set-points is flexible load: with trade it is switched on where local sun is worth"
            " it. The highest import is in the evening, without sun to trade. The feeder's houses are each on"
            " the phase that its data say.",
            "Set-points go to the network in the step in which they are agreed, and the flow is four-wire and"
            f" unbalanced, of constant powers; {logs[0].impedances}.",
        ),
    )


def _claims(pairs: Sequence[tuple[Log, Log]]) -> tuple[Claim, ...]:
    """That trade changes nothing significant, under a sun that breaks limits by itself too."""
    named = [off.sun for off, _ in pairs]
    moved = [float(max(abs(p2p.low.min() - off.low.min()), abs(p2p.high.max() - off.high.max())))
             for off, p2p in pairs]  # fmt: skip
    beyond = [off.broken for off, _ in pairs]
    more = [p2p.broken - off.broken for off, p2p in pairs]
    return (
        Claim(f"trade moves the extremes of voltage by no more than {VOLTAGE_MOVES_PU:g} pu",
              max(moved) <= VOLTAGE_MOVES_PU, _told(named, [f"{each:.4f}" for each in moved]),
              basis=Basis.SOURCE),
        _grown("the highest import", pairs, lambda log: log.peak_kw),
        _grown("the highest export", pairs, lambda log: log.export_kw),
        _grown("losses", pairs, lambda log: log.losses_kwh),
        Claim("of these suns some keep the feeder's limits by themselves and some break them",
              min(beyond) == 0 < max(beyond), _told(named, [f"{each} steps" for each in beyond])),
        Claim("limits are broken in no more steps than without trade", max(more) <= 0,
              _told(named, [f"{each:+d}" for each in more]), basis=Basis.SOURCE),
    )  # fmt: skip


def _grown(what: str, pairs: Sequence[tuple[Log, Log]], of: Callable[[Log], float]) -> Claim:
    """That trade raises it no more than would be significant; nothing cannot grow by a share."""
    grown = {off.sun: of(p2p) / of(off) - 1 for off, p2p in pairs if of(off) > 0}
    return Claim(f"it raises {what} by no more than {100 * GROWS:g} %", max(grown.values()) <= GROWS,
                 _told(list(grown), [f"{each:+.1%}" for each in grown.values()]),
                 basis=Basis.SOURCE)  # fmt: skip


def _told(names: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def _pair(seed: int, sun: tuple[float, float], step_seconds: int) -> tuple[Log, Log]:
    """The same day without and with trade."""
    share, pv_kw = sun
    plan = replace(PLAN, pv_share=share, pv_kw=pv_kw, slot_seconds=step_seconds)
    place = street(plan, seed)
    without, with_trade = (_log(place, plan, mode, make(place, seed)) for mode, make in MODES.items())
    return without, with_trade


def _log(place: Street, plan: Plan, mode: str, day: Day) -> Log:
    """Run every step's set-points over the three phases."""
    world = place.world
    power = day.net_wh / wh_per_pu(world)
    flows = [_flow(place, power[step], step) for step in range(world.periods)]
    limits = world.feeder.limits
    low, high = limits.v_min[:, None] - VOLTAGE_TOLERANCE_PU, limits.v_max[:, None] + VOLTAGE_TOLERANCE_PU
    beyond = [bool(((flow.voltage < low) | (flow.voltage > high)).any()) for flow in flows]
    return Log(
        share=plan.pv_share,
        pv_kw=plan.pv_kw,
        mode=mode,
        low=np.array([flow.voltage.min() for flow in flows]),
        high=np.array([flow.voltage.max() for flow in flows]),
        loss=np.array([flow.loss for flow in flows]),
        net_import=np.array([flow.net_import for flow in flows]),
        current=np.array([flow.current.max(axis=0) for flow in flows]),
        unbalance=np.array([flow.unbalance.max() for flow in flows]),
        broken=sum(beyond),
        base_kw=KW_PER_MW * world.feeder.base_mw,
        hours=world.hours,
        traded_kwh=day.traded_wh / 1_000,
        impedances=place.impedances,
    )


def _flow(place: Street, power: Floats, step: int) -> PhaseFlow:
    actual = place.world.actual
    p = place.spread(power, actual.passive_p[step])
    return three_phase_flow(place.world.feeder, p, place.spread(actual.firm_q[step], actual.passive_q[step]))


def _tables(logs: Sequence[Log]) -> tuple[Table, Table]:
    """Voltages; losses and peaks."""
    who = [(f"{log.sun}, {log.mode}",) for log in logs]
    voltages = [
        (f"{log.low.min():.4f}", f"{log.high.max():.4f}", f"{log.unbalance.max():.2%}", str(log.broken))
        for log in logs
    ]
    loads = [
        (
            f"{log.traded_kwh:.0f}",
            f"{log.losses_kwh:.2f}",
            f"{log.peak_kw:.1f}",
            f"{log.export_kw:.1f}",
            " / ".join(f"{each * log.base_kw:.1f}" for each in np.abs(log.net_import).max(axis=0)),
            " / ".join(f"{each:.2f}" for each in log.current.max(axis=0)),
        )
        for log in logs
    ]
    return (
        Table(
            f"Voltages on {EUROPEAN_LV}, {len(logs[0].low)} steps; {UNBALANCE_MAX:.0%} unbalance is allowed",
            ("PV", "lowest pu", "highest pu", "unbalance", "steps beyond limits"),
            tuple((*names, *cells) for names, cells in zip(who, voltages, strict=True)),
        ),
        Table(
            "Losses and loading; by phase the largest either way, and the largest current of any line",
            ("PV", "traded kWh", "losses kWh", "import kW", "export kW", "a / b / c kW", "a / b / c pu"),
            tuple((*names, *cells) for names, cells in zip(who, loads, strict=True)),
        ),
    )


def _to_json(log: Log) -> dict[str, Value]:
    return {
        "pv_share": log.share,
        "pv_kw": log.pv_kw,
        "mode": log.mode,
        "traded_kwh": log.traded_kwh,
        "voltage_min_pu": float(log.low.min()),
        "voltage_max_pu": float(log.high.max()),
        "losses_kwh": log.losses_kwh,
        "peak_kw": log.peak_kw,
        "export_kw": log.export_kw,
        "phase_peak_kw": log.phase_peak_kw,
        "current_max_pu": [float(each) for each in log.current.max(axis=0)],
        "unbalance_max": float(log.unbalance.max()),
        "steps_beyond_limits": log.broken,
    }


def _draw(logs: Sequence[Log]) -> Draw:
    """The lowest and the highest voltage over the day, by sun."""

    def draw(figure: Figure, theme: Theme) -> None:
        suns = list(dict.fromkeys(log.sun for log in logs))
        every = figure.subplots(len(suns), 1, sharex=True, squeeze=False)[:, 0]
        for axes, sun in zip(every, suns, strict=True):
            for log in (each for each in logs if each.sun == sun):
                colour = theme.market if log.mode == "P2P" else theme.other
                hours = log.hours * np.arange(len(log.low))
                axes.plot(hours, log.low, color=colour, label=log.mode)
                axes.plot(hours, log.high, color=colour)
            axes.set(ylabel="pu", title=f"PV at {sun}")
        every[0].legend()
        every[-1].set(xlabel="hour (UTC)")

    return draw


STUDY = Study(
    name="cosimulation",
    about="a market and its three-phase feeder step by step, with and without trade",
    source=Source(
        citation="Hayes, Thakur and Breslin, Co-simulation of electricity distribution networks and peer to"
        " peer energy trading platforms, Int. J. Electr. Power Energy Syst. 115, 2020",
        taken="market and network in turns on the IEEE European low-voltage feeder, 55 houses on their"
        " phases; moderate trade does not significantly affect the network",
        added="houses, sun and flexible load; power-grid-model in the place of OpenDSS; what counts as"
        " significant; a one-shot `uniform` auction a step as the market, which foresees the step and knows"
        " no network charges, in the place of Wattbook's own",
    ),
    run=run,
)
