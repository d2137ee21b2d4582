"""Contract units: contracts, coins, USD and P&L of linear and inverse perpetuals, and rounding of orders.

A price is in quote currency per *base unit*; the base unit of a 1000PEPE contract is 1000 coins. `quote_usd`
is the USD value of one unit of the quote (index) currency. Positions are signed, > 0 long.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Number, Vector, finite, like, positive

ContractKind = Literal["linear", "inverse"]
RoundingMode = Literal["down", "up", "nearest"]
OrderSide = Literal["buy", "sell"]

_MODES: dict[RoundingMode, str] = {"down": ROUND_DOWN, "up": ROUND_UP, "nearest": ROUND_HALF_EVEN}
_SNAP = Decimal("1e-9")
_SNAP_LIMIT = Decimal("0.01")
_EXACT = Context(prec=60)
_FLOAT_ERROR = 1e-15  # relative, of a quotient of two floats that each stand for a decimal number


@dataclass(frozen=True)
class Contract:
    """One contract's units, as the venue's instrument endpoint states them.

    contract_size: linear, base units per contract; inverse, quote currency per contract.
    lot_contracts, min_contracts: in contracts. tick: price tick in quote currency. min_notional_usd: USD.
    coins_per_unit: coins in one base unit (1000 for 1000PEPE or kPEPE). Errors: ValueError on a value out of
    range.
    """

    kind: ContractKind
    contract_size: Decimal
    lot_contracts: Decimal
    tick: Decimal
    min_contracts: Decimal
    min_notional_usd: Decimal
    coins_per_unit: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(ContractKind):
            raise ValueError(f"kind is {self.kind!r}: write 'linear' or 'inverse'")
        for name in ("contract_size", "lot_contracts", "tick"):
            _check_decimal(name, getattr(self, name), zero_allowed=False)
        for name in ("min_contracts", "min_notional_usd"):
            _check_decimal(name, getattr(self, name), zero_allowed=True)
        if isinstance(self.coins_per_unit, bool) or not isinstance(self.coins_per_unit, int):
            raise ValueError(
                f"coins_per_unit is {self.coins_per_unit!r}: write a whole number such as 1 or 1000"
            )
        if self.coins_per_unit < 1:
            raise ValueError(f"coins_per_unit is {self.coins_per_unit}: write a whole number >= 1")


def usd_per_contract(contract: Contract, price: Number, quote_usd: Number | float) -> Number:
    """USD notional of one contract: linear size·price·quote_usd, inverse size·quote_usd."""
    size = float(contract.contract_size)
    per_quote = size * positive("quote_usd", quote_usd)
    checked = positive("price", price)
    # An inverse contract's notional does not depend on price; ones give it the price's shape.
    return like(price, per_quote * (checked if contract.kind == "linear" else np.ones_like(checked)))


def usd_per_contracts(contracts: Sequence[Contract], prices: Vector, quotes_usd: Vector) -> Vector:
    """`usd_per_contract` (n,) of many contracts (n,), each at its own price and quote (n,)."""
    sizes = np.array([float(contract.contract_size) for contract in contracts], dtype=np.float64)
    linear = np.array([contract.kind == "linear" for contract in contracts], dtype=np.bool_)
    return np.asarray(
        sizes * positive("quotes_usd", quotes_usd) * np.where(linear, positive("prices", prices), 1.0)
    )


def notional_usd(
    contract: Contract, contracts: Number, price: Number | float, quote_usd: Number | float
) -> Number:
    """Signed USD notional of a signed number of contracts."""
    per_contract = usd_per_contract(contract, np.asarray(price, dtype=np.float64), quote_usd)
    return like(contracts, finite("contracts", contracts) * per_contract)


def contracts_from_usd(
    contract: Contract, position_usd: Number, price: Number | float, quote_usd: Number | float
) -> Number:
    """Signed number of contracts (unrounded) whose USD notional is `position_usd`."""
    per_contract = usd_per_contract(contract, np.asarray(price, dtype=np.float64), quote_usd)
    return like(position_usd, finite("position_usd", position_usd) / per_contract)


def coins_from_contracts(contract: Contract, contracts: Number, price: Number | float) -> Number:
    """Signed number of coins: contracts·size·coins_per_unit (linear), divided by price (inverse)."""
    coins = finite("contracts", contracts) * float(contract.contract_size) * contract.coins_per_unit
    checked = positive("price", price)
    return like(contracts, coins / (checked if contract.kind == "inverse" else np.ones_like(checked)))


def price_per_coin(contract: Contract, price: Number) -> Number:
    """Quote currency per coin, from the price per base unit."""
    return like(price, positive("price", price) / contract.coins_per_unit)


def unrealised_pnl_settle(
    contract: Contract, contracts: Number, entry_price: Number | float, price: Number | float
) -> Number:
    """Unrealised P&L in the settlement currency, > 0 a gain.

    Linear, in quote currency: N·size·(price - entry). Inverse, in coins: N·size·(1/entry -
    1/price)·coins_per_unit.
    """
    entry, mark = positive("entry_price", entry_price), positive("price", price)
    if contract.kind == "linear":
        move = mark - entry
    else:
        move = (
            (mark - entry) / (entry * mark) * contract.coins_per_unit
        )  # 1/entry - 1/price without cancellation
    return like(contracts, finite("contracts", contracts) * float(contract.contract_size) * move)


def round_to_lot(contracts: float, lot: Decimal, mode: RoundingMode) -> Decimal:
    """Signed contracts as an exact multiple of `lot`.

    "down" and "up" act on the magnitude (towards and away from zero), "nearest" takes the even lot on a tie.
    Float noise does not count: within 1e-9 relative of a multiple (of one lot, below one lot) that multiple
    is meant.
    """
    if mode not in _MODES:
        raise ValueError(f"mode is {mode!r}: write 'down', 'up' or 'nearest'")
    return _round_to_multiple("contracts", contracts, "lot", lot, _MODES[mode])


def round_each_to_lot(contracts: ArrayLike, lots: Sequence[Decimal], mode: RoundingMode) -> list[Decimal]:
    """`round_to_lot` of contracts (n,) of many instruments, each by its own lot.

    Floats decide wherever their error cannot change the multiple, exact decimals everywhere else.
    """
    if mode not in _MODES:
        raise ValueError(f"mode is {mode!r}: write 'down', 'up' or 'nearest'")
    values = finite("contracts", contracts)
    if values.shape != (len(lots),):
        raise ValueError(f"contracts has shape {values.shape}: give one per lot, ({len(lots)},)")
    for lot in lots:
        _check_decimal("lot", lot, zero_allowed=False)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        size = np.abs(values / np.array(lots, dtype=np.float64))
        nearest = np.rint(size)
        off, error = np.abs(size - nearest), _FLOAT_ERROR * size
        tolerance = np.where(size <= 1.0, float(_SNAP), np.minimum(float(_SNAP) * size, float(_SNAP_LIMIT)))
        clear = (
            (np.abs(off - tolerance) > error)
            & (np.abs(off - 0.5) > error)
            & (error < 0.1 * float(_SNAP_LIMIT))
        )
        meant = (off <= tolerance) | (mode == "nearest")
        multiples = np.where(meant, nearest, np.floor(size) if mode == "down" else np.ceil(size))
        multiples = np.where(clear, np.copysign(multiples, values), 0.0)
    return [
        _EXACT.multiply(Decimal(int(multiple)), lot) if sure else round_to_lot(value, lot, mode)
        for value, multiple, lot, sure in zip(
            values.tolist(), multiples.tolist(), lots, clear.tolist(), strict=True
        )
    ]


def round_to_tick(price: float, tick: Decimal, side: OrderSide) -> Decimal:
    """Limit price as an exact multiple of `tick`, never more restrictive than the price asked for.

    A buy limit rounds up and a sell limit down, by less than one tick, so rounding cannot keep an order from
    filling. Errors: ValueError for a price <= 0, or a sell limit below one tick.
    """
    if side not in get_args(OrderSide):
        raise ValueError(f"side is {side!r}: write 'buy' or 'sell'")
    positive("price", price)
    rounded = _round_to_multiple(
        "price", price, "tick", tick, ROUND_CEILING if side == "buy" else ROUND_FLOOR
    )
    if rounded <= 0:
        raise ValueError(
            f"price {price} of a sell order is below one tick of {plain(tick)}: check price and tick"
        )
    return rounded


def plain(value: Decimal) -> str:
    """The shortest decimal notation without exponent: "3000", "0.1", never "3E+3", "0.100" or "-0"."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a number that can be ordered: give a finite Decimal")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _round_to_multiple(name: str, value: float, unit_name: str, unit: Decimal, rounding: str) -> Decimal:
    if not math.isfinite(value):
        finite(name, value)
    _check_decimal(unit_name, unit, zero_allowed=False)
    ratio = _EXACT.divide(Decimal(repr(float(value))), unit)
    nearest = ratio.to_integral_value(ROUND_HALF_EVEN, _EXACT)
    off, size = abs(ratio - nearest), abs(ratio)
    tolerance = _SNAP if size <= 1 else min(_SNAP * size, _SNAP_LIMIT)
    multiple = nearest if off <= tolerance else ratio.to_integral_value(rounding, _EXACT)
    return _EXACT.multiply(multiple, unit) if multiple else Decimal(0) * abs(unit)


def _check_decimal(name: str, value: object, zero_allowed: bool) -> None:
    if not isinstance(value, Decimal):
        raise ValueError(f"{name} is {value!r}: write a Decimal such as Decimal('0.001')")
    if not value.is_finite() or value < 0 or (value == 0 and not zero_allowed):
        raise ValueError(f"{name} is {value}: write a finite number {'>= 0' if zero_allowed else '> 0'}")
