"""The scenario file: every key, its type, its bounds and its default.

A scenario is TOML. Unknown keys are refused, and values of another type: a whole number is a number, but
text, true and false are none. Powers are kW or MW as the name says, prices €/MWh, times seconds.
`node.scenario.load` turns a broken rule into one line that names file, key and value.

Whatever the schema lets through must be a session that can run, so every number has both bounds. Each is
either what the contract can store or a range beyond which the key means nothing; the line says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from market.feeder import is_simbench
from market.mechanisms.coalitions import PEERS_MAX
from market.units import KW_PER_MW, NEUR_PER_EUR, WH_PER_MWH
from node.scenario.section import Section, Share, ShareRange, Worth, ordered
from node.scenario.storage_sections import BatteriesSection, VehiclesSection

UINT32_MAX = 2**32 - 1
"""The largest energy an order or a capacity can have, Wh, and the last second an expiry can name."""
YEAR_SECONDS = 31_536_000
PV_CAPACITY = 1.5
"""Registered export capacity of a prosumer, as a multiple of its PV's peak."""
FIRST_START = datetime.fromisoformat("1972-01-01T00:00:00+00:00")
"""Blocks count seconds from 1970, and a slot may open a year before it starts."""
LAST_END = datetime.fromisoformat("2105-01-01T00:00:00+00:00")
"""An order's expiry, in seconds from 1970, has 32 bits, and a slot may take a year to become final."""
TOLD, FORMING = "coalition", "forming"
"""Policies of coalitions: those that the scenario tells, and those that form in a slot."""
CELLS_MAX = 10_000_000
"""Slots × prosumers: each of the world's twenty arrays keeps a number for every one."""
NEUR_DECIMALS = 9
"""Decimals of money: with fewer, a token's smallest unit is more than 1 n€."""
LATE_SECONDS_LEAST = 1_200
"""Between the contract's last second for a first reading and for a correction, where some come late."""

Voltage = Annotated[float, Field(ge=0.5, le=1.5)]
"""Per unit; no feeder is run outside, and solvers lose their scale."""
BookPrice = Annotated[float, Field(ge=-3_000, le=3_000)]
"""€/MWh: the book's ticks reach ±3 276.7, and a bus's charge comes on top."""
StoredPrice = Annotated[float, Field(ge=-2_000_000, le=2_000_000)]
"""€/MWh: the contract stores µ€/kWh in 32 bits."""
Load = Annotated[float, Field(ge=0, le=100_000)]
"""kW of one prosumer: the largest is more than a distribution bus carries."""
LoadRange = Annotated[tuple[Load, Load], Field(strict=False)]
Coalition = Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(strict=False)]
WorthRange = Annotated[tuple[Worth, Worth], Field(strict=False)]


class FeederSection(Section):
    """`[feeder]`: which network, and its operating limits."""

    name: str = "ieee33"
    v_min_pu: Voltage = 0.90
    v_max_pu: Voltage = 1.10
    line_rating_mva: Annotated[float, Field(ge=0.0001, le=10_000)] | None = None
    """One thermal rating for every line; none by default, since IEEE 33-bus publishes none."""
    rated: bool = False
    """Whether the ratings that come with the feeder are limits."""

    @staticmethod
    def names_file(name: str) -> bool:
        """A feeder's name is a pandapower file's, with the number of a part behind it or without."""
        return re.search(r"\.json(#[^#/]*)?$", name) is not None

    @model_validator(mode="after")
    def _one_rating(self) -> FeederSection:
        if self.rated and self.line_rating_mva is not None:
            raise ValueError(f"rated = true and line_rating_mva = {self.line_rating_mva}: one of them")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> FeederSection:
        if self.v_min_pu >= self.v_max_pu:
            raise ValueError(f"v_min_pu = {self.v_min_pu} must be below v_max_pu = {self.v_max_pu}")
        return self


class SlotsSection(Section):
    """`[slots]`: when delivery starts, how many slots, how long each."""

    start: AwareDatetime = datetime.fromisoformat("2026-06-23T00:00:00+00:00")
    count: Annotated[int, Field(ge=1, le=35_040)] = 24
    seconds: Annotated[int, Field(ge=60, le=86_400)] = 3_600

    @model_validator(mode="after")
    def _aligned(self) -> SlotsSection:
        if self.start < FIRST_START:
            raise ValueError(f"start = {self.start.isoformat()} is before {FIRST_START.isoformat()}")
        if self.start.timestamp() + self.count * self.seconds > LAST_END.timestamp():
            raise ValueError(
                f"start = {self.start.isoformat()}: {self.count} slots of {self.seconds} s"
                f" must end by {LAST_END.isoformat()}"
            )
        if self.start.timestamp() % self.seconds:
            raise ValueError(f"start = {self.start.isoformat()} is not a multiple of {self.seconds} s")
        if 86_400 % self.seconds:
            raise ValueError(f"seconds = {self.seconds} does not divide a day")
        return self


class TariffSection(Section):
    """`[tariff]`: the flat price without the market, the part NUC replaces, the feed-in tariff."""

    retail_eur_per_mwh: BookPrice = 240.0
    network_fee_eur_per_mwh: Annotated[float, Field(ge=0, le=3_000)] = 80.0
    fit_eur_per_mwh: BookPrice = 70.0

    @model_validator(mode="after")
    def _hub(self) -> TariffSection:
        if self.retail_eur_per_mwh - self.network_fee_eur_per_mwh < self.fit_eur_per_mwh:
            raise ValueError(
                f"retail_eur_per_mwh - network_fee_eur_per_mwh ="
                f" {self.retail_eur_per_mwh - self.network_fee_eur_per_mwh:g} €/MWh is below"
                f" fit_eur_per_mwh = {self.fit_eur_per_mwh:g}"
            )
        return self


class WholesaleSection(Section):
    """`[wholesale]`: what the utility pays upstream, by hour of the day (repeated as needed)."""

    eur_per_mwh: Annotated[tuple[StoredPrice, ...], Field(strict=False)] = (100.0,)

    @model_validator(mode="after")
    def _some(self) -> WholesaleSection:
        if not self.eur_per_mwh:
            raise ValueError("eur_per_mwh needs at least one price")
        return self


class ProsumersSection(Section):
    """`[prosumers]`: how the prosumers are drawn, from the seed, onto the feeder's loaded buses."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 60
    load_share: Share = 0.4
    """Share of each bus's nominal load that belongs to prosumers; the rest is passive."""
    flexible_share: Share = 0.5
    """Share of a prosumer's load that is flexible."""
    pv_share: Share = 0.6
    """Share of prosumers that have PV."""
    pv_mw: Annotated[float, Field(ge=0, le=1_000)] = 3.0
    """Peak of all PV together."""
    flexible_value_low_eur_per_mwh: WorthRange = (60.0, 130.0)
    """Range from which the marginal value of flexible load at its maximum is drawn."""
    flexible_value_high_eur_per_mwh: WorthRange = (150.0, 260.0)
    """Range from which the marginal value of flexible load at its minimum is drawn."""
    flexible_floor: ShareRange = (0.3, 0.6)
    """Range from which the minimum of flexible load is drawn, as a share of its maximum."""
    credit_limit_eur: Annotated[float, Field(ge=0, le=1_000_000)] = 50.0
    deposit_eur: Annotated[float, Field(ge=0, le=1_000_000)] = 2_000.0
    """Up to a million a number of euros is exact in n€, and everybody's deposits are below what is minted."""

    @model_validator(mode="after")
    def _ranges(self) -> ProsumersSection:
        ordered(self, "flexible_value_low_eur_per_mwh", "flexible_value_high_eur_per_mwh", "flexible_floor")
        if self.flexible_value_low_eur_per_mwh[1] >= self.flexible_value_high_eur_per_mwh[0]:
            raise ValueError("flexible_value_low_eur_per_mwh must lie below flexible_value_high_eur_per_mwh")
        if self.flexible_floor[1] >= 1:
            raise ValueError(f"flexible_floor = {list(self.flexible_floor)} must lie in [0, 1)")
        return self


class ToldProsumer(Section):
    """`[[prosumer]]`: one prosumer, the same in every slot. With any of these nobody is drawn."""

    bus: str
    """Name of its bus."""
    firm_kw: Load = 0.0
    flexible_kw: LoadRange = (0.0, 0.0)
    """Least and greatest flexible load."""
    flexible_value_eur_per_mwh: WorthRange = (100.0, 200.0)
    """Marginal value of flexible load at its greatest and at its least."""
    generator_kw: Load = 0.0
    generator_cost_eur_per_mwh: WorthRange = (0.0, 10.0)
    """Marginal cost of generation at nothing and at all of it."""

    @model_validator(mode="after")
    def _ranges(self) -> ToldProsumer:
        ordered(self, "flexible_kw", "flexible_value_eur_per_mwh", "generator_cost_eur_per_mwh")
        return self


def _lists(coalitions: Sequence[Sequence[int]]) -> list[list[int]]:
    """As TOML writes them."""
    return [list(coalition) for coalition in coalitions]


class ProfilesSection(Section):
    """`[profiles]`: where the sun and the load come from."""

    source: Literal["standard", "simbench"] = "standard"
    """Standard load profiles and a clear sky under clouds, or the profiles of the feeder's SimBench code."""
    file: str | None = None
    """A CSV file with loads and PV of buses by slot, which go before those of the source."""
    latitude: Annotated[float, Field(ge=-90, le=90)] = 51.5
    longitude: Annotated[float, Field(ge=-180, le=180)] = 7.5
    tilt_deg: Annotated[float, Field(ge=0, le=90)] = 30.0
    clouds: Share = 0.3
    """Mean cloud cover of the seeded clouds on the clear sky."""
    passive: Literal["h0", "g0", "g1", "g2", "g3", "g4", "l0"] = "g0"
    """Standard load profile (BDEW) of the passive load."""
    prosumers: Literal["h0", "g0", "g1", "g2", "g3", "g4", "l0"] = "h0"
    """Standard load profile (BDEW) of the prosumers' load."""


class ForecastSection(Section):
    """`[forecast]`: seeded multiplicative error; 0 makes forecast and delivery equal."""

    error: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Relative standard deviation when the slot opens, by series."""
    last: Share = 0.5
    """What is left of that error in the last forecast, from which prices are cleared."""


class BiddingSection(Section):
    """`[bidding]`: the policy of the prosumers' agents."""

    policy: Literal["truthful", "zic", "coalition", "forming"] = "truthful"
    rounds: Annotated[int, Field(ge=1, le=12)] = 4
    markup: Share = 0.10
    """First mark-up on the true value; it decays to 0 in the last round."""
    coalitions: Annotated[tuple[Coalition, ...], Field(strict=False)] = ()
    """Prosumers by number who trade together what they want of others; who is in none trades alone."""

    @model_validator(mode="after")
    def _coalitions(self) -> BiddingSection:
        members = self.members
        if len(set(members)) < len(members):
            raise ValueError(f"coalitions = {_lists(self.coalitions)}: nobody is in two")
        if (self.policy == TOLD) != bool(members):
            raise ValueError(
                f'coalitions = {_lists(self.coalitions)}: some with policy = "coalition", and none without'
            )
        return self

    @property
    def together(self) -> bool:
        """Whether coalitions leave inside what their members have."""
        return self.policy in {TOLD, FORMING}

    @property
    def members(self) -> tuple[int, ...]:
        """Who is in a coalition, by number from 1."""
        return tuple(number for coalition in self.coalitions for number in coalition)


class OracleSection(Section):
    """`[oracle]`: how prices are made, and how many must sign them."""

    method: Literal["atc", "newton", "socp", "direct"] = "atc"
    signers: Annotated[int, Field(ge=1, le=16)] = 3
    quorum: Annotated[int, Field(ge=1, le=16)] = 2
    voll_eur_per_mwh: Annotated[float, Field(ge=1, le=100_000)] = 3_000.0

    @model_validator(mode="after")
    def _quorum(self) -> OracleSection:
        if self.quorum > self.signers:
            raise ValueError(f"quorum = {self.quorum} is more than signers = {self.signers}")
        return self


class MetersSection(Section):
    """`[meters]`: when readings come."""

    late: Share = 0.0
    """Share of readings that come after their account was settled by an estimate, which they then correct."""


class MarketSection(Section):
    """`[market]`: the rules fixed at deployment."""

    rule: Literal["dlmp", "tariff"] = "dlmp"
    lot_wh: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    open_lead_seconds: Annotated[int, Field(ge=600, le=YEAR_SECONDS)] = 7_200
    gate_lead_seconds: Annotated[int, Field(ge=120, le=YEAR_SECONDS)] = 900
    price_grace_seconds: Annotated[int, Field(ge=0, le=YEAR_SECONDS)] = 3_600
    meter_grace_seconds: Annotated[int, Field(ge=0, le=YEAR_SECONDS)] = 3_600
    resettle_grace_seconds: Annotated[int, Field(ge=600, le=YEAR_SECONDS)] = 86_400
    """Readings come minutes after delivery, and after this grace none is taken."""
    veto_grace_seconds: Annotated[int, Field(ge=0, le=YEAR_SECONDS)] = 0
    token_decimals: Annotated[int, Field(ge=0, le=18)] = 6

    @model_validator(mode="after")
    def _leads(self) -> MarketSection:
        if self.open_lead_seconds - self.gate_lead_seconds < 600:
            raise ValueError(
                f"open_lead_seconds = {self.open_lead_seconds} must exceed"
                f" gate_lead_seconds = {self.gate_lead_seconds} by at least 600 s"
            )
        if self.resettle_grace_seconds < self.meter_grace_seconds:
            raise ValueError(
                f"resettle_grace_seconds = {self.resettle_grace_seconds} is below"
                f" meter_grace_seconds = {self.meter_grace_seconds}"
            )
        if self.veto_grace_seconds >= self.gate_lead_seconds:
            raise ValueError(
                f"veto_grace_seconds = {self.veto_grace_seconds} must be below"
                f" gate_lead_seconds = {self.gate_lead_seconds}"
            )
        return self


class ScenarioFile(Section):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    description: Annotated[str, Field(max_length=400)] = ""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 1
    feeder: FeederSection = FeederSection()
    slots: SlotsSection = SlotsSection()
    tariff: TariffSection = TariffSection()
    wholesale: WholesaleSection = WholesaleSection()
    prosumers: ProsumersSection = ProsumersSection()
    batteries: BatteriesSection = BatteriesSection()
    vehicles: VehiclesSection = VehiclesSection()
    prosumer: Annotated[tuple[ToldProsumer, ...], Field(strict=False, max_length=10_000)] = ()
    profiles: ProfilesSection = ProfilesSection()
    forecast: ForecastSection = ForecastSection()
    bidding: BiddingSection = BiddingSection()
    oracle: OracleSection = OracleSection()
    market: MarketSection = MarketSection()
    meters: MetersSection = MetersSection()

    @model_validator(mode="after")
    def _in_time(self) -> ScenarioFile:
        """Late readings are some that the contract still takes, after its estimates."""
        between = self.market.resettle_grace_seconds - self.market.meter_grace_seconds
        if self.meters.late and between < LATE_SECONDS_LEAST:
            raise ValueError(
                f"meters.late = {self.meters.late}: resettle_grace_seconds must exceed meter_grace_seconds by"
                f" at least {LATE_SECONDS_LEAST} s, in which late readings come"
            )
        return self

    @model_validator(mode="after")
    def _storable(self) -> ScenarioFile:
        """What no table can check alone: energy in 32 bits, whole token units, the world's size."""
        largest_mwh = (UINT32_MAX - self.market.lot_wh) / WH_PER_MWH
        storing = (each for each in (self.batteries, self.vehicles) if each.share)
        storing_mw = sum(each.power_kw[1] for each in storing) / KW_PER_MW
        if (PV_CAPACITY * self.prosumers.pv_mw + storing_mw) * self.slots.seconds / 3_600 > largest_mwh:
            raise ValueError(
                f"prosumers.pv_mw = {self.prosumers.pv_mw}: {PV_CAPACITY} times that"
                + f", {storing_mw} MW of storage," * (storing_mw > 0)
                + f" for slots.seconds = {self.slots.seconds} is above {largest_mwh:.0f} MWh,"
                " all that the contract's 32 bits of Wh hold"
            )
        unit_neur = 10 ** max(NEUR_DECIMALS - self.market.token_decimals, 0)
        if round(self.prosumers.deposit_eur * NEUR_PER_EUR) % unit_neur:
            raise ValueError(
                f"prosumers.deposit_eur = {self.prosumers.deposit_eur}: no more decimals than the token's,"
                f" market.token_decimals = {self.market.token_decimals}"
            )
        if self.slots.count * self.population > CELLS_MAX:
            raise ValueError(
                f"slots.count = {self.slots.count} times prosumers.count = {self.population}"
                f" is above {CELLS_MAX}"
            )
        return self

    @model_validator(mode="after")
    def _coalitions(self) -> ScenarioFile:
        """Coalitions only where what they net inside is settled at one price; no more than can form."""
        told = f'bidding.policy = "{self.bidding.policy}"'
        if self.bidding.together and self.market.rule != "dlmp":
            raise ValueError(
                f'{told} needs market.rule = "dlmp": by "{self.market.rule}" what members leave inside'
                " has no contract, and would be taken at retail and given at the feed-in tariff"
            )
        if self.bidding.policy == FORMING and self.population > PEERS_MAX:
            raise ValueError(f"{told} with {self.population} prosumers: at most {PEERS_MAX} form coalitions")
        return self

    @model_validator(mode="after")
    def _told(self) -> ScenarioFile:
        """Numbers of prosumers that there are, and a load and a generator that fit 32 bits of Wh."""
        number = max(self.bidding.members, default=0)
        if number > self.population:
            raise ValueError(
                f"bidding.coalitions: number {number}, and there are {self.population} prosumers"
            )
        largest_kw = (UINT32_MAX - self.market.lot_wh) / 1_000 * 3_600 / self.slots.seconds
        for each in self.prosumer:
            for load in (2 * (each.firm_kw + each.flexible_kw[1]), PV_CAPACITY * each.generator_kw):
                if load > largest_kw:
                    raise ValueError(
                        f"prosumer at bus {each.bus}: a capacity of {load:.0f} kW for slots.seconds ="
                        f" {self.slots.seconds} is above all that the contract's 32 bits of Wh hold"
                    )
        return self

    @model_validator(mode="after")
    def _profiled(self) -> ScenarioFile:
        """SimBench's profiles belong to SimBench's buses."""
        if self.profiles.source == "simbench" and not is_simbench(self.feeder.name):
            raise ValueError(
                f'profiles.source = "simbench" needs a SimBench code as feeder.name, not "{self.feeder.name}"'
            )
        return self

    @model_validator(mode="after")
    def _cleared_together(self) -> ScenarioFile:
        """Storages couple the slots of a day."""
        method = self.oracle.method
        if self.stores and method not in ("atc", "socp", "direct"):
            raise ValueError(
                f'oracle.method = "{method}" clears one slot at a time, and [batteries] and [vehicles] couple'
                ' the slots of a day: use "atc", "socp" or "direct"'
            )
        return self

    @property
    def population(self) -> int:
        """How many prosumers there are."""
        return len(self.prosumer) or self.prosumers.count

    @property
    def stores(self) -> bool:
        """Somebody has a battery or a vehicle."""
        return self.batteries.share > 0 or self.vehicles.share > 0
