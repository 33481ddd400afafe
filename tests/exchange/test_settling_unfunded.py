"""How a market's session settles where the utility owes more than it has: all settle that need not wait."""

from __future__ import annotations

import pytest

from market.events import SlotSettled
from market.feeder import load
from node.oracle.signers import Oracles
from node.simulate.session import Cast, Session, Unfunded
from tests.exchange.conftest import EUR, Market, deal

SOLD_WH = 10_000
SURPLUS_WH = 40_000


def session_of(market: Market) -> Session:
    """A session of the market's own people."""
    people = (market.buyer, market.other, market.seller)
    cast = Cast(market.utility, market.guardian, market.relayer, tuple(market.oracles), people, ())
    oracles = Oracles(load("ieee33"), (), 0, "newton")
    return Session(market.chain, market.exchange, market.token, market.terms, cast, oracles)


def test_only_whom_the_utility_owes_something_waits(market):
    session, x = session_of(market), market.exchange
    market.open()
    deal(market, market.seller, market.buyer, 1_000, SOLD_WH)
    market.do(x.withdraw(x.backing(), sender=market.utility))
    market.close()
    market.post_prices()
    net_wh = {market.buyer: SOLD_WH, market.seller: -SOLD_WH, market.other: -SURPLUS_WH}
    market.read(*(market.signed_reading(key, net) for key, net in net_wh.items()))
    for _ in range(2):
        with pytest.raises(Unfunded, match="1 accounts wait"):
            session.settle(market.slot)
    assert [market.position(key).settled for key in net_wh] == [True, True, False]
    market.do(x.deposit(market.utility.address, 100 * EUR, sender=market.relayer))
    (waited,) = session.settle(market.slot)
    assert waited.account == market.other.address and x.slot_of(market.slot).settled


def test_who_owes_the_utility_pays_before_whom_it_owes(market):
    """Account 2 waits for what account 3 pays; nobody has to see to their order."""
    session, x = session_of(market), market.exchange
    market.open()
    market.do(x.withdraw(x.backing(), sender=market.utility))
    market.close()
    market.post_prices()
    net_wh = {market.buyer: 0, market.other: -SURPLUS_WH, market.seller: 2 * SURPLUS_WH}
    market.read(*(market.signed_reading(key, net) for key, net in net_wh.items()))
    assert len(session.settle(market.slot)) == 4
    assert SlotSettled(market.slot) in x.history()
