"""What each page shows, as the JSON beside it tells it: resources of version 1, put together by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import TypeVar, get_args

from market.orders import Address
from node.api import resources
from node.api.archive import Archive
from node.api.commands import Commands
from node.api.desk import Desk
from node.api.flows import Flows
from node.api.models import (
    AccountResource,
    AuditResource,
    BookResource,
    CheckResource,
    FillResource,
    FlowsResource,
    MarketResource,
    OrderResource,
    PaymentKind,
    PositionResource,
    PricesResource,
    Resource,
    SettlementResource,
    SlotResource,
    TestAccountResource,
)
from node.api.paging import Piece, Place, piece
from node.api.projection import Projection, State
from node.api.verification import Verification, Verified

FILLS_SHOWN = 30
SLOTS_SHOWN = 200
ROWS_SHOWN = 50
ANY_PAYMENT = "BLOCK:LOG"

T = TypeVar("T")


class ShownSlot(Resource):
    """A slot's book, tape and prices."""

    slot: SlotResource
    book: BookResource
    prices: PricesResource
    flows: FlowsResource | None
    """Null until the slot is cleared, and where its proof is not at hand."""
    fills: list[FillResource]
    """The newest, newest first."""


class MarketView(Resource):
    """A slot, and those beside it."""

    market: MarketResource
    slots: list[SlotResource]
    """Slots to choose from, in order."""
    shown: ShownSlot | None
    """The slot that is chosen; null where there is none."""
    trading: bool
    """Whether signed orders are taken here."""
    test_accounts: list[TestAccountResource]
    """Accounts that the server signs for."""


class SlotsView(Resource):
    """The life of every slot."""

    market: MarketResource
    states: list[State]
    """A slot's life, in order."""
    slots: list[SlotResource]
    """Newest first."""


class AccountView(Resource):
    """An account with its orders, positions and payments; without an account, those there are."""

    market: MarketResource
    accounts: list[AccountResource]
    account: AccountResource | None
    orders: list[OrderResource]
    """Newest first, as are the others."""
    positions: list[PositionResource]
    payments: list[SettlementResource]
    trading: bool
    """Whether signed cancels are taken here."""
    signed_for: bool
    """Whether the server signs for the account."""
    explain: str
    """The command that takes the newest payment apart, which is named at its end."""


class SettlementsView(Resource):
    """Payments, newest first."""

    market: MarketResource
    slot: int | None
    account: str | None
    kind: PaymentKind | None
    payments: Piece[SettlementResource]


class AuditView(Resource):
    """Whether the record holds, and how to find out oneself."""

    market: MarketResource
    command: str
    """Verifies the record, wherever it is reached; what cannot be verified it lists as assumed."""
    checked_here: bool
    """Whether this server runs the checks."""
    broke_off: bool
    """Whether the last checks came to no end: then this server cannot tell."""
    audit: AuditResource | None
    """Null while the first checks run."""


class Views:
    """The pages' contents, from a projection, with the audit of the record."""

    def __init__(
        self,
        projection: Projection,
        commands: Commands,
        flows: Flows,
        archive: Archive | None,
        desk: Desk | None,
    ) -> None:
        self._desk = desk
        self._flows = flows
        self._projection = projection
        self.live = archive is None or not archive.finished
        self.commands = commands
        self._verification = None if archive is None else Verification(archive)

    def _market(self) -> MarketResource:
        return resources.market(self._projection, live=self.live)

    def market(self, slot: int | None) -> MarketView:
        """A slot, or the first that is open, of a record the first that was traded in.

        Raises UnknownSlotError.
        """
        projection = self._projection
        listed = [found for _, found in resources.slots(projection, None)]
        if self.live:
            shown = [each for each in listed if each.state not in ("settled", "scheduled")]
            first = next((each.slot for each in shown if each.state == "open"), None)
        else:
            shown = listed
            first = next((each.slot for each in shown if each.fills), None)
        number = first if slot is None else slot
        return MarketView(
            market=self._market(),
            slots=shown[:SLOTS_SHOWN],
            shown=None if number is None else self._slot(number),
            trading=self._desk is not None,
            test_accounts=resources.test_accounts(
                projection, () if self._desk is None else self._desk.test_accounts
            ),
        )

    def _slot(self, number: int) -> ShownSlot:
        projection = self._projection
        fills = islice(resources.fills(projection, number, None), FILLS_SHOWN)
        return ShownSlot(
            slot=resources.slot_resource(projection, resources.slot_facts(projection, number)),
            book=resources.book(projection, number, 0),
            prices=resources.prices(projection, number),
            flows=self._flows.find(number),
            fills=[resources.fill_resource(logged) for _, logged in fills],
        )

    def slots(self) -> SlotsView:
        """Every slot that is known."""
        found = [each for _, each in resources.slots(self._projection, None)]
        return SlotsView(
            market=self._market(), states=list(get_args(State)), slots=found[: -SLOTS_SHOWN - 1 : -1]
        )

    def account(self, address: Address | None, visited: str) -> AccountView:
        """An account, or all there are to choose from; `visited` is this server's URL for the visitor.

        Raises UnknownAccountError.
        """
        projection = self._projection
        if address is None:
            everybody = [resources.account(projection, each) for each in projection.holders().values()]
            return AccountView(
                market=self._market(),
                accounts=everybody,
                account=None,
                orders=[],
                positions=[],
                payments=[],
                trading=False,
                signed_for=False,
                explain=self.commands.explain(visited, ANY_PAYMENT),
            )
        payments = [
            resources.settlement_resource(logged)
            for _, logged in islice(resources.settlements(projection, None, address, None), ROWS_SHOWN)
        ]
        newest = f"{payments[0].block}:{payments[0].log}" if payments else ANY_PAYMENT
        return AccountView(
            market=self._market(),
            accounts=[],
            account=resources.account(projection, address),
            orders=_newest(resources.orders(projection, None, address, None, False)),
            positions=_newest(resources.positions(projection, address)),
            payments=payments,
            trading=self._desk is not None,
            signed_for=self._desk is not None and address in self._desk.test_accounts,
            explain=self.commands.explain(visited, newest),
        )

    def settlements(
        self, slot: int | None, account: Address | None, kind: PaymentKind | None, after: str | None
    ) -> SettlementsView:
        """A piece of the payments. Raises CursorError."""
        found = resources.settlements(self._projection, slot, account, kind)
        return SettlementsView(
            market=self._market(),
            slot=slot,
            account=account,
            kind=kind,
            payments=piece(
                found, resources.settlement_resource, parts=2, after=after, limit=ROWS_SHOWN, first="newest"
            ),
        )

    def audit(self, visited: str) -> AuditView:
        """The newest audit, and the command for another; `visited` is this server's URL for the visitor."""
        market = self._market()
        newest = None if self._verification is None else self._verification.newest(market.head_block)
        return AuditView(
            market=market,
            command=self.commands.audit(visited),
            checked_here=self._verification is not None,
            broke_off=self._verification is not None and self._verification.broke_off,
            audit=None if newest is None else audit_resource(newest),
        )


def audit_resource(verified: Verified) -> AuditResource:
    """What an audit says."""
    report = verified.report
    told = report.to_json()
    return AuditResource(
        ok=told["ok"],
        conclusion=report.conclusion,
        block=verified.block,
        checks=[
            CheckResource(description=check.description, **each)
            for check, each in zip(report.checks, told["checks"], strict=True)
        ],
        verified=told["verified"],
        assumed=told["assumed"],
    )


def _newest(placed: Iterable[tuple[Place, T]]) -> list[T]:
    """The last of a list in order, newest first."""
    return [item for _, item in reversed(deque(placed, maxlen=ROWS_SHOWN))]
