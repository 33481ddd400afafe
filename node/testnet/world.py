"""The world of a testnet: a scenario's feeder, people, tariff and rules, and a day of quarter hours."""

from __future__ import annotations

from node.scenario.loading import ScenarioError, changed, load
from node.scenario.schema import ScenarioFile
from node.scenario.world import World, build

SLOT_SECONDS = 900
SLOTS_PER_DAY = 86_400 // SLOT_SECONDS
SCENARIO = "ieee33-day"
TERMS = {
    "open_lead_seconds": 7_200,
    "gate_lead_seconds": 300,
    "price_grace_seconds": 3_600,
    "meter_grace_seconds": 86_400,
    "resettle_grace_seconds": 30 * 86_400,  # readings that come late, after a jump in time, still count
}
PROSUMERS = {
    "count": 10,
    "pv_share": 1.0,
    "pv_mw": 2.0,
    "deposit_eur": 1_000.0,
    "credit_limit_eur": 50.0,
}


def usual() -> ScenarioFile:
    """The scenario of a testnet that is asked for none."""
    return changed(load(SCENARIO), {"prosumers": PROSUMERS, "market": TERMS})


def world_of(accounts: int, oracles: int = 3, scenario: ScenarioFile | None = None) -> World:
    """A day of a scenario in quarter hours, with as many prosumers as there are accounts.

    The day begins where the scenario does. More than half of the oracles are a quorum. Raises ScenarioError,
    FeederError.
    """
    asked = scenario or usual()
    if asked.stores:
        raise ScenarioError(
            "[batteries] and [vehicles]: a testnet's accounts have none, since it clears slot by slot: set"
            " batteries.share=0 and vehicles.share=0; `wattbook agent --devices` brings storages along"
        )
    if asked.prosumer and len(asked.prosumer) != accounts:
        raise ScenarioError(f"prosumer: {len(asked.prosumer)} are listed, and there are {accounts} accounts")
    repeating = changed(
        asked,
        {
            "slots": {"seconds": SLOT_SECONDS, "count": SLOTS_PER_DAY},
            "prosumers": {"count": accounts},
            "oracle": {"signers": oracles, "quorum": oracles // 2 + 1},
        },
    )
    return build(repeating, asked.slots)
