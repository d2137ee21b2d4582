"""From a loaded scenario and what was observed to a market; every problem found is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market import exposures as ex
from allocator.market.ages import table_ages
from allocator.market.beliefs import Seen, form_beliefs
from allocator.market.boxes import fixed_sides, position_boxes
from allocator.market.dated import hours_to_expiry, index_premiums, tell_of_rolls, with_carry
from allocator.market.hedged import hedged_exposure
from allocator.market.held import coin_prices, current_positions, current_prices
from allocator.market.instruments import instruments as build_instruments
from allocator.market.instruments import tier_scales, tiers_in_usd
from allocator.market.memory import Memory
from allocator.market.names import Names
from allocator.market.observed import INDEX, STATE, Observed, known, observe
from allocator.market.rules import Placed, cushion_rates, margin_scheme
from allocator.market.scheme import Scheme, bracket_scheme
from allocator.market.sense import book_size, check_horizon, check_ticks, unmet_names
from allocator.market.stresses import scaled_tiers, stress_arrays, with_haircuts
from allocator.market.transfers import transfer_routes, with_headroom
from allocator.market.types import (
    Collateral,
    Funding,
    Instrument,
    LimitSpec,
    Market,
    Matrix,
    Positions,
    Prices,
    Stresses,
)
from allocator.market.universe import Findings, Listing, expiring, listings_of, select
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import Scenario
from allocator.snapshot.read import SnapshotData
from models.arrays import Vector
from models.collateral import collateral_charge
from models.covariance_estimates import CovarianceEstimator
from models.margin import Brackets

USD = ex.USD
T = TypeVar("T")


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
    check_horizon(loaded)
    scenario, findings = loaded.scenario, Findings()
    memory = Memory(0) if memory is None else memory
    as_of, max_age = scenario.when(snapshot.newest), scenario.snapshot.max_age
    accounts = tuple((name, v.exchange, v.account) for name, v in scenario.venues.items())
    observed = memory.stage("observed", findings, lambda _: observe(snapshot, as_of), snapshot, as_of)
    memory.stage(
        "states",
        findings,
        lambda found: _check_states(scenario, snapshot, as_of, found),
        *(snapshot, as_of, max_age, accounts),
    )
    market = _assembled(_Site(loaded, observed, findings, memory, covariance_estimator))
    used = [(row.exchange, row.symbol) for row in market.instruments]
    used += [(INDEX, f"{coin}/{USD}") for coin in (*market.assets, *market.currencies)]
    ages = memory.stage(
        "ages",
        findings,
        lambda _: table_ages(known(dict(snapshot.tables), as_of), used, as_of, max_age),
        *(snapshot, market.instruments, market.assets, market.currencies, as_of, max_age),
    )
    return replace(market, ages=ages)


def assemble(loaded: LoadedScenario, observed: Observed, memory: Memory) -> Market:
    """The market of a moment in a walk, whose `observed` is put together without tables.

    Raises `DataError` as `build_market` does. Nobody asks of a walk how old each table was.
    """
    return _assembled(_Site(loaded, observed, Findings(), memory))


@dataclass(frozen=True)
class _Site:
    """What a market is built from, and where stages are remembered."""

    loaded: LoadedScenario
    observed: Observed
    findings: Findings
    memory: Memory
    estimator: CovarianceEstimator | None = None

    @property
    def scenario(self) -> Scenario:
        return self.loaded.scenario

    def stage(self, name: str, make: Callable[[Findings], T], *inputs: object) -> T:
        return self.memory.stage(name, self.findings, make, *inputs)

    # Of venues, what decides which instruments take part and how they are margined, and whose accounts and
    # balances count: the rest may change without building those again.

    @property
    def venues(self) -> tuple[object, ...]:
        return tuple((name, v.exchange, v.account, v.margin) for name, v in self.scenario.venues.items())

    @property
    def accounts(self) -> tuple[object, ...]:
        return tuple(
            (name, v.exchange, v.account, tuple(v.haircuts)) for name, v in self.scenario.venues.items()
        )


@dataclass(frozen=True)
class _Listed:
    """Instruments (n,) with their listings, their tiers in USD, and what they are worth now."""

    listings: list[Listing]
    tiers: Mapping[tuple[str, str], Brackets]
    instruments: tuple[Instrument, ...]
    prices: Prices
    reference: ex.Reference


@dataclass(frozen=True)
class _Held:
    """What the desk holds: the book's exposure and size, positions, balances; and the names of it all."""

    names: Names
    holdings: ex.Holdings
    positions: Positions
    unrealised: Vector
    balances: ex.Balances
    wallet: Vector
    coins: Matrix
    exposure: Vector
    book_usd: float


def _assembled(site: _Site) -> Market:
    loaded, scenario, findings = site.loaded, site.scenario, site.findings
    newest, horizons = site.observed.newest, scenario.horizons
    listed = _listed(site)
    held = _held(site, listed)
    names, instruments = held.names, listed.instruments
    beliefs = form_beliefs(
        Seen(scenario, newest, site.observed.history, findings, site.memory.stage),
        listed.listings,
        names,
        listed.prices,
        site.estimator,
    )
    premiums = index_premiums(instruments, listed.prices, listed.reference)
    funding = with_carry(
        beliefs.funding, listed.listings, premiums, newest.as_of, horizons.decision, horizons.holding
    )
    tell_of_rolls(listed.listings, newest.as_of, horizons.holding, findings)
    resting = held.positions.open_buys_usd + held.positions.open_sells_usd
    if resting.any():
        message = f"resting orders of ${resting.sum():,.0f} are margined as if filled, but count in no hedge"
        findings.notices.append(f"{message}: cancel them, or their fills add to what is ordered here")
    collateral = _collateral(site, held)
    stresses = _stresses(site, held, instruments, collateral, funding)
    limits = tuple(
        LimitSpec(key, limit, loaded.origin(f"limits.{key}")) for key, limit in scenario.limits.items()
    )
    target = hedged_exposure(scenario, names, held.exposure, beliefs.covariance, findings)[names.asset_of]
    left = np.array([hours_to_expiry(listing, newest.as_of) for listing in listed.listings])
    boxes = position_boxes(
        *(loaded, listed.listings, instruments, limits, held.positions.usd, target, beliefs.costs),
        closing=left <= horizons.decision,
    )
    scheme = _scheme(site, listed, names)
    findings.raise_if_any()
    market = Market(
        as_of=newest.as_of,
        decision_hours=horizons.decision,
        holding_hours=horizons.holding,
        book_usd=held.book_usd,
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
        exposure=held.exposure,
        hedged_exposure=target,
        coin_collateral=held.coins,
        cash=ex.cash_by_currency(held.holdings, names.pockets, held.wallet, names.currencies),
        scheme=scheme,
        # A long owes less margin as it loses; to count that would understate its risk.
        cushion_rate=np.where(
            target < 0,
            0.0,
            cushion_rates(scheme, 2 * np.maximum(np.abs(held.positions.usd), np.abs(target))),
        ),
        side=fixed_sides(boxes, len(instruments)),
        positions=held.positions,
        prices=listed.prices,
        funding=funding,
        costs=beliefs.costs,
        collateral=collateral,
        transfers=transfer_routes(scenario, names.pockets, held.balances.withdrawable, len(stresses.names)),
        stresses=scaled_tiers(stresses, scheme.whole_position),
        risk=beliefs.risk,
        objective=scenario.objective,
        boxes=boxes,
        limits=limits,
        notices=tuple(findings.notices),
        holdings=held.holdings.entries,
    )
    return with_headroom(market)


def _listed(site: _Site) -> _Listed:
    """Who takes part. Raises `DataError` with all that is missing or stale of them."""
    loaded, scenario, findings, newest = site.loaded, site.scenario, site.findings, site.observed.newest
    impact, max_age = scenario.objective.impact, scenario.snapshot.max_age
    closing = expiring(site.observed.state.positions, newest.terms, newest.as_of, scenario.horizons.decision)
    chosen = site.stage(
        "select",
        lambda found: select(loaded, newest, closing, found),
        *(newest, scenario.horizons, site.venues, scenario.instruments, max_age, impact.model, closing),
    )
    listings = site.stage(
        "listings",
        lambda _: listings_of(scenario.instruments, newest.terms, chosen),
        *("\n".join(" ".join(item) for item in chosen), newest.terms, scenario.instruments),
    )
    if loaded.tables:
        _report_tables(loaded, site.observed, listings, findings)
    findings.raise_if_any()
    usd = site.stage(
        "reference", lambda _: ex.reference_prices(newest, max_age.prices), newest, max_age.prices
    )
    scales = site.stage(
        "scales",
        lambda found: tier_scales(listings, newest, ex.Reference(usd, found)),
        *(listings, newest, usd),
    )
    tiers = site.stage(
        "tiers in USD",
        lambda found: tiers_in_usd(loaded, listings, newest.tiers, scales, newest.from_tables, found),
        *(listings, newest.tiers, scales, newest.from_tables, site.venues),
    )
    findings.raise_if_any()
    instruments = site.stage(
        "instruments",
        lambda found: build_instruments(loaded, listings, tiers, found),
        *(listings, tiers, site.venues),
    )
    findings.raise_if_any()
    prices = site.stage(
        "prices",
        lambda found: current_prices(listings, instruments, newest, ex.Reference(usd, found)),
        *(listings, instruments, usd, newest),
    )
    return _Listed(listings, tiers, instruments, prices, ex.Reference(usd, findings))


def _held(site: _Site, listed: _Listed) -> _Held:
    """What the desk holds among it. Raises `DataError` with all that has no place or price."""
    scenario, findings = site.scenario, site.findings
    newest, state, usd = site.observed.newest, site.observed.state, listed.reference.prices
    accounts = site.accounts
    holdings = site.stage(
        "holdings",
        lambda found: ex.holdings(state.holdings, scenario, ex.Reference(usd, found), newest.as_of),
        *(state.holdings, usd, newest.as_of, tuple(scenario.book.exclude), scenario.forecasts.currencies),
        *(scenario.horizons, accounts),
    )
    balances = site.stage(
        "balances",
        lambda found: ex.balances(
            state.collateral, scenario, listed.listings, ex.Reference(usd, found), holdings.arriving
        ),
        *(state.collateral, usd, listed.listings, holdings, accounts),
        tuple((name, tuple(v.withdrawals)) for name, v in scenario.venues.items()),
    )
    check_ticks(scenario.orders, listed.instruments, listed.prices, findings)
    findings.raise_if_any()
    names = site.stage(
        "names",
        lambda _: Names.of(scenario, listed.instruments, holdings.assets, balances.pockets),
        *(listed.instruments, tuple(holdings.assets), tuple(p.key for p in balances.pockets), accounts),
        tuple(scenario.forecasts.currencies.daily_volatility),
    )
    names.check_currencies(scenario, listed.instruments, findings)
    findings.notices.extend(unmet_names(scenario, names.assets, names.currencies))
    positions, unrealised = site.stage(
        "positions",
        lambda found: current_positions(state.positions, listed.instruments, listed.prices, found),
        *(state.positions, listed.instruments, listed.prices),
    )
    findings.raise_if_any()
    wallet = balances.wallet + np.bincount(names.pocket_of, weights=unrealised, minlength=len(names.pockets))
    coins = ex.coin_collateral(names.pockets, wallet, names.pocket_venue, names.assets, len(names.accounts))
    exposure = np.array([holdings.assets.get(asset, 0.0) for asset in names.assets]) + coins.sum(axis=0)
    book = book_size(site.loaded, exposure, positions.usd, balances.wallet, findings)
    return _Held(names, holdings, positions, unrealised, balances, wallet, coins, exposure, book)


def _collateral(site: _Site, held: _Held) -> Collateral:
    haircut, tiers = ex.haircuts(site.scenario, held.names.pockets, site.findings)
    hours = site.scenario.horizons.decision
    charges = [
        collateral_charge(1.0, v.capital_cost, v.default_probability, v.recovery, hours)
        for v in site.scenario.venues.values()
    ]
    balances = held.balances
    return Collateral(
        held.wallet,
        held.unrealised,
        haircut,
        balances.withdrawable,
        np.array(charges),
        balances.arriving,
        tiers,
    )


def _stresses(
    site: _Site,
    held: _Held,
    instruments: tuple[Instrument, ...],
    collateral: Collateral,
    funding: Funding,
) -> Stresses:
    names, stated = held.names, dict(site.scenario.stresses)
    caps, intervals = funding.cap, funding.interval_hours
    found = site.stage(
        "stresses",
        lambda _: stress_arrays(stated, instruments, names.pockets, names.currencies, caps, intervals),
        *(stated, instruments, tuple(p.key for p in names.pockets), names.currencies, caps, intervals),
    )
    return with_haircuts(found, collateral.haircut)


def _scheme(site: _Site, listed: _Listed, names: Names) -> Scheme:
    scenario, instruments = site.scenario, listed.instruments
    placed = Placed(listed.listings, names.venue_of, names.asset_of, coin_prices(instruments, listed.prices))
    # Only a rate that grows with the coins held asks for their price.
    coins = placed.coin_usd if any(v.margin.quadratic for v in scenario.venues.values()) else None

    def make(found: Findings) -> Scheme:
        try:
            stated = [listed.tiers.get((i.exchange, i.symbol)) for i in instruments]
            return margin_scheme(scenario, placed, [i.brackets for i in instruments], stated)
        except ValueError as error:
            found.problems.append(Problem("venues", str(error)))
            return bracket_scheme([i.brackets for i in instruments], np.ones(len(instruments)))

    return site.stage(
        "scheme",
        make,
        *(listed.listings, instruments, listed.tiers, site.venues, placed.venue_of, placed.asset_of, coins),
    )


def _check_states(scenario: Scenario, snapshot: SnapshotData, as_of: datetime, findings: Findings) -> None:
    """Tables that hold one state, not a history: known at `as_of`, not stale, of the scenario's accounts."""
    stated = {name: snapshot.tables[name] for name in STATE}
    own: Mapping[str, pd.DataFrame] = known(stated, as_of)
    for name in STATE:
        ex.check_known(stated[name], name, as_of, findings)
        ex.check_age(own[name], name, as_of, getattr(scenario.snapshot.max_age, name), findings)
    for name in ("positions", "collateral"):
        ex.unknown_accounts(own[name], name, scenario, findings)


def _report_tables(
    loaded: LoadedScenario, observed: Observed, listings: list[Listing], findings: Findings
) -> None:
    """What is doubtful or missing in the venue tables that the instruments rest on."""
    from allocator.venues import notices  # only where a scenario names a table

    newest = observed.newest
    findings.notices += notices.table_notices(loaded, newest.from_tables, listings, newest.as_of)
    findings.problems += notices.missing_open_interest(loaded, listings)
