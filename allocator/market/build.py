"""From a loaded scenario and its snapshot to a market; every problem found is reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pandas as pd

from allocator.errors import Problem
from allocator.market import exposures as ex
from allocator.market.ages import table_ages
from allocator.market.beliefs import Seen, form_beliefs
from allocator.market.boxes import fixed_sides, position_boxes
from allocator.market.dated import index_premiums, tell_of_rolls, with_carry
from allocator.market.hedged import hedged_exposure
from allocator.market.held import coin_prices, current_positions, current_prices
from allocator.market.history import History
from allocator.market.instruments import instruments as build_instruments
from allocator.market.instruments import newest_tiers, tiers_in_usd
from allocator.market.memory import Memory
from allocator.market.names import Names
from allocator.market.rules import Placed, cushion_rates, margin_scheme
from allocator.market.scheme import Scheme, bracket_scheme
from allocator.market.sense import book_size, check_horizon, check_ticks, unmet_names
from allocator.market.stresses import scaled_tiers, stress_arrays
from allocator.market.transfers import transfer_routes, with_headroom
from allocator.market.types import Collateral, Instrument, LimitSpec, Market
from allocator.market.universe import INDEX, Findings, Listing, known, listed_rows, newest_values, select
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import Scenario
from allocator.snapshot.read import SnapshotData
from models.arrays import Vector
from models.collateral import collateral_charge
from models.covariance_estimates import CovarianceEstimator
from models.margin import Brackets

USD = ex.USD
STATE = ("holdings", "positions", "collateral")  # tables of one state of the desk, not of its past


def build_market(
    loaded: LoadedScenario,
    snapshot: SnapshotData,
    covariance_estimator: CovarianceEstimator | None = None,
    memory: Memory | None = None,
    history: History | None = None,
    state: Mapping[str, pd.DataFrame] | None = None,
) -> Market:
    """Assemble the market at the scenario's `as_of` from what the snapshot knew then.

    A `covariance_estimator` with scikit-learn's interface (`fit`, `covariance_`) takes the place of
    `forecasts.assets.method`; give the market it makes to `allocate`. With one `memory` for many scenarios
    of one snapshot, the slow stages are computed again only where something they depend on differs.
    A walk through time gives the `history` that forecasts are made from, of which the snapshot then needs the
    newest rows only, and the `state` of a desk, tables `STATE` in place of the snapshot's.
    Raises `DataError` naming everything missing, stale or inconsistent.
    """
    scenario = loaded.scenario
    check_horizon(loaded)
    as_of = scenario.when(snapshot.newest)
    findings, stage = Findings(), (Memory(0) if memory is None else memory).stage
    tables = stage("known", findings, lambda _: known(dict(snapshot.tables), as_of), snapshot, as_of)
    stated = {name: (state or snapshot.tables)[name] for name in STATE}
    own = known(stated, as_of) if state else {name: tables[name] for name in STATE}
    max_age = scenario.snapshot.max_age
    accounts = tuple((name, v.exchange, v.account) for name, v in scenario.venues.items())
    stage(
        "states",
        findings,
        lambda found: _check_states(scenario, stated, own, as_of, found),
        *(tuple(own.values()), tuple(stated.values()), as_of, max_age, accounts),
    )
    # Of venues, what decides which instruments take part: the rest may change without choosing again.
    venues = tuple((name, v.exchange, v.account, v.margin) for name, v in scenario.venues.items())
    horizons, impact = scenario.horizons, scenario.objective.impact
    terms = tables["instruments"]
    listed = stage("listed", findings, lambda _: listed_rows(terms), terms)
    listings = stage(
        "select",
        findings,
        lambda found: select(loaded, tables, as_of, found, snapshot.from_tables, listed),
        *(tables, snapshot, as_of, horizons, venues, scenario.instruments, max_age, impact.model),
    )
    if loaded.tables:
        _report_tables(loaded, snapshot, listings, as_of, findings)
    findings.raise_if_any()
    # The last of each is all that is asked of prices from here on, but for forecasts.
    last = stage(
        "last",
        findings,
        lambda _: tables["prices"].drop_duplicates(["venue", "symbol"], keep="last"),
        tables,
    )
    usd_prices = stage(
        "reference",
        findings,
        lambda found: ex.reference_prices(last, as_of, max_age.prices, found).prices,
        *(last, as_of, max_age),
    )
    reference = ex.Reference(usd_prices, findings)
    marks = stage("marks", findings, lambda _: newest_values(last, "price"), last)
    rows = tables["margin_tiers"]
    steps = stage("tiers", findings, lambda _: newest_tiers(rows), rows)
    tiers = stage(
        "tiers in USD",
        findings,
        lambda found: tiers_in_usd(
            loaded, listings, steps, marks, ex.Reference(usd_prices, found), snapshot.from_tables
        ),
        *(listings, steps, marks, usd_prices, snapshot, venues),
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
        lambda found: current_prices(listings, instruments, last, ex.Reference(usd_prices, found)),
        *(listings, usd_prices, last),
    )
    haircuts = tuple(tuple(v.haircuts) for v in scenario.venues.values())
    held = stage(
        "holdings",
        findings,
        lambda found: ex.holdings(own["holdings"], scenario, ex.Reference(usd_prices, found), as_of),
        *(own["holdings"], usd_prices, as_of, tuple(scenario.book.exclude), scenario.forecasts.currencies),
        *(horizons, accounts, haircuts),
    )
    balances = stage(
        "balances",
        findings,
        lambda found: ex.balances(
            own["collateral"], scenario, listings, ex.Reference(usd_prices, found), held.arriving
        ),
        *(own["collateral"], usd_prices, listings, held, accounts, haircuts),
        tuple(tuple(v.withdrawals) for v in scenario.venues.values()),
    )
    check_ticks(scenario.orders, instruments, prices, findings)
    findings.raise_if_any()
    names = Names.of(scenario, instruments, held, balances.pockets)
    names.check_currencies(scenario, instruments, findings)
    findings.notices.extend(unmet_names(scenario, names.assets, names.currencies))
    positions, unrealised = stage(
        "positions",
        findings,
        lambda found: current_positions(own["positions"], instruments, prices, found),
        *(own["positions"], instruments, prices),
    )
    findings.raise_if_any()
    wallet = balances.wallet + np.bincount(names.pocket_of, weights=unrealised, minlength=len(names.pockets))
    coins = ex.coin_collateral(names.pockets, wallet, names.pocket_venue, names.assets, len(names.accounts))
    exposure = np.array([held.assets.get(asset, 0.0) for asset in names.assets]) + coins.sum(axis=0)
    book = book_size(loaded, exposure, positions.usd, balances.wallet, findings)
    beliefs = form_beliefs(
        Seen(scenario, tables, as_of, findings, stage, history), listings, names, prices, covariance_estimator
    )
    funding, costs = beliefs.funding, beliefs.costs
    premiums = index_premiums(instruments, prices, reference)
    funding = with_carry(funding, listings, premiums, as_of, horizons.decision, horizons.holding)
    tell_of_rolls(listings, as_of, horizons.holding, findings)
    haircut, haircut_tiers = ex.haircuts(scenario, names.pockets, findings)
    caps, intervals = funding.cap, funding.interval_hours
    stresses = stage(
        "stresses",
        findings,
        lambda _: stress_arrays(
            scenario.stresses, instruments, names.pockets, names.currencies, haircut, caps, intervals
        ),
        *(dict(scenario.stresses), instruments, tuple(p.key for p in names.pockets), names.currencies),
        *(haircut, caps, intervals),
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
    target = hedged_exposure(scenario, names, exposure, beliefs.covariance, findings)
    boxes = position_boxes(
        loaded, listings, instruments, limits, positions.usd, target[names.asset_of], costs
    )
    placed = Placed(listings, names.venue_of, names.asset_of, coin_prices(instruments, prices))
    scheme = stage(
        "scheme",
        findings,
        lambda found: _scheme(scenario, placed, instruments, tiers, found),
        *(listings, instruments, tiers, venues, placed.venue_of, placed.asset_of, placed.coin_usd),
    )
    findings.raise_if_any()
    market = Market(
        as_of=as_of,
        decision_hours=scenario.horizons.decision,
        holding_hours=scenario.horizons.holding,
        book_usd=book,
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
        stresses=stage(
            "scaled stresses",
            findings,
            lambda _: scaled_tiers(stresses, scheme.whole_position),
            *(stresses, scheme),
        ),
        risk=beliefs.risk,
        objective=scenario.objective,
        boxes=boxes,
        limits=limits,
        notices=tuple(findings.notices),
        holdings=held.entries,
        # Of a walk nobody asks how old the newest rows are.
        ages=()
        if history is not None
        else stage(
            "ages",
            findings,
            lambda _: table_ages(
                {**tables, **own},
                [(row.exchange, row.symbol) for row in instruments]
                + [(INDEX, f"{coin}/{USD}") for coin in (*names.assets, *names.currencies)],
                as_of,
                max_age,
            ),
            *(tables, tuple(own.values()), instruments, names.assets, names.currencies, as_of, max_age),
        ),
    )
    return with_headroom(market)


def _check_states(
    scenario: Scenario,
    stated: Mapping[str, pd.DataFrame],
    own: Mapping[str, pd.DataFrame],
    as_of: datetime,
    findings: Findings,
) -> None:
    """Tables that hold one state, not a history: known at `as_of`, not stale, of the scenario's accounts."""
    for name in STATE:
        ex.check_known(stated[name], name, as_of, findings)
        ex.check_age(own[name], name, as_of, getattr(scenario.snapshot.max_age, name), findings)
    for name in ("positions", "collateral"):
        ex.unknown_accounts(own[name], name, scenario, findings)


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


def _charges(scenario: Scenario) -> Vector:
    return np.array(
        [
            collateral_charge(
                1.0, v.capital_cost, v.default_probability, v.recovery, scenario.horizons.decision
            )
            for v in scenario.venues.values()
        ]
    )
