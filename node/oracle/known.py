"""What an oracle knows of a clearing by itself: the chain's accounts and tariff, the utility's outlook."""

from __future__ import annotations

from ledger.chain.protocol import LogFilter
from ledger.events import topic
from ledger.exchange import Exchange
from ledger.state import Account, SlotState
from market.accounts import UTILITY_ID
from market.atc.messages import MILLIWATTS_PER_MW
from market.events import AccountChanged, AccountRegistered
from market.feeder.model import FeederError
from market.orders import Address
from market.pricing.certificate import decode_inputs
from market.pricing.conditions import Conditions
from market.pricing.wire import FormatError
from market.units import WH_PER_MWH, quantise_price
from node.client.http import Client
from node.client.schemas import address, octets
from node.oracle.coordinate import Outlook
from node.oracle.duty import tariff_of
from node.oracle.rounds import Member
from node.oracle.verify import Known, ObjectionError

OUTLOOKS_KEPT = 256
"""More than the clearings that can be due at once."""


class Knowledge:
    """Looks it up, each outlook once. Raises ObjectionError where what is published cannot be right."""

    def __init__(self, exchange: Exchange, market: Client) -> None:
        self._exchange = exchange
        self._market = market
        self._domain = exchange.domain
        self._accounts: dict[Address, Account] = {}
        self._seen = exchange.chain.head()
        self._outlooks: dict[tuple[int, int], tuple[Outlook, dict[str, tuple[int, ...]]]] = {}

    def of(self, slot: int, purpose: int, oracle: int, state: SlotState) -> Known:
        """Everything for one clearing that an oracle coordinates. Raises ServiceError, ChainError too."""
        outlook, forecasts = self._outlook(slot, purpose)
        hub, tariff = outlook.conditions.hub, tariff_of(state)
        published = (int(quantise_price(hub.import_price)[0]), int(quantise_price(hub.export_price)[0]))
        if published != (tariff.hub_import, tariff.hub_export):
            raise ObjectionError(
                f"the utility published hub prices {published}, the slot's tariff says"
                f" {(tariff.hub_import, tariff.hub_export)}"
            )
        return Known(slot, purpose, oracle, outlook, self._members(outlook, forecasts), self._domain)

    def _members(self, outlook: Outlook, forecasts: dict[str, tuple[int, ...]]) -> tuple[Member, ...]:
        """Every account but the utility's, with what it registered; without a forecast it is at 0."""
        hours, periods = outlook.conditions.hours, outlook.conditions.periods
        found = []
        for agent, account in self._registered().items():
            least, most = (
                round(energy_wh / hours * (MILLIWATTS_PER_MW / WH_PER_MWH))
                for energy_wh in (-account.import_capacity, account.export_capacity)
            )
            forecast = forecasts.get(agent, (0,) * periods)
            found.append(Member(agent, account.bus, least, most, forecast))
        return tuple(found)

    def _registered(self) -> dict[Address, Account]:
        """Accounts in order of registration, asked of the chain where its events say that they changed."""
        head = self._exchange.chain.head()
        topics = ((topic(AccountRegistered), topic(AccountChanged)),)
        which = LogFilter(self._seen + 1, head, addresses=(self._exchange.address,), topics=topics)
        if head < self._seen or (head > self._seen and self._exchange.chain.logs(which)):
            self._accounts = {}
        if not self._accounts:
            for number in range(self._exchange.account_count()):
                if number != UTILITY_ID:
                    agent = self._exchange.account_at(number)
                    self._accounts[agent] = self._exchange.account_of(agent)
        self._seen = head
        return self._accounts

    def _outlook(self, slot: int, purpose: int) -> tuple[Outlook, dict[str, tuple[int, ...]]]:
        """What the utility published; the first answer stands, so that nobody can change it later."""
        key = slot, purpose
        if key not in self._outlooks:
            body = self._market.outlook(slot, purpose)
            try:
                feeder, conditions = decode_inputs(octets(body.inputs))
            except (FormatError, FeederError) as failure:
                raise ObjectionError(f"the utility's outlook: {failure}") from None
            forecasts = {address(each.agent): tuple(each.powers) for each in body.forecasts}
            if (body.slot, body.purpose) != (slot, purpose) or not _begins_with(conditions, slot):
                raise ObjectionError("the utility's outlook is of another clearing")
            if any(len(powers) != conditions.periods for powers in forecasts.values()):
                raise ObjectionError("the utility's outlook: a forecast is not one power a period")
            self._outlooks[key] = Outlook(feeder, conditions), forecasts
            if len(self._outlooks) > OUTLOOKS_KEPT:
                del self._outlooks[next(iter(self._outlooks))]
        return self._outlooks[key]


def _begins_with(conditions: Conditions, slot: int) -> bool:
    """Whether a slot is the first of those that are cleared; one alone need not say which it is."""
    return conditions.first_slot == slot or (conditions.first_slot == 0 and conditions.periods == 1)
