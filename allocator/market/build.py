"""From a loaded scenario and its snapshot to a market; every problem found is reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market import exposures as ex
from allocator.market.ages import table_ages
from allocator.market.boxes import fixed_sides, position_boxes
from allocator.market.costs import trading_costs
from allocator.market.dated import index_premiums, tell_of_rolls, with_carry
from allocator.market.forecast import Known, risk_model
from allocator.market.funding import funding_forecast
from allocator.market.instruments import instruments as build_instruments
from allocator.market.instruments import newest_tiers, tiers_in_usd
from allocator.market.memory import Memory
from allocator.market.rules import Placed, cushion_rates, margin_scheme
from allocator.market.scheme import Scheme, bracket_scheme
from allocator.market.sense import check_amount, check_horizon, check_ticks, unmet_names
from allocator.market.stresses import scaled_tiers, stress_arrays
from allocator.market.transfers import transfer_routes, with_headroom
from allocator.market.types import (
    Account,
    Collateral,
    Index,
    Instrument,
    LimitSpec,
    Market,
    Matrix,
    Pocket,
    Positions,
    Prices,
)
from allocator.market.universe import INDEX, Findings, Listing, known, newest, select
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import Scenario
from allocator.snapshot.read import SnapshotData
from models.arrays import Vector
from models.collateral import collateral_charge
from models.contracts import unrealised_pnl_settle, usd_per_contract
from models.covariance_estimates import CovarianceEstimator
from models.hedge import CROSS_HEDGE_RIDGE, cross_hedge_betas
from models.margin import Brackets

USD = ex.USD


def build_market(
    loaded: LoadedScenario,
    snapshot: SnapshotData,
    covariance_estimator: CovarianceEstimator | None = None,
    memory: Memory | None = None,
) -> Market:
    """Assemble the market at the scenario's `as_of` from what the snapshot knew then.

    A `covariance_estimator` with scikit-learn's interface (`fit`, `covariance_`) takes the place of
    `forecasts.assets.method`; give the market it makes to `allocate`. With one `memory` for many scenarios
    of one snapshot, the slow stages are computed again only where something they depend on differs.
    Raises `DataError` naming everything missing, stale or inconsistent.
    """
    scenario = loaded.scenario
    check_horizon(loaded)
    as_of = scenario.when(snapshot.newest)
    findings, stage = Findings(), (Memory(0) if memory is None else memory).stage
    tables = stage("known", findings, lambda _: known(dict(snapshot.tables), as_of), snapshot, as_of)
    for name in ("holdings", "positions", "collateral"):
        ex.check_known(snapshot.tables[name], name, as_of, findings)
        ex.check_age(tables[name], name, as_of, getattr(scenario.snapshot.max_age, name), findings)
    for name in ("positions", "collateral"):
        ex.unknown_accounts(tables[name], name, scenario, findings)
    # Of venues, what decides which instruments take part: the rest may change without choosing again.
    venues = tuple((name, v.exchange, v.account, v.margin) for name, v in scenario.venues.items())
    horizons, max_age, impact = scenario.horizons, scenario.snapshot.max_age, scenario.objective.impact
    listings = stage(
        "select",
        findings,
        lambda found: select(loaded, tables, as_of, found, snapshot.from_tables),
        *(tables, snapshot, as_of, horizons, venues, scenario.instruments, max_age, impact.model),
    )
    if loaded.tables:
        _report_tables(loaded, snapshot, listings, as_of, findings)
    findings.raise_if_any()
    usd_prices = stage(
        "reference",
        findings,
        lambda found: ex.reference_prices(tables["prices"], as_of, max_age.prices, found).prices,
        *(tables, as_of, max_age),
    )
    reference = ex.Reference(usd_prices, findings)
    marks = stage("marks", findings, lambda _: newest(tables["prices"], ["venue", "symbol"])["price"], tables)
    stated = stage("tiers", findings, lambda _: newest_tiers(tables["margin_tiers"]), tables)
    tiers = stage(
        "tiers in USD",
        findings,
        lambda found: tiers_in_usd(
            loaded, listings, stated, marks, ex.Reference(usd_prices, found), snapshot.from_tables
        ),
        *(listings, stated, marks, usd_prices, snapshot, venues),
    )
    findings.raise_if_any()
    instruments = stage(
        "instruments",
        findings,
        lambda found: build_instruments(loaded, listings, tiers, found),
        *(listings, tiers, venues),
    )
    findings.raise_if_any()
    prices = stage(
        "prices",
        findings,
        lambda found: _prices(listings, instruments, tables["prices"], ex.Reference(usd_prices, found)),
        *(listings, usd_prices, tables),
    )
    held = ex.holdings(tables["holdings"], scenario, reference, as_of)
    balances = ex.balances(tables["collateral"], scenario, listings, reference, held.arriving)
    check_ticks(scenario.orders, instruments, prices, findings)
    findings.raise_if_any()
    names = _Names.of(scenario, instruments, held, balances.pockets)
    names.check_currencies(scenario, instruments, findings)
    findings.notices.extend(unmet_names(scenario, names.assets, names.currencies))
    positions, unrealised = _positions(
        tables["positions"], scenario, listings, instruments, prices, names, findings
    )
    findings.raise_if_any()
    wallet = balances.wallet + np.bincount(names.pocket_of, weights=unrealised, minlength=len(names.pockets))
    coins = ex.coin_collateral(names.pockets, wallet, names.pocket_venue, names.assets, len(names.accounts))
    exposure = np.array([held.assets.get(asset, 0.0) for asset in names.assets]) + coins.sum(axis=0)
    believed, hours = scenario.forecasts, horizons.decision
    risk, covariance = stage(
        "risk",
        findings,
        lambda found: risk_model(
            Known(tables["prices"], as_of, hours),
            listings,
            names.assets,
            names.currencies,
            believed,
            found,
            covariance_estimator,
        ),
        *(tables, as_of, hours, listings, names.assets, names.currencies, covariance_estimator),
        *(believed.assets, believed.basis, believed.currencies),
    )
    findings.raise_if_any()
    daily = np.sqrt(np.diag(covariance) * 24.0 / hours)[names.asset_of]
    costs = stage(
        "costs",
        findings,
        lambda found: trading_costs(scenario, listings, prices, tables.get("books"), daily, found),
        *(listings, prices, tables, scenario.objective.maker_share, impact),
        *(daily if impact.model == "square_root" else None, tuple(v.fees for v in scenario.venues.values())),
    )
    funding = stage(
        "funding",
        findings,
        lambda found: funding_forecast(
            tables["funding"],
            [listing for listing in listings if listing.expiry is None],
            believed,
            as_of,
            hours,
            horizons.holding,
            found,
        ),
        *(tables, listings, believed.funding, as_of, horizons),
    )
    findings.raise_if_any()
    premiums = index_premiums(instruments, prices, reference)
    funding = with_carry(funding, listings, premiums, as_of, horizons.decision, horizons.holding)
    tell_of_rolls(listings, as_of, horizons.holding, findings)
    haircut, haircut_tiers = ex.haircuts(scenario, names.pockets, findings)
    stresses = stress_arrays(
        scenario.stresses,
        instruments,
        names.pockets,
        names.currencies,
        haircut,
        funding.cap,
        funding.interval_hours,
    )
    resting = positions.open_buys_usd + positions.open_sells_usd
    if resting.any():
        message = f"resting orders of ${resting.sum():,.0f} are margined as if filled, but count in no hedge"
        findings.notices.append(f"{message}: cancel them, or their fills add to what is ordered here")
    collateral = Collateral(
        wallet,
        unrealised,
        haircut,
        balances.withdrawable,
        _charges(scenario),
        balances.arriving,
        haircut_tiers,
    )
    limits = tuple(
        LimitSpec(key, limit, loaded.origin(f"limits.{key}")) for key, limit in scenario.limits.items()
    )
    target = _hedged_exposure(scenario, names, exposure, covariance, findings)
    boxes = position_boxes(
        loaded, listings, instruments, limits, positions.usd, target[names.asset_of], costs
    )
    placed = Placed(listings, names.venue_of, names.asset_of, coin_prices(instruments, prices))
    scheme = _scheme(scenario, placed, instruments, tiers, findings)
    findings.raise_if_any()
    market = Market(
        as_of=as_of,
        decision_hours=scenario.horizons.decision,
        holding_hours=scenario.horizons.holding,
        book_usd=_book_size(scenario, exposure, positions.usd),
        accounts=names.accounts,
        instruments=instruments,
        assets=names.assets,
        currencies=names.currencies,
        pockets=names.pockets,
        venue_of=names.venue_of,
        asset_of=names.asset_of,
        index_currency_of=names.index_currency_of,
        pocket_of=names.pocket_of,
        pocket_venue=names.pocket_venue,
        exposure=exposure,
        hedged_exposure=target[names.asset_of],
        coin_collateral=coins,
        cash=ex.cash_by_currency(held, names.pockets, wallet, names.currencies),
        scheme=scheme,
        # A long owes less margin as it loses; to count that would understate its risk.
        cushion_rate=np.where(
            target[names.asset_of] < 0,
            0.0,
            cushion_rates(scheme, 2 * np.maximum(np.abs(positions.usd), np.abs(target[names.asset_of]))),
        ),
        side=fixed_sides(boxes, len(instruments)),
        positions=positions,
        prices=prices,
        funding=funding,
        costs=costs,
        collateral=collateral,
        transfers=transfer_routes(scenario, names.pockets, balances.withdrawable, len(stresses.names)),
        stresses=scaled_tiers(stresses, scheme.whole_position),
        risk=risk,
        objective=scenario.objective,
        boxes=boxes,
        limits=limits,
        notices=tuple(findings.notices),
        holdings=held.entries,
        ages=table_ages(
            tables,
            [(row.exchange, row.symbol) for row in instruments]
            + [(INDEX, f"{coin}/{USD}") for coin in (*names.assets, *names.currencies)],
            as_of,
            scenario.snapshot.max_age,
        ),
    )
    return with_headroom(market)


def _report_tables(
    loaded: LoadedScenario,
    snapshot: SnapshotData,
    listings: list[Listing],
    as_of: datetime,
    findings: Findings,
) -> None:
    """What is doubtful or missing in the venue tables that the instruments rest on."""
    from allocator.venues import notices  # only where a scenario names a table

    findings.notices += notices.table_notices(loaded, snapshot.from_tables, listings, as_of)
    findings.problems += notices.missing_open_interest(loaded, listings)


@dataclass(frozen=True)
class _Names:
    """All identities of a market and how they refer to each other."""

    accounts: tuple[Account, ...]
    assets: tuple[str, ...]
    currencies: tuple[str, ...]
    pockets: tuple[Pocket, ...]
    venue_of: Index
    asset_of: Index
    index_currency_of: Index
    pocket_of: Index
    pocket_venue: Index

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        instruments: tuple[Instrument, ...],
        held: ex.Holdings,
        pockets: tuple[Pocket, ...],
    ) -> _Names:
        currencies = tuple(scenario.forecasts.currencies.daily_volatility)
        coins = {p.currency for p in pockets} - set(currencies) - {USD}
        assets = tuple(sorted({i.asset for i in instruments} | set(held.assets) | coins))
        accounts = tuple(Account(name, v.exchange or name, v.account) for name, v in scenario.venues.items())
        venue = {account.name: k for k, account in enumerate(accounts)}
        pocket = {p.key: k for k, p in enumerate(pockets)}
        return cls(
            accounts=accounts,
            assets=assets,
            currencies=currencies,
            pockets=pockets,
            venue_of=_index([venue[i.venue] for i in instruments]),
            asset_of=_index([assets.index(i.asset) for i in instruments]),
            index_currency_of=_index(
                [
                    currencies.index(i.index_currency) if i.index_currency in currencies else -1
                    for i in instruments
                ]
            ),
            pocket_of=_index([pocket[f"{i.venue} {i.settlement_currency}"] for i in instruments]),
            pocket_venue=_index([venue[p.venue] for p in pockets]),
        )

    def check_currencies(
        self, scenario: Scenario, instruments: tuple[Instrument, ...], findings: Findings
    ) -> None:
        """Every index currency but USD needs a volatility: the quote is a risk of its own."""
        for currency in sorted({i.index_currency for i in instruments} - set(self.currencies) - {USD}):
            message = (
                f"instruments are indexed in {currency}; add it to forecasts.currencies.daily_volatility"
            )
            findings.problems.append(Problem("instruments", message))


def _index(values: list[int]) -> Index:
    return np.array(values, dtype=np.int64)


def _prices(
    listings: list[Listing], instruments: tuple[Instrument, ...], table: pd.DataFrame, reference: ex.Reference
) -> Prices:
    marks = newest(table, ["venue", "symbol"])
    keys = [listing.key for listing in listings]
    mark = marks["price"].reindex(keys).to_numpy(dtype=float)
    quote = np.array([reference.of(i.index_currency, i.key) for i in instruments])
    quote = np.where(np.isfinite(quote), quote, 1.0)  # a missing quote is already a problem
    usd = [
        usd_per_contract(i.contract, float(m), float(q))
        for i, m, q in zip(instruments, mark, quote, strict=True)
    ]
    times = tuple(pd.Timestamp(time).to_pydatetime() for time in marks["time"].reindex(keys))
    return Prices(mark, quote, np.array(usd), times)


def _positions(
    table: pd.DataFrame,
    scenario: Scenario,
    listings: list[Listing],
    instruments: tuple[Instrument, ...],
    prices: Prices,
    names: _Names,
    findings: Findings,
) -> tuple[Positions, Vector]:
    """What is held, and each position's unrealised P&L in USD (n,); one outside the market is a problem."""
    place = {(i.exchange, i.account, i.symbol): k for k, i in enumerate(instruments)}
    n = len(instruments)
    contracts, buys, sells, unrealised = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for row in table.to_dict("records"):
        if row["contracts"] == 0 and row["open_buy_contracts"] == 0 and row["open_sell_contracts"] == 0:
            continue
        key = (row["venue"], row["account"], row["symbol"])
        if key not in place:
            message = (
                f"{' '.join(key)} is held but does not take part; "
                "add it to instruments (reduce_only or no_trade) or mend its data"
            )
            findings.problems.append(Problem("positions", message))
            continue
        i = place[key]
        contracts[i] = row["contracts"]
        check_amount(contracts[i] * prices.usd_per_contract[i], " ".join(key), "positions", findings)
        buys[i], sells[i] = row["open_buy_contracts"], row["open_sell_contracts"]
        if contracts[i]:
            gain = unrealised_pnl_settle(
                instruments[i].contract, float(contracts[i]), float(row["entry_price"]), float(prices.mark[i])
            )
            unrealised[i] = gain * _settlement_usd(instruments[i], prices, i)
    usd = prices.usd_per_contract
    return Positions(contracts, contracts * usd, buys * usd, sells * usd), unrealised


def _settlement_usd(instrument: Instrument, prices: Prices, i: int) -> float:
    """USD value of one unit of what `unrealised_pnl_settle` counts in."""
    if instrument.contract.kind == "linear":
        return float(prices.quote_usd[i])
    return float(prices.mark[i] * prices.quote_usd[i] / instrument.contract.coins_per_unit)


def _scheme(
    scenario: Scenario,
    placed: Placed,
    instruments: tuple[Instrument, ...],
    tiers: Mapping[tuple[str, str], Brackets],
    findings: Findings,
) -> Scheme:
    try:
        stated = [tiers.get((i.exchange, i.symbol)) for i in instruments]
        return margin_scheme(scenario, placed, [i.brackets for i in instruments], stated)
    except ValueError as error:
        findings.problems.append(Problem("venues", str(error)))
        return bracket_scheme([i.brackets for i in instruments], np.ones(len(instruments)))


def coin_prices(instruments: tuple[Instrument, ...], prices: Prices) -> Vector:
    """USD of one coin at each instrument's mark (n,)."""
    units = np.array([i.contract.coins_per_unit for i in instruments], dtype=float)
    return np.asarray(prices.mark * prices.quote_usd / units)


def _charges(scenario: Scenario) -> Vector:
    return np.array(
        [
            collateral_charge(
                1.0, v.capital_cost, v.default_probability, v.recovery, scenario.horizons.decision
            )
            for v in scenario.venues.values()
        ]
    )


def _hedged_exposure(
    scenario: Scenario, names: _Names, exposure: Vector, covariance: Matrix, findings: Findings
) -> Vector:
    """Exposure (A,) that perps of each asset hedge: its own, plus beta times what is cross-hedged by it."""
    target = exposure.copy()
    place = {asset: k for k, asset in enumerate(names.assets)}
    perps = {names.assets[a] for a in names.asset_of}
    for asset, betas in scenario.book.cross_hedges.items():
        if asset not in place:
            findings.problems.append(
                Problem("scenario", f"book.cross_hedges.{asset}: the book holds no {asset}")
            )
            continue
        if betas == "estimated":
            own, others = place[asset], [place[a] for a in sorted(perps - {asset})]
            estimated = cross_hedge_betas(covariance, own, others, CROSS_HEDGE_RIDGE)
            found = dict(zip(others, map(float, estimated), strict=True))
        else:
            for other in sorted(set(betas) - perps):
                message = f"book.cross_hedges.{asset}.{other}: no perp of {other} takes part"
                findings.problems.append(Problem("scenario", message))
            found = {place[other]: beta for other, beta in betas.items() if other in perps}
        for k, beta in found.items():
            target[k] += beta * exposure[place[asset]]
    hedged = perps | set(scenario.book.cross_hedges)
    for asset in sorted(set(names.assets) - hedged):
        if exposure[place[asset]] != 0:
            findings.notices.append(
                f"{asset} has no perp or future and no cross hedge: its exposure stays open"
            )
    return target


def _book_size(scenario: Scenario, exposure: Vector, previous: Vector) -> float:
    if scenario.book.size is not None:
        return scenario.book.size
    return float(np.abs(exposure).sum()) or float(np.abs(previous).sum()) or 1.0
