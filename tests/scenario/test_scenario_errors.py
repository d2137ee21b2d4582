"""Every kind of mistake, with the exact line and what to write instead."""

from __future__ import annotations

import pytest
from scenario.scenario_texts import MINIMAL, line_of, minimal

from allocator.errors import ScenarioError
from allocator.scenario.load import load_scenario


def problems(folder, text, **options):
    (folder / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(folder / "s.yaml", **options)
    return [(problem.source, problem.message) for problem in caught.value.problems]


# What to replace in the minimal scenario, by what, the text whose line is named, and what is said.
BAD = [
    ("name: minimal", "nmae: minimal", "nmae", "nmae: unknown key; did you mean `name`?"),
    ("    max: $100k", "    maxx: $100k", "maxx", "limits.btc.maxx: unknown key; did you mean `max`?"),
    ("    max: $100k\n", "", "  btc:", "limits.btc.max: missing; write an amount such as $250k or $1.2m"),
    ("horizons: {holding: 7d}", "horizons: {}", "horizons:", "horizons.holding: missing; write a duration"),
    ("name: minimal\n", "", "schema_version", "name: missing; write text"),
    ("schema_version: 1", "schema_version: 2", "schema_version", "`2` is not allowed; write `1`"),
    (
        "schema_version: 1",
        "schema_version: true",
        "schema_version",
        "schema_version: must be a whole number; write `1`",
    ),
    ("name: minimal", "name: a/b", "name:", "`a/b` cannot be a file name"),
    ("name: minimal", "name: 12", "name:", 'name: `12` is not text; write it in quotes: "12"'),
    ("holding: 7d", "holding: 7", "holding", "horizons.holding: 7 has no unit; write a duration"),
    ("holding: 7d", "holding: 7 days", "holding", "cannot read '7 days'; write a duration"),
    (
        "holding: 7d",
        "holding: -7d",
        "holding",
        "`-7d` is out of range; write a duration such as 24h, 90m or 3d",
    ),
    ("holding: 7d", "holding: 2h", "holding", "2h is shorter than the decision horizon; write at least 24h"),
    ("haircuts: {USDT: 0}", "haircuts: {USDT: 120%}", "120%", "at least 0% and at most 100%"),
    (
        "haircuts: {USDT: 0}",
        "haircuts: [USDT]",
        "[USDT]",
        "haircuts: a list is not allowed; write a map of names",
    ),
    ("{maker: 2bp, taker: 5bp}", "{maker: 2bp, taker: 0.05}", "0.05", "fees.taker: 0.05 has no unit"),
    ("{maker: 2bp, taker: 5bp}", "{maker: 2bp}", "fees", "venues.binance.fees.taker: missing"),
    (
        "kind: net_delta",
        "kind: net_dleta",
        "net_dleta",
        "unknown kind `net_dleta`; did you mean `net_delta`? kinds: ",
    ),
    ("    kind: net_delta\n", "", "  btc:", "limits.btc.kind: missing; write one of net_delta, hedge_ratio"),
    (
        "    kind: net_delta\n",
        "    kind: net_delta\n    assets: BTC\n",
        "assets:",
        "`all` or a list of names",
    ),
    (
        "    kind: net_delta\n",
        "    kind: net_delta\n    assets: [BTC, 1]\n",
        "assets:",
        "assets[1]: `1` is not text",
    ),
    ("    min: -$100k", "    min: $200k", "$200k", "limits.btc.min: is above `max`; swap them"),
    (
        "venue: binance",
        "venue: binnance",
        "binnance",
        "`binnance` is not among `venues`; did you mean `binance`?",
    ),
    ("venue: okx", "venue: zzz", "zzz", "`zzz` is not among `venues`; known: binance, okx"),
    (
        "[BTC/USDT:USDT, ETH/USDT:USDT]",
        "[A, A]",
        "[A, A]",
        "`A` of venue `binance` is already named by instr",
    ),
    ("symbols: all", "symbols: ALL", "symbols: ALL", "is not allowed; write `all` or a list of names"),
    (
        "leverage: 5x",
        "leverage: 0x",
        "leverage: 0x",
        "is out of range; write a multiple such as 10x, more than 0x",
    ),
    (
        "leverage: 5x",
        "leverage: 5x\n    no_trade: yes",
        "no_trade",
        "`yes` is not allowed; write `true` or `false`",
    ),
    ("leverage: 5x", "leverage: 5x\n    on_missing: dorp", "dorp", "`error` or `drop`; did you mean `drop`?"),
    ("model: book", "model: boook", "boook", "`book` or `square_root` or `none`; did you mean `book`?"),
    ("  impact:", "  mode: min_variance\n  impact:", "mode:", "`min_variance` needs `objective.cost_budget`"),
    ("  impact:", "  mode: min_cost\n  impact:", "mode:", "`min_cost` needs `objective.volatility_limit`"),
    ("  impact:", '  tie_break: "1e-3"\n  impact:', "tie_break", "write a number"),
    ("{move: -30%}", "{move: -130%}", "-130%", "cannot fall by 100% or more"),
    ("{move: -30%}", "{basis: {okkx: 1%}}", "okkx", "`okkx` is not among `venues`; did you mean `okx`?"),
    ("{move: -30%}", "-30%", "-30%", "stresses.crash: `-30%` is not allowed; write a map of keys"),
    ("name: minimal", "name: minimal\nas_of: 2026-09-01T00:00:00", "as_of", "names no time zone"),
    ("name: minimal", "name: minimal\nas_of: 2026-09-01", "as_of", "names no time zone"),
    ("name: minimal", "name: minimal\nas_of: today", "as_of", "as_of: `today` is no time"),
    ("name: minimal", "name: minimal\nas_of: 1700000000", "as_of", "as_of: 1700000000 is no time"),
    (
        "name: minimal",
        "name: minimal\norders: {post_only: true, type: market}",
        "orders",
        "a market order never rests",
    ),
    (
        "name: minimal",
        "name: minimal\norders: {post_only: true, time_in_force: ioc}",
        "orders",
        "an ioc order never",
    ),
    (
        "name: minimal",
        "name: minimal\norders: null",
        "orders",
        "orders: an empty value is not allowed; write a map",
    ),
    (
        "name: minimal",
        "name: minimal\nbook: {cross_hedges: {X: estimatd}}",
        "book",
        "did you mean `estimated`?",
    ),
    (
        "name: minimal",
        "name: minimal\nbook: {cross_hedges: {X: {B: y}}}",
        "book",
        "X.B: `y` is not allowed; write a num",
    ),
    ("name: minimal", "name: minimal\nextends: [a]", "extends", "write the path of one scenario file"),
    ("name: minimal", "name: minimal\nextends: no.yaml", "extends", "there is no file no.yaml"),
    ("name: minimal", "name: minimal\nextends: s.yaml", "extends", "in a circle: s.yaml -> s.yaml"),
    ("name: minimal", "name: minimal\nextends: .", "extends", ". is not a file"),
    ("name: minimal", "name: minimal\noverlays: [a]", "overlays", "overlays: write a map of names"),
    (
        "name: minimal",
        "name: minimal\noverlays: {a: 1}",
        "overlays",
        "overlays.a: write a map of the keys to change",
    ),
    (
        "name: minimal",
        "name: minimal\noverlays: {a: {use: b}}",
        "overlays",
        "a.use: write a list of overlay names",
    ),
    ("name: minimal", "name: minimal\noverlays: {a: {use: [b]}}", "overlays", "there is no overlay `b`"),
    ("name: minimal", "name: minimal\noverlays: {a: {use: [a]}}", "overlays", "in a circle: a -> a"),
    ("name: minimal", "name: minimal\noverlays: {a: {extends: b}}", "overlays", "not allowed in an overlay"),
    ("name: minimal", "name: minimal\noverlays: {a: {oders: {}}}", "overlays", "did you mean `orders`?"),
    (
        "name: minimal",
        "name: minimal\noverlays: {a: {limits: {x: {mx: $1}}}}",
        "overlays",
        "x.mx: unknown key; did you",
    ),
    ("name: minimal", "name: minimal\noverlays: {a.b: {}}", "overlays", "a name has letters, digits"),
    ("name: minimal", "name: minimal\nname: again", "name: again", "`name` is written twice"),
    ("  btc:\n", "  b.t:\n", "b.t", 'limits."b.t": a name has letters, digits, `_` and `-` only'),
    ("stresses:\n", "stresses:\n  gone: null\n", "gone", "stresses.gone: nothing to remove with `null`"),
    (
        "haircuts: {USDT: 0}",
        "haircuts: {USDT: 0}\n    withdrawals: {USDC: {delay: 1h}}",
        "USDC",
        "`USDC` has no haircut",
    ),
    (
        "  okx:\n",
        "  twin:\n    exchange: binance\n    fees: {maker: 0, taker: 0}\n    haircuts: {}\n  okx:\n",
        "twin",
        "venues.twin: is account `main` of exchange `binance`, as is `venues.binance`",
    ),
    (
        "stresses:\n",
        "  share: {kind: venue_share, of: gross, max: 50%}\n  hedge_side: null\nstresses:\n",
        "share:",
        "add a hard limit of kind `hedge_side`, or write `of: book`",
    ),
    (
        "stresses:\n",
        "  share: {kind: venue_share, of: gross, max: 50%}\n  hedge_side: {soft: 10bp}\nstresses:\n",
        "share:",
        "a share of gross is convex only with signs fixed",
    ),
    (
        "stresses:\n",
        "  g: {kind: gross, max: $1, venues: [bnance]}\nstresses:\n",
        "bnance",
        "did you mean `binance`",
    ),
    (
        "stresses:\n",
        "  m: {kind: maintenance_margin, buffer: 1x, stresses: [crsh]}\nstresses:\n",
        "crsh",
        "limits.m.stresses[0]: `crsh` is not among `stresses`; did you mean `crash`?",
    ),
    (
        "  second:\n",
        "  third: {venue: okx, symbols: all, assets: [SOL], leverage: 2x}\n  second:\n",
        "  second:",
        "instruments.second.symbols: selects `all` where `instruments.third` does too",
    ),
    (
        "{folder: data}",
        "{folder: data, tables: {prices: [1]}}",
        "tables",
        "tables.prices[0]: `1` is not allowed; write",
    ),
    ("{folder: data}", "{folder: data, tables: {prices: [{a: .nan}]}}", "tables", "not a finite number"),
]


@pytest.mark.parametrize(("old", "new", "where", "message"), BAD)
def test_one_mistake_is_named_with_its_line(tmp_path, old, new, where, message):
    text = minimal(old, new)
    found = problems(tmp_path, text)
    assert len(found) == 1, found
    line = line_of(text, where) + (2 if "selects `all`" in message else 0)
    assert found[0][0] == f"s.yaml:{line}"
    assert message in found[0][1]


def test_every_mistake_at_once_in_the_order_of_lines(tmp_path):
    text = (
        MINIMAL.replace("holding: 7d", "holding: 7").replace("venue: okx", "venue: ok").replace("10x", "10")
    )
    text = text.replace("kind: net_delta", "kind: gros").replace("name:", "nam:") + "bogus: 1\n"
    found = problems(tmp_path, text)
    lines = [int(source.split(":")[1]) for source, _ in found]
    assert lines == sorted(lines)
    parts = [
        "nam: unknown",
        "7 has no",
        "10 has no",
        "`ok` is not among",
        "kind `gros`",
        "bogus",
    ]
    assert len(found) == len(parts)
    assert all(any(part in message for _, message in found) for part in parts)


def test_an_empty_map_of_venues_is_refused(tmp_path):
    head, rest = MINIMAL.split("venues:\n", 1)
    text = head + "venues: {}\n" + rest[rest.index("instruments:") :]
    messages = [message for _, message in problems(tmp_path, text)]
    assert "venues: a map is too short; write a map of names, at least 1 entry" in messages
    assert any("`binance` is not among `venues`; there is none" in message for message in messages)


SETS = [
    ("objective.maker_share", "cannot read 'objective.maker_share'; write dotted.key=value"),
    ("=5", "write dotted.key=value"),
    ("a..b=5", "write dotted.key=value"),
    ("objective.maker_share=", "objective.maker_share: no value"),
    ("objective.maker_share=[1", "objective.maker_share: not valid YAML"),
    ("objective.maker_share=.nan", "objective.maker_share: .nan is not a finite number"),
    ("objective.maker_shar=5%", "objective.maker_shar: unknown key; did you mean `maker_share`?"),
    ("objctive.maker_share=5%", "objctive: unknown key; did you mean `objective`?"),
    ("objective.maker_share=150%", "at least 0% and at most 100%"),
    ("limits.btcc.max=$1", "limits.btcc: no such entry; did you mean `btc`?"),
    ("stresses.crsh.move=-5%", "stresses.crsh: no such entry; did you mean `crash`?"),
    ("stresses.gone=null", "stresses.gone: nothing to remove"),
    ("instruments.main.symbols.x=a", "instruments.main.symbols is a list, which is replaced whole"),
    ("extends=a.yaml", "extends cannot be set"),
    ("limits.new={kind: gross}", "limits.new.max: missing"),
]


@pytest.mark.parametrize(("text", "message"), SETS)
def test_a_bad_set_is_named(tmp_path, text, message):
    found = problems(tmp_path, MINIMAL, sets=[text])
    assert [source for source, _ in found] == ["--set"]
    assert message in found[0][1]


def test_an_unknown_overlay_is_named_with_the_nearest(tmp_path):
    text = MINIMAL + "overlays: {calm: {orders: {collar: 5bp}}}\n"
    found = problems(tmp_path, text, overlays=["clam"])
    assert found == [("--overlay", "there is no overlay `clam`; did you mean `calm`?")]


def test_an_incomplete_entry_of_an_overlay_suggests_the_entry_meant(tmp_path):
    text = MINIMAL + "overlays:\n  tight:\n    limits:\n      btcc: {max: $1}\n"
    found = problems(tmp_path, text, overlays=["tight"])
    assert found[0][0] == f"s.yaml:{line_of(text, 'btcc')}"
    assert "limits.btcc.kind: missing" in found[0][1]
    assert "did you mean `limits.btc`?" in found[0][1]


def test_overlays_in_a_circle_are_found_once_though_unused(tmp_path):
    text = MINIMAL + "overlays:\n  a: {use: [b]}\n  b: {use: [c]}\n  c: {use: [a]}\n"
    found = problems(tmp_path, text)
    assert found == [
        (f"s.yaml:{line_of(text, '  c: {use')}", "overlays use each other in a circle: a -> b -> c -> a")
    ]


def test_a_mistake_in_a_base_names_the_base(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "b.yaml").write_text(minimal("leverage: 5x", "leverage: 5"))
    found = problems(tmp_path, "extends: base/b.yaml\nname: child\n")
    assert found == [
        ("base/b.yaml:20", "instruments.second.leverage: 5 has no unit; write a multiple such as 10x")
    ]


def test_a_missing_main_file(tmp_path):
    with pytest.raises(ScenarioError, match=r"there is no file none\.yaml") as caught:
        load_scenario(tmp_path / "none.yaml")
    assert caught.value.problems[0].source == "none.yaml"
    assert caught.value.exit_code == 2
