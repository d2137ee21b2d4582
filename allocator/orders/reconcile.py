"""Fills against orders: the book as it is, what is left, what went wrong, and the orders that finish it.

The fills given are always all fills of the run so far. The follow-up of an instrument leads from its position
now to the run's target, in one order, or two where it flips. It is only made once every order of that
instrument that left the house is known to have ended, and its id is made from the orders that came before:
so no contract can be ordered twice, however often and in whatever order fills come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from allocator.errors import Problem
from allocator.orders.client_ids import spellings
from allocator.orders.fills import Fill
from allocator.orders.order_list import cents, client_order_id
from models.contracts import plain

Row = dict[str, str]
Key = tuple[str, str, str]  # venue, account, symbol

BOOK = (
    "venue", "account", "symbol", "asset", "before_contracts", "filled_contracts", "now_contracts",
    "target_contracts", "left_contracts", "left_usd", "average_price", "fees_usd",
)  # fmt: skip
LEFT = ("client_order_id", "venue", "account", "symbol", "side", "contracts", "filled_contracts",
        "left_contracts", "ended")  # fmt: skip
NAKED = ("asset", "net_delta_target_usd", "net_delta_now_usd", "naked_delta_usd")
WAITING = ("venue", "account", "symbol", "left_contracts", "left_usd", "reason")
REPLACES = "replaces"
_ZERO = Decimal(0)
_COIN = Decimal("0.00000001")


@dataclass(frozen=True)
class Sent:
    """What left the house: the run's own orders, follow-ups made since, and fills known from before.

    Rows are those of `orders.csv`. `instruments` and `net_delta` (USD by asset, at the target) are the run's.
    `known` are contracts by venue, account and fill id.
    """

    run_id: str
    orders: tuple[Row, ...]
    follow_ups: tuple[Row, ...]
    instruments: tuple[Mapping[str, Any], ...]
    net_delta: Mapping[str, float]
    known: Mapping[Key, Decimal]


@dataclass(frozen=True)
class Reconciliation:
    """What fills come to, as rows of text: decimal strings, USD at the run's marks.

    With `errors` there is no follow-up: the book must be understood first. `waiting` says of each instrument
    that is not at its target and has no follow-up why not.
    """

    run_id: str
    book: tuple[Row, ...]
    left: tuple[Row, ...]
    naked: tuple[Row, ...]
    follow_up: tuple[Row, ...]
    waiting: tuple[Row, ...]
    errors: tuple[Problem, ...]

    @property
    def status(self) -> str:
        """`refused` with errors, `complete` at the target, else `partial`."""
        if self.errors:
            return "refused"
        return "partial" if any(Decimal(row["left_contracts"]) for row in self.book) else "complete"


def reconcile_fills(sent: Sent, fills: Sequence[Fill], all_closed: bool = False) -> Reconciliation:
    """Compare all fills of a run so far with its orders.

    `all_closed`: whoever asks has seen that no order of the run, nor any follow-up, is live at its venue.
    """
    issued = {row["client_order_id"]: row for row in (*sent.orders, *sent.follow_ups)}
    names = spellings((row["venue"], own) for own, row in issued.items())
    matched, errors = _match(sent, fills, issued, names)
    filled = {own: sum((f.contracts for f in fills_of), _ZERO) for own, fills_of in matched.items()}
    ended = {own for own, done in matched.items() if any(f.closed for f in done)}
    ended |= {own for own, row in issued.items() if all_closed or filled[own] >= Decimal(row["contracts"])}
    errors += _over_fills(issued, matched)
    places = [_Place.of(unit, sent, issued, matched) for unit in sent.instruments]
    if not errors:  # an over-filled order has been named already
        errors += [problem for place in places for problem in _beyond(place, matched)]
    follow_up: list[Row] = []
    waiting: list[Row] = []
    for place in places:
        if place.left and not errors:
            _finish(sent.run_id, place, issued, ended, follow_up, waiting)
    follow_up.sort(key=lambda row: (row["reduce_only"] != "true", int(row["seq"])))
    return Reconciliation(
        run_id=sent.run_id,
        book=tuple(place.row for place in places),
        left=tuple(_left(issued[own], filled[own], own in ended) for own in issued),
        naked=tuple(_naked(places, sent.net_delta)),
        follow_up=tuple({**row, "seq": str(n)} for n, row in enumerate(follow_up, start=1)),
        waiting=tuple(waiting),
        errors=tuple(errors),
    )


def _match(
    sent: Sent, fills: Sequence[Fill], issued: Mapping[str, Row], names: Mapping[str, str]
) -> tuple[dict[str, list[Fill]], list[Problem]]:
    """Fills by order; one that fits no order is an error and counts nowhere."""
    matched: dict[str, list[Fill]] = {own: [] for own in issued}
    errors: list[Problem] = []
    lots = {_key(unit): Decimal(unit["lot_contracts"]) for unit in sent.instruments}
    for fill in fills:
        own = names.get(fill.client_order_id)
        if own is None:
            errors.append(Problem(fill.source, f"order {fill.client_order_id} is not of run {sent.run_id}"))
            continue
        order = issued[own]
        if fill.instrument != _key(order):
            what = f"{' '.join(fill.instrument)}, but order {own} is for {' '.join(_key(order))}"
            errors.append(Problem(fill.source, f"the fill is of {what}"))
        elif fill.side != order["side"]:
            errors.append(
                Problem(fill.source, f"order {own} is to {order['side']}, the fill is a {fill.side}")
            )
        else:
            matched[own].append(fill)
            if fill.contracts % lots[fill.instrument]:
                message = f"{fill.contracts} contracts are not whole lots of {lots[fill.instrument]}"
                errors.append(Problem(fill.source, message))
    given: dict[Key, Fill] = {}
    for fill in fills:
        key = (fill.venue, fill.account, fill.fill_id)
        if fill.fill_id and key in given:
            errors.append(Problem(fill.source, f"fill {' '.join(key)} is given twice: keep one"))
        given[key] = fill
    for key, contracts in sorted(sent.known.items()):
        again = given.get(key)
        if again is None or again.contracts != contracts:
            said = "missing" if again is None else f"{again.contracts} contracts now"
            where = "" if again is None else again.source
            message = (
                f"fill {' '.join(key)} of {contracts} contracts, known from before, is {said}: give all fills"
            )
            errors.append(Problem(where, message))
    return matched, errors


def _over_fills(issued: Mapping[str, Row], matched: Mapping[str, list[Fill]]) -> list[Problem]:
    """Orders of which more was filled than ordered, at the fill that went over."""
    errors = []
    for own, fills in matched.items():
        total, most = _ZERO, Decimal(issued[own]["contracts"])
        for fill in fills:
            total += fill.contracts
            if total > most >= total - fill.contracts:
                message = f"order {own} over {most} contracts is over-filled from here"
                errors.append(Problem(fill.source, f"{message}, by {sum(f.contracts for f in fills) - most}"))
    return errors


def _beyond(place: _Place, matched: Mapping[str, list[Fill]]) -> Iterator[Problem]:
    """A position that fills took beyond its target: an order went on after its follow-up was made."""
    whole = place.target - Decimal(place.unit["held_contracts"])
    if whole * place.left < 0:
        last = max((f for o in place.orders for f in matched[o["client_order_id"]]), key=lambda f: f.time)
        where = " ".join(_key(place.unit))
        yield Problem(
            last.source,
            f"{where} is {plain(abs(place.left))} contracts beyond its target: an order was filled after its "
            "follow-up had been made; take that back by hand, or allocate anew from what is held now",
        )


@dataclass(frozen=True)
class _Place:
    """One instrument: its terms, its position now and aimed at, the orders that were for it."""

    unit: Mapping[str, Any]
    now: Decimal
    target: Decimal
    orders: tuple[Row, ...]
    row: Row

    @classmethod
    def of(
        cls, unit: Mapping[str, Any], sent: Sent, issued: Mapping[str, Row], matched: Mapping[str, list[Fill]]
    ) -> _Place:
        """From the fills that its orders had."""
        orders = tuple(row for row in issued.values() if _key(row) == _key(unit))
        held = Decimal(unit["held_contracts"])
        ends = [Decimal(o["position_target_contracts"]) for o in sent.orders if _key(o) == _key(unit)]
        target = ends[-1] if ends else held
        fills = [fill for order in orders for fill in matched[order["client_order_id"]]]
        done = sum((fill.signed for fill in fills), _ZERO)
        size, fees = sum(f.contracts for f in fills), sum((f.fee_usd for f in fills), _ZERO)
        paid = sum(f.contracts * f.price for f in fills)
        left = target - held - done
        row = {
            **{name: str(unit[name]) for name in ("venue", "account", "symbol", "asset")},
            "before_contracts": plain(held),
            "filled_contracts": plain(done),
            "now_contracts": plain(held + done),
            "target_contracts": plain(target),
            "left_contracts": plain(left),
            "left_usd": cents(float(left) * unit["usd_per_contract"]),
            "average_price": f"{paid / size:.12g}" if size else "",
            "fees_usd": cents(float(fees)),
        }
        return cls(unit, held + done, target, orders, row)

    @property
    def left(self) -> Decimal:
        """Contracts still to buy, negative to sell."""
        return self.target - self.now

    def legs(self) -> Iterator[tuple[Decimal, Decimal]]:
        """From one position to another; through zero where the sign changes."""
        if self.now * self.target < 0:
            yield self.now, _ZERO
            yield _ZERO, self.target
        else:
            yield self.now, self.target


def _finish(
    run_id: str,
    place: _Place,
    issued: Mapping[str, Row],
    ended: set[str],
    follow_up: list[Row],
    waiting: list[Row],
) -> None:
    """The follow-up of one instrument, or why there is none."""
    live = [o["client_order_id"] for o in place.orders if o["client_order_id"] not in ended]
    if live:
        reason = f"may still be live: {' '.join(live)}; cancel, then say so (order_closed, or --closed)"
        waiting.append(_waiting(place, place.left, reason))
        return
    for before, after in place.legs():
        small = _too_small(place, before, after)
        if small is not None:
            waiting.append(_waiting(place, after - before, small))
        else:
            follow_up.append(_order(run_id, place, before, after))


def _too_small(place: _Place, before: Decimal, after: Decimal) -> str | None:
    """Why an order is below the venue's minimum; one that closes is exempt."""
    size = abs(after - before)
    least, money = Decimal(place.unit["min_contracts"]), Decimal(place.unit["min_notional_usd"])
    if after == 0:
        return None
    if size < least:
        return f"below the venue's minimum of {plain(least)} contracts"
    if Decimal(repr(float(size) * place.unit["usd_per_contract"])) < money:
        return f"below the venue's minimum of ${plain(money)}"
    return None


def _waiting(place: _Place, left: Decimal, reason: str) -> Row:
    usd = cents(float(left) * place.unit["usd_per_contract"])
    row = {name: str(place.unit[name]) for name in ("venue", "account", "symbol")}
    return {**row, "left_contracts": plain(left), "left_usd": usd, "reason": reason}


def _order(run_id: str, place: _Place, before: Decimal, after: Decimal) -> Row:
    """A row of `orders.csv` made from the last order of this instrument, scaled to what is left.

    Its id comes from what was sent before it: the same state gives the same id.
    """
    side = "buy" if after > before else "sell"
    model = place.orders[-1]
    assert model["side"] == side, "orders of one instrument are on one side, and none was over-filled"
    size = abs(after - before)
    share = float(size / Decimal(model["contracts"]))
    ids = [order["client_order_id"] for order in place.orders]
    state = f"{' '.join(_key(place.unit))}|{'|'.join(ids)}|{plain(before)}|{plain(after)}"
    scaled = ("notional_usd", "expected_fee_usd", "expected_slippage_usd", "funding_to_next_settlement_usd")
    coins = Decimal(model["coins"]) * size / Decimal(model["contracts"])
    if place.unit["kind"] == "inverse":
        coins = coins.quantize(_COIN)
    return {
        **model,
        "seq": place.orders[0]["seq"],
        "side": side,
        "contracts": plain(size),
        "coins": plain(coins),
        **{name: cents(float(model[name]) * share) for name in scaled},
        "reduce_only": "true" if abs(after) < abs(before) else "false",
        "client_order_id": client_order_id(run_id, len(ids) + 1, state, side),
        "position_before_contracts": plain(before),
        "position_target_contracts": plain(after),
        "reason": f"follow-up: what is left of {ids[0]}",
        REPLACES: " ".join(ids),
    }


def _left(order: Row, filled: Decimal, ended: bool) -> Row:
    return {
        **{name: order[name] for name in LEFT[:6]},
        "filled_contracts": plain(filled),
        "left_contracts": plain(max(Decimal(order["contracts"]) - filled, _ZERO)),
        "ended": "true" if ended else "false",
    }


def _naked(places: Sequence[_Place], net_delta: Mapping[str, float]) -> Iterator[Row]:
    """Delta of each coin now beside that at the target: the difference is what missing legs leave naked."""
    missing: dict[str, float] = {}
    for place in places:
        asset = str(place.unit["asset"])
        missing[asset] = missing.get(asset, 0.0) - float(place.left) * place.unit["usd_per_contract"]
    for asset, target in net_delta.items():
        naked = missing.get(asset, 0.0)
        yield dict(zip(NAKED, (asset, cents(target), cents(target + naked), cents(naked)), strict=True))


def _key(row: Mapping[str, Any]) -> Key:
    return str(row["venue"]), str(row["account"]), str(row["symbol"])
