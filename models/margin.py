"""Margin schedules with brackets (Binance, Bybit, Hyperliquid), and the distance to liquidation.

The maintenance rate of a bracket applies to the part of the notional inside it, as in a tax schedule, which
with the deductions d_k equals max_k(r_k·n - d_k): convex and continuous in the notional n >= 0. Notionals,
floors, caps and deductions are USD. Sources: Binance USD-M and COIN-M leverage and margin page (Sep 2026),
Bybit margin parameters page, Hyperliquid margin tiers page (2026).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.arrays import Number, Vector, finite, like, non_negative, positive
from models.contracts import ContractKind

DEDUCTION_TOLERANCE = 1e-6
"""Relative to the floor (and at least 1e-6 USD): the venues publish deductions to the cent."""

_MOVE_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Brackets:
    """One symbol's maintenance-margin brackets, K rows from the smallest notional up; every field is (K,).

    floors_usd, caps_usd: bracket k holds notionals from floor to cap (the last cap may be inf: no position
    limit). rates: maintenance margin rates, fractions. deductions_usd: the venue's "maintenance amount",
    subtracted. max_leverages: highest leverage setting that allows a notional of this bracket.
    The constructor checks shapes only, so that `check_brackets` can report every defect of a bad table.
    """

    floors_usd: Vector
    caps_usd: Vector
    rates: Vector
    deductions_usd: Vector
    max_leverages: Vector

    def __post_init__(self) -> None:
        for name in ("floors_usd", "caps_usd", "rates", "deductions_usd", "max_leverages"):
            column = np.array(getattr(self, name), dtype=np.float64)
            if column.ndim != 1 or column.size == 0 or column.size != np.size(self.floors_usd):
                raise ValueError(
                    f"{name} has shape {column.shape}: give one value per bracket, like floors_usd"
                )
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def validate(self) -> None:
        """ValueError that lists every defect of the table."""
        defects = check_brackets(self)
        if defects:
            raise ValueError("brackets: " + "; ".join(defects))


def bracket_deductions(floors_usd: ArrayLike, rates: ArrayLike) -> Vector:
    """Deductions (K,) in USD that join the brackets: d_0 = 0, d_k = d_{k-1} + floor_k (r_k - r_{k-1})."""
    floors, levels = non_negative("floors_usd", floors_usd), positive("rates", rates)
    return np.cumsum(floors * np.diff(levels, prepend=levels[:1]))


def check_brackets(brackets: Brackets) -> list[str]:
    """Every defect of a bracket table in words, with what it should say; an empty list for a sound table."""
    b = brackets
    columns = {"floor": b.floors_usd, "cap": b.caps_usd[:-1], "rate": b.rates, "deduction": b.deductions_usd}
    defects = [
        f"bracket {k + 1}: {name} is {column[k]}, write a finite number"
        for name, column in (columns | {"max leverage": b.max_leverages}).items()
        for k in np.flatnonzero(~np.isfinite(column))
    ]
    if np.isnan(b.caps_usd[-1]) or b.caps_usd[-1] == -np.inf:
        defects.append(
            f"bracket {b.caps_usd.size}: cap is {b.caps_usd[-1]}, write a number or inf for no cap"
        )
    if defects:
        return defects
    return _check_ranges(b) + _check_rates(b) + _check_deductions(b) + _check_leverages(b)


def maintenance_margin(notional_usd: Number, brackets: Brackets) -> Number:
    """Maintenance margin in USD (>= 0) by bracket look-up; the sign of the notional does not matter.

    A notional above the last cap is charged by the last bracket.
    """
    size = np.abs(finite("notional_usd", notional_usd))
    row = np.maximum(np.searchsorted(brackets.floors_usd, size, side="right") - 1, 0)
    return like(notional_usd, size * brackets.rates[row] - brackets.deductions_usd[row])


@dataclass(frozen=True)
class Schedules:
    """Bracket schedules of n instruments side by side, (n, K); short ones padded by brackets never met."""

    floors_usd: Vector
    rates: Vector
    deductions_usd: Vector

    @classmethod
    def of(cls, brackets: Sequence[Brackets]) -> "Schedules":
        """Stack schedules, one row each."""
        most = max((b.rates.size for b in brackets), default=1)

        def stacked(columns: Sequence[Vector], fill: float) -> Vector:
            found = np.full((len(brackets), most), fill)
            for row, column in zip(found, columns, strict=True):
                row[: column.size] = column
            return found

        return cls(
            floors_usd=stacked([b.floors_usd for b in brackets], np.inf),
            rates=stacked([b.rates for b in brackets], 1.0),
            deductions_usd=stacked([b.deductions_usd for b in brackets], 0.0),
        )


def maintenance_margins(notional_usd: Vector, schedules: Schedules) -> Vector:
    """Maintenance margin of many instruments by bracket look-up: notionals (n,) or (n, M) >= 0, same out."""
    size = non_negative("notional_usd", notional_usd)
    column = size.reshape(len(schedules.rates), -1)
    # Few brackets, many notionals: floor by floor is faster than one array of all comparisons.
    bracket = np.full(column.shape, -1)
    for floor in schedules.floors_usd.T:
        bracket += column >= floor[:, None]
    row = np.arange(len(column))[:, None]
    margin = schedules.rates[row, bracket] * column - schedules.deductions_usd[row, bracket]
    return np.asarray(margin.reshape(size.shape), dtype=np.float64)


def marginal_rates(notional_usd: Vector, schedules: Schedules) -> Vector:
    """Maintenance rate (n,) of the bracket that holds each notional (n,) >= 0: d margin / d notional."""
    size = non_negative("notional_usd", notional_usd)
    bracket = np.sum(size[:, None] >= schedules.floors_usd, axis=1) - 1
    return np.asarray(np.take_along_axis(schedules.rates, bracket[:, None], axis=1)[:, 0])


def maintenance_margin_max_affine(notional_usd: Number, brackets: Brackets) -> Number:
    """The same margin as max_k(r_k·|n| - d_k), the form a convex program uses."""
    size = np.abs(finite("notional_usd", notional_usd))
    return like(
        notional_usd, np.max(np.multiply.outer(size, brackets.rates) - brackets.deductions_usd, axis=-1)
    )


def stressed_maintenance_margin(
    position_usd: Number, brackets: Brackets, kind: ContractKind, price_factor: Number | float
) -> Number:
    """Maintenance margin in USD after the price moved by a factor f = 1 + r > 0.

    position_usd is today's notional at today's mark. Linear: the notional moves, max_k(r_k·f·|x| - d_k).
    Inverse: the USD notional stays, and deductions (fixed in coin, given in USD at today's mark) move,
    max_k(r_k·|x| - d_k·f).
    """
    size, factor = np.abs(finite("position_usd", position_usd)), positive("price_factor", price_factor)
    if kind == "linear":
        size, factor = size * factor, np.ones_like(factor)
    elif kind != "inverse":
        raise ValueError(f"kind is {kind!r}: write 'linear' or 'inverse'")
    charges = np.multiply.outer(size, brackets.rates) - np.multiply.outer(factor, brackets.deductions_usd)
    return like(position_usd, np.max(charges, axis=-1))


def initial_margin(position_usd: Number, leverage: Number | float) -> Number:
    """Initial margin in USD at a chosen leverage setting: |x| / leverage."""
    return like(position_usd, np.abs(finite("position_usd", position_usd)) / positive("leverage", leverage))


def leverage_cap_usd(brackets: Brackets, leverage: float) -> float:
    """Largest USD notional at which a leverage setting is allowed (inf where the venue states no cap)."""
    allowed = brackets.max_leverages >= float(positive("leverage", leverage))
    if not allowed.any():
        top = float(brackets.max_leverages.max())
        raise ValueError(f"leverage {leverage:g} exceeds every bracket: write at most {top:g}")
    return float(brackets.caps_usd[allowed].max())


def order_size(position: Number, open_buys: Number | float, open_sells: Number | float) -> Number:
    """Size margined with open orders: max(|x + buys|, |x - sells|); buys and sells are sizes >= 0."""
    held = finite("position", position)
    buys, sells = non_negative("open_buys", open_buys), non_negative("open_sells", open_sells)
    return like(position, np.maximum(np.abs(held + buys), np.abs(held - sells)))


def liquidation_price_linear(
    wallet_balance: float, quantity: float, entry_price: float, brackets: Brackets
) -> float | None:
    """Price at which equity equals maintenance margin: cross margin, one-way mode, a single linear contract.

    wallet_balance in settlement currency, quantity in base units (> 0 long). Bracket k alone gives
    P_k = (WB + d_k - q·EP) / (|q|·r_k - q); since the margin is the maximum over k, the highest P_k counts
    for a long and the lowest for a short, which is the bracket consistent with its own price (Binance USD-M
    liquidation price). None when no price > 0 liquidates; ValueError when every price does.
    """
    balance, held = float(finite("wallet_balance", wallet_balance)), float(finite("quantity", quantity))
    entry = float(positive("entry_price", entry_price))
    if held == 0.0:
        return None
    cash = balance + brackets.deductions_usd - held * entry
    slope = held - abs(held) * brackets.rates
    if bool(np.any((slope == 0.0) & (cash < 0.0))) or (held < 0.0 and float(cash.min()) <= 0.0):
        raise ValueError(
            "wallet_balance is below the maintenance margin at every price: the position is liquidated"
        )
    prices = -cash[slope != 0.0] / slope[slope != 0.0]
    price = float(prices.max() if held > 0.0 else prices.min())
    return price if price > 0.0 else None


def liquidation_move(
    equity_at: Callable[[float], float],
    margin_at: Callable[[float], float],
    bounds: tuple[float, float] = (-0.999999, 20.0),
) -> tuple[float | None, float | None]:
    """Nearest common price moves (down < 0, up > 0, as fractions) at which equity equals maintenance margin.

    equity_at and margin_at take a move r and give USD. Equity minus margin must be concave in r, so that the
    safe moves are one interval around 0. None: safe as far as that bound. (0, 0): already below its
    maintenance margin.
    """
    low, high = float(finite("bounds", bounds)[0]), float(finite("bounds", bounds)[1])
    if not -1.0 < low < 0.0 < high:
        raise ValueError(f"bounds are {bounds}: write (low, high) with -1 < low < 0 < high")

    def surplus(move: float) -> float:
        return float(finite(f"equity - margin at move {move:g}", equity_at(move) - margin_at(move)))

    if surplus(0.0) < 0.0:
        return 0.0, 0.0
    return _breach(surplus, low), _breach(surplus, high)


def _breach(surplus: Callable[[float], float], bound: float) -> float | None:
    if surplus(bound) >= 0.0:
        return None
    safe, unsafe = 0.0, bound
    while abs(unsafe - safe) > _MOVE_TOLERANCE:
        middle = 0.5 * (safe + unsafe)
        if middle in (safe, unsafe):
            break
        safe, unsafe = (middle, unsafe) if surplus(middle) >= 0.0 else (safe, middle)
    return 0.5 * (safe + unsafe)


def _check_ranges(b: Brackets) -> list[str]:
    defects = []
    if b.floors_usd[0] != 0.0:
        defects.append(f"bracket 1: floor is {b.floors_usd[0]:,.2f}, write 0")
    for k in range(b.floors_usd.size):
        if b.caps_usd[k] <= b.floors_usd[k]:
            defects.append(
                f"bracket {k + 1}: cap {b.caps_usd[k]:,.2f} is not above its floor {b.floors_usd[k]:,.2f}"
            )
        if k and b.floors_usd[k] != b.caps_usd[k - 1]:
            word = "gap" if b.floors_usd[k] > b.caps_usd[k - 1] else "overlap"
            defects.append(
                f"bracket {k + 1}: floor {b.floors_usd[k]:,.2f} leaves a {word} "
                f"to the cap {b.caps_usd[k - 1]:,.2f} before it"
            )
    return defects


def _check_rates(b: Brackets) -> list[str]:
    outside = [
        f"bracket {k + 1}: rate is {b.rates[k]:g}, write a fraction above 0 and up to 1"
        for k in np.flatnonzero((b.rates <= 0.0) | (b.rates > 1.0))
    ]
    falls = [
        f"bracket {k + 2}: rate {b.rates[k + 1]:g} is not above the rate {b.rates[k]:g} before it"
        for k in np.flatnonzero(np.diff(b.rates) <= 0.0)
    ]
    return outside + falls


def _check_deductions(b: Brackets) -> list[str]:
    if b.floors_usd.min() < 0.0 or b.rates.min() <= 0.0:
        return []
    right = bracket_deductions(b.floors_usd, b.rates)
    wrong = np.abs(b.deductions_usd - right) > DEDUCTION_TOLERANCE * np.maximum(1.0, b.floors_usd)
    return [
        f"bracket {k + 1}: deduction is {b.deductions_usd[k]:,.2f}, its floors and rates give {right[k]:,.2f}"
        for k in np.flatnonzero(wrong)
    ]


def _check_leverages(b: Brackets) -> list[str]:
    low: Sequence[str] = [
        f"bracket {k + 1}: max leverage is {b.max_leverages[k]:g}, write a number > 0"
        for k in np.flatnonzero(b.max_leverages <= 0.0)
    ]
    rises = [
        f"bracket {k + 2}: max leverage {b.max_leverages[k + 1]:g} is above {b.max_leverages[k]:g} before it"
        for k in np.flatnonzero(np.diff(b.max_leverages) > 0.0)
    ]
    return [*low, *rises]
