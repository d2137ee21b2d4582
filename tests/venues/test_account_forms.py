"""Forms of account through files: tiers on the whole position, unified ones, liquidation fees, outages."""

from __future__ import annotations

import numpy as np
import pytest
from nova_desk import AS_OF, NOVA, SCENARIO, TABLES, read, write_desk

from allocator.allocation import allocate
from allocator.errors import DataError, ScenarioError
from allocator.margin import Shock, maintenance
from allocator.market.rules import portfolio_rules
from allocator.scenario.load import load_scenario
from allocator.scenario.margin_rules import PortfolioRule
from models.schedules import multiplied_minimum, portfolio_margin, whole_position_margin

HEAD = "time,venue,symbol,tier,floor_usd,cap_usd,maintenance_margin_rate,deduction_usd,max_leverage"
# OKX's notice on AAVEUSDT (May 2023), in contracts: 0.65 %, 1 %, 1.5 % of the whole position.
CONTRACTS = f"""\
{HEAD},cap_contracts
{AS_OF},nova,BTC/USDT:USDT,1,,,0.0065,,50,1000
{AS_OF},nova,BTC/USDT:USDT,2,,,0.01,,40,3000
{AS_OF},nova,BTC/USDT:USDT,3,,,0.015,,20,8000
"""
DOLLARS = f"""\
{HEAD}
{AS_OF},nova,BTC/USDT:USDT,1,0,1000000,0.0065,,50
{AS_OF},nova,BTC/USDT:USDT,2,1000000,3000000,0.01,,40
{AS_OF},nova,BTC/USDT:USDT,3,3000000,8000000,0.015,,20
"""
WHOLE = SCENARIO.replace(
    "    table: nova.yaml\n", "    table: nova.yaml\n    margin: {tiers: whole_position}\n"
)
ONLY_BTC = "instruments.nova_perps.symbols=[BTC/USDT:USDT]"


@pytest.mark.parametrize(("tiers", "usd"), [(CONTRACTS, 0.01 * 100_010), (DOLLARS, 1_000.0)])
def test_whole_position_tiers_of_a_snapshot_need_no_deductions(tmp_path, tiers, usd):
    path = write_desk(tmp_path, margin_tiers=tiers, scenario=WHOLE)
    _, _, market = read(path, ONLY_BTC)
    caps, rates = np.array([1000, 3000, 8000]) * usd, np.array([0.0065, 0.01, 0.015])
    assert market.scheme.whole_position[0]
    assert market.instruments[0].largest_usd == pytest.approx(caps[-1])
    # Tops of the jumps by hand: 1 % of the first cap, 1.5 % of the second; slopes 1 %, 1.75 %, held then.
    assert market.instruments[0].brackets.rates == pytest.approx([0.01, 0.0175])
    for size in (1.0, caps[0], caps[0] * 1.0001, caps[1], caps[2]):
        x = np.array([-size, 0.0])
        true = maintenance(market, x, Shock.of(market, 0), "true")[0]
        assert true == pytest.approx(whole_position_margin(size, caps, rates), rel=1e-12)
        assert true <= maintenance(market, x, Shock.of(market, 0), "program")[0] * (1 + 1e-12)


def test_orders_and_result_charge_the_true_tier(tmp_path):
    path = write_desk(tmp_path, margin_tiers=CONTRACTS, scenario=WHOLE)
    found = allocate(load_scenario(path, sets=[ONLY_BTC]))
    assert found.audit.passed
    assert found.rounded.check.passed
    (position,) = [r for r in found.result["positions"] if r["venue"] == "nova"]
    (venue,) = [r for r in found.result["venues"] if r["venue"] == "nova"]
    contracts = abs(position["target_contracts"])
    rate = 0.0065 if contracts <= 1000 else 0.01 if contracts <= 3000 else 0.015
    assert contracts > 1000
    assert venue["maintenance_margin_usd"] == pytest.approx(rate * abs(position["rounded_usd"]), abs=0.005)


def test_tiers_without_deductions_are_refused_where_tiers_are_marginal(tmp_path):
    path = write_desk(tmp_path, margin_tiers=DOLLARS)
    with pytest.raises(DataError, match=r"nova BTC/USDT:USDT: its margin_tiers have no deductions") as caught:
        read(path, ONLY_BTC)
    (problem,) = caught.value.problems
    assert "venues.nova.margin.tiers: whole_position" in problem.message


def test_deductions_that_are_not_used_are_told(tmp_path):
    tiers = DOLLARS.replace(",0.0065,,", ",0.0065,0,").replace(",0.01,,", ",0.01,3500,")
    path = write_desk(tmp_path, margin_tiers=tiers.replace(",0.015,,", ",0.015,18500,"), scenario=WHOLE)
    _, _, market = read(path, ONLY_BTC)
    words = "nova BTC/USDT:USDT: deduction_usd of its margin_tiers is not used"
    assert [notice for notice in market.notices if notice.startswith(words)]
    # The table's own deductions are computed, nobody stated them.
    _, _, market = read(write_desk(tmp_path, margin_tiers=DOLLARS, scenario=WHOLE), ONLY_BTC)
    assert not [notice for notice in market.notices if "is not used" in notice]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",,,0.01,,40,3000", ",1,2,0.01,,40,3000", "`cap_contracts` stands alone"),
        (",,,0.01,,40,3000", ",,,0.01,5,40,3000", "`cap_contracts` stands alone"),
        (",,,0.01,,40,3000", ",,,0.01,,40,", "`cap_contracts` stands alone"),
        ("50,1000", "50,4000", "bracket 2: cap"),
        (",,,0.015", ",,,0.005", "bracket 3: rate"),
        ("1,,,0.0065,,50,1000", "1,,,0,,50,1000", "bracket 1: rate"),
    ],
)
def test_mixed_or_wrong_tiers_in_contracts_are_refused_at_the_door(tmp_path, old, new, words):
    assert old in CONTRACTS
    with pytest.raises(DataError) as caught:
        read(write_desk(tmp_path, margin_tiers=CONTRACTS.replace(old, new), scenario=WHOLE), ONLY_BTC)
    assert [problem for problem in caught.value.problems if words in problem.message]
    assert all(problem.source.startswith("margin_tiers.csv:") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1000000,0.0065", ",0.0065", "lacks floor_usd or cap_usd"),
        (",0.01,,", ",0.01,3500,", "deduction_usd is empty in some tiers"),
    ],
)
def test_mixed_tiers_in_dollars_are_refused_at_the_door(tmp_path, old, new, words):
    with pytest.raises(DataError, match=words):
        read(write_desk(tmp_path, margin_tiers=DOLLARS.replace(old, new, 1), scenario=WHOLE), ONLY_BTC)


def test_okx_counts_the_liquidation_fee_as_margin(tmp_path):
    """Adjusted equity over (maintenance margin + fee): brackets by hand, and 5 bp of the notional."""
    sets = ("venues.nova.margin.liquidation_fee=5bp", "stresses={}")
    _, _, market = read(write_desk(tmp_path), *sets)
    x = np.array([-3e6, 5e5, 0.0])
    by_hand = (0.01 * 3e6 - 5e3) + 0.005 * 5e5 + 0.0005 * 3.5e6
    for form in ("program", "true"):
        assert maintenance(market, x, Shock.of(market, 0), form)[0] == pytest.approx(by_hand, abs=0.005)
    _, _, market = read(write_desk(tmp_path, margin_tiers=DOLLARS, scenario=WHOLE), ONLY_BTC, *sets)
    true = maintenance(market, np.array([-2e6, 0.0]), Shock.of(market, 0), "true")[0]
    assert true == pytest.approx(0.0105 * 2e6, abs=0.005)


def test_a_wrong_haircut_tier_is_told_with_its_line(tmp_path):
    nova = "    haircuts: {USDT: 0}\n"
    tiers = "    haircut_tiers: {USDT: [{cap: $2m, haircut: 5%}, {cap: $1m, haircut: 1%}]}\n"
    cases = {
        "    haircuts: {USDT: tiered}\n": ["there are no tiers; write a share such as 5%"],
        "    haircuts: {USDT: tiered}\n" + tiers: [
            "is not above the tier before",
            "is below the tier before",
        ],
        "    haircuts: {USDT: tierd}\n": ["or `tiered`"],
        "    haircuts: {USDT: 120%}\n": ["at most 100%"],
    }
    for text, words in cases.items():
        path = write_desk(tmp_path, scenario=SCENARIO.replace(nova, text))
        with pytest.raises(ScenarioError) as caught:
            load_scenario(path)
        said = [(problem.source, problem.message) for problem in caught.value.problems]
        assert len(said) == len(words), said
        for word in words:
            assert next(source for source, message in said if word in message).startswith("scenario.yaml:")


def test_tiers_of_a_table_count_where_the_scenario_says_tiered(tmp_path):
    tiers = "collateral: {tiers: {USDT: [{cap: $1m, haircut: 0}, {cap: $5m, haircut: 10%}]}, source: page}\n"
    nova = NOVA.replace("instruments:\n", tiers + "instruments:\n", 1)
    path = write_desk(
        tmp_path, nova=nova, scenario=SCENARIO.replace("haircuts: {USDT: 0}", "haircuts: {USDT: tiered}")
    )
    found = allocate(load_scenario(path))
    assert found.audit.passed
    assert found.market.collateral.tiers[0].haircuts.tolist() == [0.0, 0.1]
    free = allocate(load_scenario(path, sets=["venues.nova.haircuts={USDT: 0}"]))
    (less,), (more,) = (
        [row["equity_usd"] for row in a.result["venues"] if row["venue"] == "nova"] for a in (found, free)
    )
    # Of $3m less costs, $2m lie in the second tier.
    assert more - less == pytest.approx(0.1 * (more - 1e6), abs=1.0)
    notices = [n for n in free.market.notices if "haircut_tiers" in n]
    assert notices == ["venues.nova.haircuts.USDT: 0 of every balance; write `tiered` for its haircut_tiers"]


UNIFIED = """\
schema_version: 1
name: unified
horizons: {decision: 24h, holding: 14d}
snapshot: {folder: data}
venues:
  unified: {table: binance_pm, haircuts: {USDT: 0, BTC: tiered}}
instruments:
  all: {venue: unified, symbols: all}
forecasts:
  assets: {method: given, daily_volatility: {BTC: 2.5%}, correlation: 0.8}
  basis: {method: given, level: 6bp, half_life: 2h}
  currencies: {daily_volatility: {USDT: 5bp}}
objective: {risk_aversion_per_usd: 1.0e-7, impact: {model: none}}
limits:
  uni_mmr: {kind: maintenance_margin, venues: [unified], stresses: [], buffer: 1.5x}
orders: {checks: {adv_share: null}}
"""
COLUMNS = "venue_symbol,lot_contracts,tick,min_contracts,min_notional_usd,funding_interval_hours,funding_cap"
UNIFIED_TABLES = {
    "instruments": f"time,venue,symbol,half_spread,adv_usd,{COLUMNS}\n"
    f"{AS_OF},binance,BTC/USDT:USDT,0.000005,5e9,,,,,,,\n"
    f"{AS_OF},binance,BTC/USD:BTC,0.00001,1e9,BTCUSD_PERP,1,0.1,1,0,8,0.003\n",
    "prices": f"time,venue,symbol,price\n{AS_OF},index,BTC/USD,20000\n{AS_OF},index,USDT/USD,1\n"
    f"{AS_OF},binance,BTC/USDT:USDT,20000\n{AS_OF},binance,BTC/USD:BTC,20000\n",
    "funding": TABLES["funding"]
    .replace("nova", "binance")
    .replace("coinbay", "binance")
    .replace(",1\n", ",8\n"),
    "margin_tiers": f"{HEAD}\n{AS_OF},binance,BTC/USD:BTC,1,0,10000000000,0.1,0,5\n",
    "holdings": f"time,name,kind,asset,coins,confidence\n{AS_OF},vault,spot,BTC,60000,1\n",
    "collateral": "time,venue,account,currency,coins,withdrawable_coins\n"
    f"{AS_OF},binance,main,BTC,6000,0\n{AS_OF},binance,main,USDT,-20000000,0\n",
}


def unified(tmp_path, **sets):
    tables = {**UNIFIED_TABLES, **sets}
    rows = [line for line in tables["funding"].splitlines() if "ETH" not in line and "23:00" not in line]
    tables["funding"] = "\n".join(rows) + "\n"
    return write_desk(tmp_path, scenario=UNIFIED, **tables)


def test_binance_portfolio_margin_is_a_table_and_a_limit(tmp_path):
    """uniMMR ≥ 1.5 over USD-M and COIN-M together binds; a loan takes no haircut; no initial margin."""
    found = allocate(load_scenario(unified(tmp_path)))
    assert found.audit.passed
    assert found.rounded.check.passed
    x = dict(
        zip([i.symbol for i in found.market.instruments], found.solution.decision.positions, strict=True)
    )
    (row,) = found.result["venues"]
    costs = sum(r["trading_usd"] for r in found.result["positions"] if r["symbol"] == "BTC/USDT:USDT")
    coin_costs = sum(r["trading_usd"] for r in found.result["positions"] if r["symbol"] == "BTC/USD:BTC")
    # Adjusted equity: 6,000 BTC are 119.5m, less costs paid in each currency, less the loan whole.
    assert row["equity_usd"] == pytest.approx(119.5e6 - 0.975 * coin_costs - 20e6 - costs, abs=1.0)
    usdm, coinm = -x["BTC/USDT:USDT"], -x["BTC/USD:BTC"]
    by_tier = max(0.004 * usdm, *(r * usdm - c for r, c in BTCUSDT))
    assert row["equity_usd"] == pytest.approx(1.5 * (by_tier + 0.1 * coinm), rel=1e-4)
    assert min(usdm, coinm) > 1e8
    assert row["equity_usd"] / row["maintenance_margin_usd"] == pytest.approx(1.5, rel=1e-4)
    assert row["initial_margin_usd"] == 0.0
    prices = {(r["name"], r["subject"]): r["shadow_price_usd"] for r in found.result["limits"]}
    assert prices["limits.uni_mmr.buffer", "unified now"] > 0
    # Without a leverage to choose, the last tier is the largest position.
    assert {i.symbol: i.largest_usd for i in found.market.instruments}["BTC/USDT:USDT"] == 1.8e9


BTCUSDT = (
    (0.005, 300), (0.0065, 1_500), (0.01, 12_000), (0.02, 132_000), (0.025, 482_000), (0.05, 2_982_000),
    (0.1, 14_482_000), (0.125, 26_482_000), (0.15, 41_482_000), (0.25, 121_482_000), (0.5, 421_482_000),
)  # fmt: skip


def test_okx_minimum_charge_multiplies_as_it_grows(told):
    # The notice's example: a charge of 30,000, of which 10,000 count once and 20,000 twice, is 50,000 ...
    notice = multiplied_minimum(0.01, np.array([10e3, np.inf]), np.array([1.0, 2.0]))
    assert np.max(notice.rates * 3e6 - notice.deductions_usd) == pytest.approx(50_000.0, abs=0.005)
    # ... which is above the 40,000 of the grid: 12 % of a net of 333,333.33, gross 3m.
    rule = {
        "grid": [{"move": "-12%"}, {"move": "12%"}],
        "minimum": "1%",
        "minimum_tiers": [{"cap": "$10k", "multiplier": "1x"}, {"multiplier": "2x"}],
        "initial_factor": "1.3x",
    }
    rules = portfolio_rules(PortfolioRule.model_validate(rule))
    held = np.array([5e6 / 3, -4e6 / 3])
    assert 0.12 * held.sum() == pytest.approx(40_000.0)
    assert portfolio_margin(held, rules) == pytest.approx(50_000.0, abs=0.005)
    # Since January 2025: 1, 2, 4, 6, 8, 10, 12 times, at 250k, 500k, 1m, 2m, 3m, 4m.
    caps = np.array([250e3, 500e3, 1e6, 2e6, 3e6, 4e6, np.inf])
    times = np.array([1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    rows = multiplied_minimum(0.005, caps, times)
    widths = np.diff(caps[:-1], prepend=0.0)
    for charge in (1e5, 250e3, 700e3, 4.5e6):
        by_hand = float(np.clip(charge - (caps[:-1] - widths), 0, widths) @ times[:-1]) + 12 * max(
            charge - 4e6, 0
        )
        assert np.max(rows.rates * charge / 0.005 - rows.deductions_usd) == pytest.approx(by_hand, abs=0.005)
    gross = np.random.default_rng(8).uniform(0, 2e9, 20_000).reshape(2, -1)
    margin = np.max(np.multiply.outer(gross, rows.rates) - rows.deductions_usd, axis=-1)
    middle = np.max(np.multiply.outer(gross.mean(axis=0), rows.rates) - rows.deductions_usd, axis=-1)
    assert np.all(middle <= margin.mean(axis=0) + 1e-6)
    with told():
        flat = margin / (0.005 * gross)
        print(f"adjusted minimum over the flat charge: worst {flat.max():.2f}, median {np.median(flat):.2f}")


@pytest.mark.parametrize(
    ("tiers", "words"),
    [
        ([{"cap": "$1m", "multiplier": "1x"}], "without a cap"),
        (
            [{"cap": "$2m", "multiplier": "1x"}, {"cap": "$1m", "multiplier": "2x"}, {"multiplier": "3x"}],
            "must rise",
        ),
        ([{"cap": "$2m", "multiplier": "2x"}, {"multiplier": "1x"}], "not convex"),
    ],
)
def test_minimum_tiers_out_of_order_are_refused(tiers, words):
    rule = {"grid": [{"move": "12%"}], "minimum": "1%", "minimum_tiers": tiers, "initial_factor": "1.3x"}
    with pytest.raises(ValueError, match=words):
        PortfolioRule.model_validate(rule)
    with pytest.raises(ValueError, match="write it too"):
        PortfolioRule.model_validate({**rule, "minimum": 0, "minimum_tiers": [{"multiplier": "1x"}]})


@pytest.mark.parametrize(
    ("text", "words"),
    [("{kind: venue_outage}", "write `max`"), ("{kind: venue_outage, max_loss: $1m}", "needs `recovery`")],
)
def test_an_outage_states_what_it_bounds_and_what_comes_back(tmp_path, text, words):
    path = write_desk(tmp_path)
    with pytest.raises(ScenarioError, match=words):
        load_scenario(path, sets=[f"limits.outage={text}"])


def test_an_outage_s_loss_and_naked_delta_are_rows_of_the_result(tmp_path):
    sets = [
        "limits.outage={kind: venue_outage, max: $9m, max_loss_share: 60%, recovery: 40%, stresses: [rally]}"
    ]
    found = allocate(load_scenario(write_desk(tmp_path), sets=sets))
    rows = {(r["name"], r["subject"]): r for r in found.result["limits"] if r["kind"] == "venue_outage"}
    names = {name for name, _ in rows}
    assert names == {"limits.outage.max", "limits.outage.max_loss"}
    x = {
        i.key: float(p)
        for i, p in zip(found.market.instruments, found.solution.decision.positions, strict=True)
    }
    lost = rows["limits.outage.max_loss", "nova now"]
    assert lost["value"] == pytest.approx(0.6 * 3e6)
    assert lost["bound"] == pytest.approx(0.6 * found.market.book_usd)
    rally = rows["limits.outage.max_loss", "nova rally"]["value"]
    held = x["nova BTC/USDT:USDT"] + x["nova ETH/USDT:USDT"]
    assert rally == pytest.approx(0.6 * (3e6 + 0.3 * held), rel=1e-9)
