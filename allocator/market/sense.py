"""Whether a market makes sense beside its scenario: names that nothing has, amounts that nobody has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from allocator.errors import Problem, ScenarioError
from allocator.market.types import Instrument, Prices
from allocator.market.universe import Findings
from allocator.scenario.load import LoadedScenario
from allocator.scenario.orders import Orders
from allocator.scenario.schema import Scenario
from models.arrays import Vector

_MOST_USD = 1e13  # one amount beyond all coins together: units are wrong
_LONGEST_HOURS = 10 * 365 * 24.0
_BOOKS = 1e3  # a book and what is there are not further apart than this


def check_horizon(loaded: LoadedScenario) -> None:
    """Raise `ScenarioError` for a holding horizon beyond any forecast of funding."""
    hours = loaded.scenario.horizons.holding
    if hours > _LONGEST_HOURS:
        message = f"horizons.holding: {hours:g}h is longer than ten years; write days or weeks, such as 14d"
        raise ScenarioError([Problem(loaded.origin("horizons.holding"), message)])


def check_amount(usd: float, what: str, table: str, findings: Findings) -> None:
    """A problem where one amount cannot be; a missing price (NaN) is a problem already."""
    if abs(usd) > _MOST_USD:
        findings.problems.append(Problem(table, f"{what} is worth ${usd:.3g}; check the units of its row"))


def book_size(
    loaded: LoadedScenario, exposure: Vector, positions: Vector, collateral: Vector, findings: Findings
) -> float:
    """The book in USD: as stated, else the gross of exposure; of a flat desk, of positions or collateral.

    Solver and audit measure by it: beside a book of another order than what is there no breach counts, or
    every rounding error does. So a stated one is a problem there, and dust is no book.
    """
    gross = [float(np.abs(usd).sum()) for usd in (exposure, positions, collateral)]
    there, stated = sum(gross), loaded.scenario.book.size
    if stated is None:
        return next((usd for usd in gross if usd > 0 and usd >= there / _BOOKS), 1.0)
    if there > 0 and not there / _BOOKS <= stated <= there * _BOOKS:
        message = (
            f"book.size is ${stated:.3g}, but exposure, positions and collateral add up to ${there:.3g}; "
            "write their order of size in USD, or leave it out"
        )
        findings.problems.append(Problem(loaded.origin("book.size"), message))
    return stated


def check_ticks(
    style: Orders, instruments: tuple[Instrument, ...], prices: Prices, findings: Findings
) -> None:
    """A problem where no limit price fits between zero and the collar: tick and price are of two units."""
    if style.type != "limit":
        return
    for instrument, mark in zip(instruments, prices.mark, strict=True):
        tick = float(instrument.contract.tick)
        if mark * (1 - style.collar) < tick:
            message = (
                f"{instrument.key}: no sell price within orders.collar of the mark {mark:g} is a multiple "
                f"of tick {tick:g}; write both in quote currency per unit, or a smaller collar"
            )
            findings.problems.append(Problem("instruments", message))


def unmet_names(scenario: Scenario, assets: tuple[str, ...], currencies: tuple[str, ...]) -> Iterator[str]:
    """A notice for each asset or currency that a limit or stress names and the market does not have.

    They may have dropped out for want of data, so this is no error; it may also be a slip of the pen.
    """
    for name, limit in scenario.limits.items():
        chosen = getattr(limit, "assets", "all")
        for asset in [] if chosen == "all" else sorted(set(chosen) - set(assets)):
            yield f"limits.{name}.assets: no {asset} in the market, so nothing of it is limited"
    for name, stress in scenario.stresses.items():
        for key, known in (("moves", assets), ("currencies", currencies)):
            for entry in sorted(set(getattr(stress, key)) - set(known)):
                yield f"stresses.{name}.{key}: no {entry} in the market, so nothing of it moves"
