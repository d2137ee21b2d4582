"""Forecasts against what came: funding by horizon, hedged volatility, hedge ratios, covariances, on records.

Two markets: BTC and ETH at 8 h on Binance, Bybit and OKX, 2023-01 to 2024-06; ten coins at 1 h on Binance,
OKX and Hyperliquid, 2024-09 to 2025-05. Defaults were chosen on the first half of each (until 2023-09 and
2025-01-09); what is asserted is of the second. Marked long; skipped where the recorded data are absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
import recorded

from allocator.market.bases import Bases, BasisRisk, basis_risk
from allocator.market.forecast import asset_covariance
from allocator.market.funding import POOLING
from allocator.market.history import Grid, Known
from allocator.market.universe import Findings, Listing
from allocator.scenario.forecasts import AssetForecast, BasisForecast, FundingForecast
from models.error_factors import ErrorSorts, error_factors, shocks
from models.funding_errors import AverageLadder, conditional_error_sd, past_errors, past_rates
from models.hedge import CROSS_HEDGE_RIDGE, cross_hedge_betas, return_beta, shrunk_hedge_ratio

HORIZONS = {"next": 0, "1 day": 24, "1 week": 168, "30 days": 720}
BP = 1e4
DAY = 24.0
SPLIT_8H, SPLIT_1H = pd.Timestamp("2023-10-01", tz="UTC"), pd.Timestamp("2025-01-10", tz="UTC")

pytestmark = [pytest.mark.long, recorded.needs_market_data]


@dataclass(frozen=True)
class Rates:
    """Settled funding in bp per 8 h on one grid, and the time from which it is judged."""

    name: str
    table: pd.DataFrame
    step: float
    split: pd.Timestamp


@cache
def rates() -> tuple[Rates, ...]:
    eight = pd.read_parquet(recorded.market_data() / "funding_8h_2023-01_2024-06.parquet")
    eight["time"] = pd.to_datetime(eight["funding_ts"], utc=True).dt.round("h")
    eight["name"] = eight["venue"].astype(str) + eight["coin"].astype(str) + eight["instrument"].astype(str)
    first = eight.pivot_table(index="time", columns="name", values="funding_rate") * BP
    hourly = recorded._recorded().funding
    hourly = hourly[hourly["time"] >= pd.Timestamp("2024-06-01", tz="UTC")].assign(
        time=lambda f: f["time"].dt.round("h"), name=lambda f: f["venue"] + f["symbol"]
    )
    hourly["rate"] *= BP * 8 / hourly["interval_hours"]
    found = [Rates("8 h venues, 2023-24", first, 8.0, SPLIT_8H)]
    onchain = hourly["venue"] == "hyperliquid"
    for name, rows, step in (
        ("8 h venues, 2024-25", hourly[~onchain], 8.0),
        ("Hyperliquid, 2024-25", hourly[onchain], 1.0),
    ):
        table = rows.pivot_table(index="time", columns="name", values="rate")
        table = table.asfreq(pd.Timedelta(hours=step))
        found.append(Rates(name, table, step, SPLIT_1H))
    return tuple(found)


def errors_of(rates, step, ahead):
    return past_errors(past_rates(rates, step, ahead, ladder().half_lives_hours), ladder())


def ladder() -> AverageLadder:
    """The shipped forecast, in bp per 8 h."""
    f = FundingForecast()
    return AverageLadder(
        (f.recent_half_life, f.half_life),
        (f.last_reversion, f.recent_reversion, f.reversion),
        f.long_run * 8 * BP,
    )


def naive_forecasts(r: Rates) -> dict[str, pd.DataFrame]:
    """What else one might have believed at each settlement."""

    def ewma(hours: float) -> pd.DataFrame:
        return r.table.ewm(halflife=hours / r.step, ignore_na=False).mean()

    constant = pd.DataFrame(1.0, index=r.table.index, columns=r.table.columns)
    return {"last": r.table.ffill(), "EWMA 1d": ewma(24), "EWMA 1w": ewma(168), "1 bp": constant}


def funding_scores(r: Rates, hours: int) -> pd.DataFrame:
    """Root mean squared error of each forecast (rows) in each half (columns), bp per 8 h."""
    ahead = max(int(hours / r.step), 1)
    shipped = errors_of(r.table.to_numpy(), r.step, ahead)
    assert shipped.settlements == ahead
    # Origins run to the last settlement that has the whole horizon after it.
    origins = r.table.index[len(r.table) - ahead - len(shipped.errors) : len(r.table) - ahead]
    realised = pd.DataFrame(shipped.errors + shipped.deviations + ladder().long_run, origins, r.table.columns)
    errors = {"shipped": pd.DataFrame(shipped.errors, origins, r.table.columns)}
    errors |= {name: realised - f.loc[origins] for name, f in naive_forecasts(r).items()}
    late = origins >= r.split
    return pd.DataFrame(
        {
            name: [np.sqrt(np.nanmean(e[part].to_numpy() ** 2)) for part in (~late, late)]
            for name, e in errors.items()
        },
        index=["tuned", "judged"],
    ).T


def test_funding_forecast_beats_the_naive_ones(told):
    """Over all markets, at every horizon; not in each: at 30 days in 2025 the weekly EWMA was better."""
    with told():
        print("\nroot mean squared error of mean funding, bp per 8 h; first half (tuned), second (judged)")
        print(
            f"{'':9}{'':22}" + "".join(f"{n:>17}" for n in ("shipped", "last", "EWMA 1d", "EWMA 1w", "1 bp"))
        )
        for horizon, hours in HORIZONS.items():
            scores = [funding_scores(r, hours) for r in rates()]
            for r, score in zip(rates(), scores, strict=True):
                cells = "".join(f"{a:9.3f}{b:8.3f}" for a, b in score.to_numpy())
                print(f"{horizon:9}{r.name:22}{cells}")
            # Each market counts the same, however many instruments were recorded.
            pooled = np.sqrt(np.mean([score["judged"] ** 2 for score in scores], axis=0))
            print(f"{horizon:9}{'all, second half':22}" + "".join(f"{p:17.3f}" for p in pooled))
            assert pooled[0] < pooled[1:].min(), horizon


def sorts_of(columns: pd.Index) -> ErrorSorts:
    """Coin, venue and perp of columns named by venue, then coin."""
    found = [re.match(r"(binance|bybit|okx|hyperliquid)([A-Z]+?)(?=/|[a-z])", name) for name in columns]
    names = [[match.group(k) for match in found if match] for k in (2, 1)]
    coin, venue = (np.unique(name, return_inverse=True)[1] for name in names)
    return ErrorSorts(coin, venue, np.arange(len(columns)))


def test_funding_uncertainty_is_of_the_right_size(told):
    """Errors over their stated sd, from the 45 days before each of some days of the second half.

    Of single perps, and of equal shorts of all of them with errors taken as independent and as they are.
    """
    lines, single, apart, shared = [], [], [], []
    for r in rates():
        rows = int(45 * DAY / r.step)
        for horizon, hours in {"1 day": 24, "1 week": 168, "14 days": 336}.items():
            ahead = int(hours / r.step)
            z, all_apart, all_shared = [], [], []
            begin = r.table.index.searchsorted(r.split)
            for end in range(begin, len(r.table) - ahead, int(5 * DAY / r.step)):
                table = r.table.iloc[end - rows : end + ahead + 1]
                table = table.loc[:, table.notna().mean() > 0.9]
                if table.shape[1] == 0:
                    continue
                window = table.to_numpy()
                # The last origin is now; its error is in the future, all others' are known by now.
                new = errors_of(window, r.step, ahead)
                past = errors_of(window[: rows + 1], r.step, ahead)
                sd = conditional_error_sd(past, new.deviations[-1], POOLING)
                z.extend(new.errors[-1] / sd)
                came = np.isfinite(new.errors[-1])
                held, missed = np.where(came, sd, 0.0), float(new.errors[-1][came].sum())
                together = error_factors(past.errors, sorts_of(table.columns))
                all_apart.append(missed / np.linalg.norm(held))
                all_shared.append(missed / np.linalg.norm(shocks(together, held)))
            size = [float(np.sqrt(np.nanmean(np.square(part)))) for part in (z, all_apart, all_shared)]
            for found, value in zip((single, apart, shared), size, strict=True):
                found.append(value)
            cells = "".join(f"{value:12.2f}" for value in size)
            lines.append(f"{horizon:9}{r.name:22}{size[0]:9.2f}{np.nanmean(np.abs(z) > 2):9.1%}{cells[12:]}")
    with told():
        print("\nfunding error over its stated sd, second half, rms: of single perps, of equal shorts of all")
        print(f"{'':31}{'single':>9}{'beyond 2':>9}{'independent':>12}{'as shared':>12}")
        print("\n".join(lines))
    assert min(single) > 0.5
    assert max(single) < 2.0
    # A book is to be as well predicted as its perps are, whose levels change from year to year.
    assert max(np.divide(apart, single)) > 2.0
    assert min(np.divide(shared, single)) > 0.7
    assert max(np.divide(shared, single)) < 1.3


@dataclass(frozen=True)
class Panel:
    """Prices as a snapshot has them, and the perps judged on them."""

    name: str
    prices: pd.DataFrame
    listings: list[Listing]
    days: pd.DatetimeIndex

    @property
    def wide(self) -> pd.DataFrame:
        return self.prices.pivot_table(index="time", columns=["venue", "symbol"], values="price")


@cache
def panels() -> tuple[Panel, ...]:
    data = recorded._recorded()
    hourly = pd.concat(
        [data.prices[["time", "venue", "symbol", "price"]], recorded._index_rows(data.spot, data.prices)],
        ignore_index=True,
    ).sort_values("time")
    legs = [
        listing(venue, coin, quote) for venue, quote in recorded.QUOTES.items() for coin in recorded.COINS
    ]
    eight = pd.read_parquet(recorded.market_data() / "prices_8h_2023-01_2024-06.parquet")
    eight["time"] = pd.to_datetime(eight["close_ts"], utc=True)
    spot = eight[(eight["venue"] == "binance") & (eight["instrument"] == "spot")]
    perps = eight[eight["instrument"] == "perp_usdtm"]
    frames = [
        pd.DataFrame({"time": spot["time"], "venue": "index", "symbol": spot["coin"].astype(str) + "/USD"}),
        pd.DataFrame(
            {"time": perps["time"], "venue": perps["venue"].astype(str)}
            | {"symbol": perps["coin"].astype(str) + "/USDT:USDT"}
        ),
    ]
    slow = pd.concat([f.assign(price=p["close"]) for f, p in zip(frames, (spot, perps), strict=True)])
    old = [listing(v, c, "USDT") for v in ("binance", "bybit", "okx") for c in ("BTC", "ETH")]
    return (
        Panel("8 h, 2023-24", slow.sort_values("time"), old, dates("2023-10-03 04:00", "2024-06-28", "3D")),
        Panel("1 h, 2024-25", hourly, legs, dates("2025-01-11", "2025-05-09", "2D")),
    )


def dates(start: str, end: str, step: str) -> pd.DatetimeIndex:
    return pd.date_range(start, end, freq=step, tz="UTC")


def listing(venue: str, coin: str, quote: str) -> Listing:
    # The recorded spot is quoted in USDT, taken as a dollar: the quote is no risk here.
    row = {"asset": coin, "index_currency": "USD", "coins_per_unit": "1"}
    return Listing(venue, venue, f"{coin}/{quote}:{quote}", "all", None, row)  # type: ignore[arg-type]


def known_at(panel: Panel, now: pd.Timestamp) -> Known:
    first, last = (
        int(panel.prices["time"].searchsorted(t, side="right")) for t in (now - timedelta(days=121), now)
    )
    return Known(Grid.of(panel.prices.iloc[first:last]), now.to_pydatetime(), DAY)


def interval(z: np.ndarray) -> tuple[float, float, float]:
    """Root mean square of rows of z (days, legs), with the 5th and 95th percentile over resampled days."""
    rng, squares = np.random.default_rng(0), np.nanmean(z**2, axis=1)
    again = [np.sqrt(np.nanmean(rng.choice(squares, squares.size))) for _ in range(1_000)]
    return float(np.sqrt(np.nanmean(squares))), *np.percentile(again, [5, 95])


def next_day_returns(wide: pd.DataFrame, now: pd.Timestamp) -> pd.Series:
    return wide.reindex([now + pd.Timedelta(days=1)]).iloc[0] / wide.loc[now] - 1


@dataclass(frozen=True)
class Came:
    """What a day brought: changes of the basis of perps (n,), and what was predicted of them."""

    legs: list[Listing]
    left: np.ndarray
    risk: BasisRisk


@cache
def basis_days(panel_at: int, factors: int) -> list[Came]:
    """The days of the second half, with basis risk of so many common factors."""
    panel, days = panels()[panel_at], []
    wide = panel.wide
    for now in panel.days:
        known, came = known_at(panel, now), next_day_returns(wide, now)
        recent = wide.loc[now - pd.Timedelta(days=30) : now]
        legs = [leg for leg in panel.listings if leg.key in wide.columns and recent[leg.key].count() > 50]
        legs = [leg for leg in legs if np.isfinite(came[leg.key])]
        forecast, bases = BasisForecast(factors=factors), Bases.of(known.prices, legs)
        risk, legs = basis_risk(known, bases, forecast, AssetForecast().window, Findings()), bases.listings
        left = np.array([came[leg.key] - came["index", f"{leg.row['asset']}/USD"] for leg in legs])
        days.append(Came(legs, left, risk))
    return days


def standardised(day: Came, books: np.ndarray) -> np.ndarray:
    """P&L of books (B, n) over its predicted sd."""
    variance = np.sum((books @ day.risk.loadings.T) ** 2, axis=1) + books**2 @ day.risk.own**2
    return (books @ day.left) / np.sqrt(variance)


def books_of(day: Came) -> dict[str, np.ndarray]:
    """Shorts that hedge coins one to one: single perps, equal amounts of many, and the least variance."""
    coins, venues = [leg.row["asset"] for leg in day.legs], [leg.venue for leg in day.legs]
    one_coin, one_venue = (
        np.array([[owner == name for owner in owners] for name in sorted(set(owners))], dtype=float)
        for owners in (coins, venues)
    )
    return {
        "single perps": np.eye(len(coins)),
        "equal, one coin": one_coin,
        "equal, one venue": one_venue,
        "equal, all perps": np.ones((1, len(coins))),
        "optimal, all coins": least_variance(day, one_coin)[None, :],
    }


def least_variance(day: Came, one_coin: np.ndarray) -> np.ndarray:
    """Shorts of the least predicted variance, a dollar of every coin."""
    x, scale = cp.Variable(len(day.left), nonneg=True), day.risk.sd.max()
    parts = cp.hstack([day.risk.loadings / scale @ x, cp.multiply(day.risk.own / scale, x)])
    cp.Problem(cp.Minimize(cp.sum_squares(parts)), [one_coin @ x == 1]).solve(cp.CLARABEL)
    return np.asarray(x.value)


def test_hedged_volatility_predicted_and_realised(told):
    """Books short of many perps lose more than independent bases predict, and what common factors do.

    The floor of 3 bp makes calm perps look riskier than they are. The bands are of the size of the intervals:
    the second halves hold 90 and 60 days.
    """
    lines, shipped = [], BasisForecast().factors
    for at, panel in enumerate(panels()):
        ratio: dict[tuple[str, int], tuple[float, float, float]] = {}
        for factors in (0, shipped):
            z: dict[str, list[float]] = {}
            for day in basis_days(at, factors):
                for name, books in books_of(day).items():
                    z.setdefault(name, []).append(float(np.sqrt(np.mean(standardised(day, books) ** 2))))
            ratio |= {(name, factors): interval(np.array(found)[:, None]) for name, found in z.items()}
        for name in dict.fromkeys(name for name, _ in ratio):
            both = (ratio[name, 0], ratio[name, shipped])
            cells = "".join(f"{r:8.2f} ({low:.2f} to {high:.2f})" for r, low, high in both)
            lines.append(f"{panel.name:14}{name:20}{cells}")
        assert ratio["equal, all perps", 0][0] > 1.35
        for name in ("equal, one coin", "equal, one venue", "equal, all perps", "optimal, all coins"):
            assert 0.75 < ratio[name, shipped][0] < 1.25, name
    with told():
        print("\nrealised over predicted volatility of a day, hedged one to one; second half, 90 % interval")
        print(f"{'':34}{'independent bases':>22}{'common factors':>22}")
        print("\n".join(lines))


def test_asset_volatility_and_cross_hedges(told):
    """Methods on ten coins: volatility, likelihood, and alts hedged with BTC and ETH by estimated betas."""
    panel, assets = panels()[1], tuple(c for c in recorded.COINS if c != "BNB")
    wide, others = panel.wide, [0, 1]
    methods = {
        "ewma (shipped)": AssetForecast(),
        "ewma, 1 lag": AssetForecast(asynchronous_lags=1),
        "ewma, 3 factors": AssetForecast(factors=3),
        "sample": AssetForecast(method="sample"),
        "ledoit_wolf": AssetForecast(method="ledoit_wolf"),
        "oas": AssetForecast(method="oas"),
    }
    lines = []
    for name, forecast in methods.items():
        own, cross, fall = [], [], []
        for now in panel.days[::2]:
            cov = asset_covariance(known_at(panel, now), assets, forecast, Findings())
            came = next_day_returns(wide, now)
            moved = np.array([came["index", f"{a}/USD"] for a in assets])
            own.append(moved / np.sqrt(np.diag(cov)))
            row, drop = [], []
            for alt in range(2, len(assets)):
                betas = cross_hedge_betas(cov, alt, others, CROSS_HEDGE_RIDGE)
                weights = np.zeros(len(assets))
                weights[alt], weights[others] = 1.0, -betas
                row.append(weights @ moved / np.sqrt(weights @ cov @ weights))
                drop.append(((weights @ moved) ** 2, moved[alt] ** 2))
            cross.append(row)
            fall.append(np.sum(drop, axis=0))
        ratios = interval(np.array(own)), interval(np.array(cross))
        effect = 1 - np.sum([f[0] for f in fall]) / np.sum([f[1] for f in fall])
        cells = "".join(f"{r:7.2f} ({low:.2f} to {high:.2f})" for r, low, high in ratios)
        lines.append(f"{name:18}{cells}{effect:12.3f}")
        assert all(0.6 < r < 1.5 for r, _, _ in ratios), name
        assert effect > 0.3
    with told():
        print("\nrealised over predicted volatility of a day, 90 % interval; alts hedged with BTC and ETH")
        print(f"{'':18}{'coins':>21}{'cross-hedged':>22}{'effectiveness':>16}\n" + "\n".join(lines))


def test_hedge_ratios(told):
    """Betas of perps on their own coins in the first half, and what they would have done in the second."""
    panel = panels()[1]
    steps = {1: panel.wide, 24: panel.wide.iloc[::24]}
    lines, worst = [], 0.0
    for hours, wide in steps.items():
        moves = wide.pct_change(fill_method=None)
        for venue in recorded.QUOTES:
            betas, left = [], {"one": 0.0, "estimated": 0.0, "shrunk": 0.0, "unhedged": 0.0}
            for leg in panel.listings:
                if leg.venue != venue or leg.key not in moves.columns:
                    continue
                both = moves[[leg.key, ("index", f"{leg.row['asset']}/USD")]]
                early, late = both[both.index < SPLIT_1H], both[both.index >= SPLIT_1H].dropna()
                if early.dropna().shape[0] < 40 or len(late) < 40:
                    continue
                estimate = return_beta(early.iloc[:, 0].to_numpy(), early.iloc[:, 1].to_numpy(), None)
                betas.append(estimate)
                perp, coin = late.iloc[:, 0], late.iloc[:, 1]
                ratios = {"one": 1.0, "estimated": estimate, "shrunk": shrunk_hedge_ratio(estimate, 0.9)}
                left["unhedged"] += float((coin**2).sum())
                for name, beta in ratios.items():
                    left[name] += float(((coin - perp / beta) ** 2).sum())
            effect = [1 - left[name] / left["unhedged"] for name in ("one", "estimated", "shrunk")]
            lines.append(
                f"{hours:3d} h {venue:12}{min(betas):8.4f}{max(betas):8.4f}"
                + "".join(f"{e:11.5f}" for e in effect)
            )
            worst = max(worst, *(abs(shrunk_hedge_ratio(b, 0.9) - 1) for b in betas))
            assert effect[2] > effect[0] - 1e-4
    with told():
        print("\nbeta of perps on their coins (first half) and hedge effectiveness (second half)")
        print(
            f"{'':18}{'least':>7}{'most':>8}{'ratio 1':>11}{'estimated':>11}{'shrunk':>11}\n"
            + "\n".join(lines)
        )
    assert worst < 0.01
