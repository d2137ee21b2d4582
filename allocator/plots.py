"""Pictures for notebooks: one function each, from a result object to a Plotly figure.

    >>> from allocator import backtest, plots
    >>> plots.wealth(backtest("scenarios/backtest.yaml"))

They draw what the report pages draw, from the same data. Amounts are USD. Every function raises `ImportError`
naming what to install where Plotly is absent (extra ``plots``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from allocator.report import backtest_figures, figures, frontier_figures, sweep_figures
from allocator.report.backtest_figures import Walked
from allocator.report.nodes import Node
from allocator.report.plots import plotly_figure

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

    from allocator.allocation import Allocation
    from allocator.backtests.run import Backtest
    from allocator.frontiers.run import Frontier
    from allocator.sweeps.run import Sweep


def _result(allocation: Allocation) -> Node:
    return Node(dict(allocation.result), "result.json#")


def net_delta(allocation: Allocation) -> go.Figure:
    """Net delta by coin before and after, on the band that limits allow."""
    return plotly_figure(figures.net_delta(_result(allocation)))


def risk_by_source(allocation: Allocation) -> go.Figure:
    """Volatility over the decision horizon of each source of risk alone."""
    return plotly_figure(figures.risk_by_source(_result(allocation)))


def risk_by_coin(allocation: Allocation) -> go.Figure:
    """Share of the hedged variance by coin (Euler)."""
    return plotly_figure(figures.risk_by_asset(_result(allocation)))


def risk_by_venue(allocation: Allocation) -> go.Figure:
    """Share of the hedged variance by venue (Euler)."""
    return plotly_figure(figures.risk_by_venue(_result(allocation)))


def expected_funding(allocation: Allocation, by_coin: bool = False) -> go.Figure:
    """Expected funding per decision horizon by venue, or by coin, ± one sd of its error; < 0 is earned."""
    return plotly_figure(figures.carry(_result(allocation), "asset" if by_coin else "venue"))


def equity_by_price(allocation: Allocation, venue: str) -> go.Figure:
    """Equity and maintenance margin of a venue over a common move of all coins, liquidation marked.

    Raises `ValueError` for a venue that the result has not.
    """
    result = _result(allocation)
    known = [str(row["name"]) for row in result["equity_by_price"]["venues"]]
    if venue not in known:
        raise ValueError(f"no venue {venue!r}; there are {', '.join(known)}")
    return plotly_figure(figures.equity_by_price(result, venue))


def worst_stress(allocation: Allocation) -> go.Figure:
    """Equity of each venue now and in its worst stress, with the margin it then needs."""
    return plotly_figure(figures.worst_stress(_result(allocation)))


def _columns(cells: pd.DataFrame, *names: str) -> None:
    lacking = [name for name in names if name not in cells]
    if lacking:
        raise ValueError(
            f"no column {', '.join(lacking)} among the cells; there are {', '.join(map(str, cells))}"
        )


def sweep_heat_map(sweep: Sweep, x: str, y: str, value: str = "total_usd") -> go.Figure:
    """Mean of a column of a sweep's cells over two swept keys, x across and y upwards.

    Raises `ValueError` for a key or column that the cells have not.
    """
    _columns(sweep.cells, x, y, value)
    return plotly_figure(sweep_figures.heat_map(sweep.cells, x, y, value))


def sweep_curve(sweep: Sweep, key: str, value: str = "total_usd") -> go.Figure:
    """Median of a column of a sweep's cells over one swept key, with its range.

    Raises `ValueError` for a key or column that the cells have not.
    """
    _columns(sweep.cells, key, value)
    return plotly_figure(sweep_figures.curve(sweep.cells, key, value))


def sweep_cells(sweep: Sweep) -> go.Figure:
    """Every optimal cell of a sweep, cost without its risk against volatility; a line joins the best."""
    return plotly_figure(sweep_figures.cloud(sweep.cells))


def frontier(found: Frontier) -> go.Figure:
    """A finished frontier with the scenario's own plan, no hedge and 1:1 hedges beside it."""
    return plotly_figure(frontier_figures.of_data(Node(found.result, "frontier.json#")))


def tradeoff(
    points: Sequence[Mapping[str, float]],
    references: Mapping[str, Mapping[str, float]] | None = None,
    x: str = "volatility_usd",
    y: str = "cost_usd",
) -> go.Figure:
    """A curve of points that hold `x` and `y`, with named points beside it: the chosen one, naive hedges.

    Raises `KeyError` where a point lacks either.
    """
    return plotly_figure(frontier_figures.frontier(points, references or {}, x, y))


def _walked(backtest: Backtest) -> Walked:
    return Walked.of(backtest.result, backtest.tables())


def _known(walked: Walked, strategy: str | None) -> str:
    if strategy is not None and strategy not in walked.names:
        raise ValueError(f"no strategy {strategy!r}; there are {', '.join(walked.names)}")
    return walked.names[0] if strategy is None else strategy


def wealth(backtest: Backtest, unhedged: bool = False) -> go.Figure:
    """Gain since the start of each strategy; `unhedged` shows no hedge too, which dwarfs the others."""
    return plotly_figure(backtest_figures.wealth(_walked(backtest), unhedged))


def margin(backtest: Backtest, venue: str, strategy: str | None = None) -> go.Figure:
    """Equity and maintenance margin of a venue through time; of the first strategy unless one is named.

    Raises `ValueError` for a strategy that there is not, or a venue where it never held a position.
    """
    walked = _walked(backtest)
    name = _known(walked, strategy)
    if venue not in walked.venues(name):
        raise ValueError(f"{name} held nothing on {venue!r}; it did on {', '.join(walked.venues(name))}")
    return plotly_figure(backtest_figures.margin(walked, name, venue))


def margin_use(backtest: Backtest) -> go.Figure:
    """Maintenance margin over equity of the worst venue through time, by strategy."""
    return plotly_figure(backtest_figures.margin_use(_walked(backtest)))


def funding(backtest: Backtest, strategy: str | None = None) -> go.Figure:
    """Funding received by venue, summed up through time. Raises `ValueError` for an unknown strategy."""
    walked = _walked(backtest)
    return plotly_figure(backtest_figures.funding(walked, _known(walked, strategy)))


def rivals(backtest: Backtest, money: bool = False) -> go.Figure:
    """The first strategy against every other with 95 % intervals: ratio of volatilities, or P&L a day."""
    walked = _walked(backtest)
    return plotly_figure(backtest_figures.richer(walked) if money else backtest_figures.calmer(walked))


def calibration(backtest: Backtest) -> go.Figure:
    """Realised over predicted volatility, by strategy."""
    return plotly_figure(backtest_figures.calibration(_walked(backtest)))


def predicted(backtest: Backtest, strategy: str | None = None) -> go.Figure:
    """P&L from each decision to the next on the band it predicted. Raises `ValueError`, as `funding`."""
    walked = _walked(backtest)
    return plotly_figure(backtest_figures.predicted(walked, _known(walked, strategy)))
