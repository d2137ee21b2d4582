from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario.scenario_texts import MINIMAL, line_of, minimal

from allocator.errors import ScenarioError
from allocator.scenario.emit import canonical_bytes, flow_text, resolved_yaml
from allocator.scenario.keys import dotted, parse_dotted
from allocator.scenario.load import load_scenario, show_origin
from allocator.scenario.reference import json_schema, reference_markdown
from allocator.scenario.source import parse, plain

ROOT = Path(__file__).parents[2]

FULL = (
    MINIMAL.replace(
        "snapshot: {folder: data}", "snapshot: {folder: data, tables: {holdings: [{asset: BTC, coins: 1.5}]}}"
    )
    .replace(
        "name: minimal", "name: full\ndescription: 'a: \"b\"\n\n  c é ☃'\nas_of: 2026-09-01T02:00:00+02:00"
    )
    .replace(
        "stresses:\n",
        "  gross: {kind: gross, max: $3m, soft: 10bp, venues: [okx]}\n  hedge_side: null\nstresses:\n",
    )
    + """\
  depeg: {currencies: {USDT: -7%}, haircut_step: 5%, funding_at_cap: 8h, basis: {okx: -1%}}
book: {cross_hedges: {SOL: estimated, DOGE: {BTC: 0.5, ETH: 1}}, size: $1.2m, exclude: [USDT]}
overlays:
  calm:
    stresses: {crash: {move: -10%}}
  quiet:
    use: [calm]
    limits:
      btc: {max: $50k}
      gross: null
    venues:
      kraken: {fees: {maker: 1bp, taker: 3bp}, haircuts: {USD: 0}}
"""
)


def load(folder, text, name="s.yaml", **options):
    (folder / name).write_text(text, encoding="utf-8")
    return load_scenario(folder / name, **options)


def test_the_minimal_scenario_has_its_values_and_the_defaults(tmp_path):
    loaded = load(tmp_path, MINIMAL)
    scenario = loaded.scenario
    assert scenario.horizons.holding == 168
    assert scenario.horizons.decision == 24
    assert scenario.venues["binance"].fees.taker == 0.0005
    assert scenario.stresses["crash"].move == -0.3
    assert set(scenario.limits) == {"btc", "hedge_side", "initial_margin", "maintenance_margin"}
    assert loaded.snapshot_folder == tmp_path / "data"
    assert loaded.document["horizons"] == {"holding": "7d"}


def test_origins(tmp_path):
    text = MINIMAL + "overlays:\n  o:\n    limits:\n      btc: {max: $1}\n"
    loaded = load(
        tmp_path, text, overlays=["o"], sets=["stresses.crash.move=-20%", "limits.big={kind: gross, max: $9}"]
    )
    assert loaded.origin("limits.btc.max") == f"s.yaml:{line_of(text, 'btc: {max')}"
    assert loaded.origin("limits.btc") == loaded.origin("limits.btc.max")
    assert loaded.origin("limits.btc.min") == f"s.yaml:{line_of(text, 'min: -$100k')}"
    assert loaded.origin("limits.btc.soft") == "default"
    assert loaded.origin(("limits", "btc", "assets")) == "default"
    assert loaded.origin("limits.hedge_side") == "default"
    assert loaded.origin("limits.big.max") == "--set"
    assert loaded.origin("stresses.crash.move") == "--set"
    assert loaded.origin("instruments.main.symbols[1]") == f"s.yaml:{line_of(text, 'symbols: [BTC')}"
    assert loaded.origin("orders.collar") == "default"
    assert loaded.origin("snapshot.max_age.books") == "default"


@pytest.mark.parametrize(
    "key", ["limits.nope", "limits.nope.max", "limits.btc.of", "bogus", "orders.colar", "a..b", "[0"]
)
def test_the_origin_of_no_key_is_an_error(tmp_path, key):
    with pytest.raises(KeyError):
        load(tmp_path, MINIMAL).origin(key)


def test_show_origin_lists_every_value_once(tmp_path):
    shown = show_origin(load(tmp_path, FULL))
    rows = {key: (value, origin) for key, value, origin in shown}
    assert len(rows) == len(shown)
    assert rows["limits.btc.max"] == ("$100000", f"s.yaml:{line_of(FULL, 'max: $100k')}")
    assert rows["limits.hedge_side"] == ("null", f"s.yaml:{line_of(FULL, 'hedge_side: null')}")
    assert rows["limits.initial_margin.use"] == ("100%", "default")
    assert rows["instruments.second.symbols"][0] == "all"
    assert rows["snapshot.tables.holdings"][0] == "1 rows"
    assert rows["orders.collar"] == ("0.1%", "default")


def test_a_base_is_extended_and_paths_belong_to_the_file_that_names_them(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "base" / "base.yaml").write_text(minimal("name: minimal", "name: base"))
    (tmp_path / "mid.yaml").write_text("extends: base/base.yaml\nhorizons: {decision: 12h}\n")
    loaded = load(tmp_path / "run", "extends: ../mid.yaml\nname: child\nlimits: {btc: {max: $1}}\n")
    assert loaded.scenario.name == "child"
    assert loaded.scenario.horizons.decision == 12
    assert loaded.scenario.limits["btc"].min == -100_000
    assert loaded.snapshot_folder == tmp_path / "run" / ".." / "base" / "data"
    assert loaded.snapshot_folder.resolve() == tmp_path / "base" / "data"
    assert loaded.origin("name") == "s.yaml:2"
    assert loaded.origin("horizons.decision") == "../mid.yaml:2"
    assert loaded.origin("horizons.holding") == "../base/base.yaml:3"
    assert loaded.document["snapshot"] == {"folder": "data"}


def test_an_absolute_base_is_called_by_its_name_only(tmp_path):
    (tmp_path / "base.yaml").write_text(MINIMAL)
    loaded = load(tmp_path, f"extends: {tmp_path}/base.yaml\n")
    assert loaded.origin("name") == "base.yaml:2"


def test_files_in_a_circle(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("name: b\nextends: ./a.yaml\n")
    with pytest.raises(ScenarioError, match=r"b\.yaml:2: files extend .*: a\.yaml -> b\.yaml -> a\.yaml"):
        load_scenario(tmp_path / "a.yaml")


def test_the_snapshot_folder_may_be_overridden(tmp_path, monkeypatch):
    assert load(tmp_path, MINIMAL, snapshot=Path("x")).snapshot_folder == Path("x")
    assert load(tmp_path, MINIMAL, sets=["snapshot.folder=here"]).snapshot_folder == Path("here")
    assert load(tmp_path, minimal("{folder: data}", "{}")).snapshot_folder is None


def test_overlays_apply_in_the_order_given_after_what_they_use(tmp_path):
    text = MINIMAL + "overlays:\n  a: {use: [c], orders: {collar: 1bp}}\n  b: {orders: {collar: 2bp}}\n"
    text += "  c: {orders: {collar: 3bp, min_trade: $5}}\n"

    def collar(*names):
        return load(tmp_path, text, overlays=names).scenario.orders.collar

    assert collar("a") == 1e-4
    assert collar("a", "b") == 2e-4
    assert collar("b", "a") == 1e-4
    # `c` is used by `a` and so applied already: naming it again does not undo `a`.
    assert collar("a", "c") == 1e-4
    assert collar("c", "b") == 2e-4
    assert load(tmp_path, text, overlays=["a"]).scenario.orders.min_trade == 5


def test_an_overlay_of_a_child_replaces_that_of_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text(
        MINIMAL + "overlays: {a: {orders: {collar: 1bp, min_trade: $5}}, b: {}}\n"
    )
    text = "extends: base.yaml\noverlays: {a: {orders: {collar: 2bp}}, b: null}\n"
    orders = load(tmp_path, text, overlays=["a"]).scenario.orders
    assert (orders.collar, orders.min_trade) == (2e-4, 0)
    with pytest.raises(ScenarioError, match="there is no overlay `b`"):
        load(tmp_path, text, overlays=["b"])


def test_entries_are_added_and_removed_and_lists_replaced(tmp_path):
    loaded = load(tmp_path, FULL, overlays=["quiet"])
    assert "gross" not in loaded.scenario.limits
    assert set(loaded.scenario.venues) == {"binance", "okx", "kraken"}
    assert loaded.scenario.limits["btc"].max == 50_000
    assert loaded.scenario.stresses["crash"].move == -0.1
    assert loaded.origin("limits.gross") == f"s.yaml:{line_of(FULL, '      gross: null')}"
    listed = load(tmp_path, MINIMAL, sets=["instruments.main.symbols=[X]"])
    assert listed.scenario.instruments["main"].symbols == ["X"]


def test_another_kind_is_another_limit(tmp_path):
    text = MINIMAL + "overlays: {o: {limits: {btc: {kind: gross, max: $7}}}}\n"
    limit = load(tmp_path, text, overlays=["o"]).scenario.limits["btc"]
    assert (limit.kind, limit.max) == ("gross", 7)
    with pytest.raises(ScenarioError, match=r"limits\.btc\.max: missing"):
        load(tmp_path, MINIMAL, sets=["limits.btc.kind=gross"])
    same = load(tmp_path, MINIMAL, sets=["limits.btc={kind: net_delta, max: $7}"]).scenario.limits["btc"]
    assert (same.min, same.max) == (-100_000, 7)


def test_set_creates_keys_that_have_defaults(tmp_path):
    loaded = load(tmp_path, MINIMAL, sets=["orders.collar=5bp", 'venues.okx.haircuts."USDC.e"=5%'])
    assert loaded.scenario.orders.collar == 0.0005
    assert loaded.scenario.venues["okx"].haircuts["USDC.e"] == 0.05
    assert loaded.origin('venues.okx.haircuts."USDC.e"') == "--set"


def test_a_plain_number_may_have_an_exponent(tmp_path):
    loaded = load(tmp_path, MINIMAL, sets=["objective.risk_aversion_per_usd=1e-4"])
    assert loaded.scenario.objective.risk_aversion_per_usd == 1e-4


LAYERS = st.fixed_dictionaries(
    {},
    optional={
        "orders": st.fixed_dictionaries(
            {}, optional={"collar": st.sampled_from(["1bp", "2bp"]), "min_trade": st.just("$5")}
        ),
        "stresses": st.dictionaries(
            st.sampled_from(["crash", "other"]),
            st.fixed_dictionaries({"move": st.sampled_from(["-1%", "2%"])}),
        ),
        "description": st.sampled_from(["a", "b"]),
    },
)


def expected(base, over):
    """The plain law: maps merge key by key, everything else is replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: expected(base.get(key), item) for key, item in over.items()}}


@given(st.lists(LAYERS, min_size=1, max_size=3))
def test_layers_merge_key_by_key(tmp_path_factory, layers):
    folder = tmp_path_factory.mktemp("merge")
    text = MINIMAL + "overlays:\n" + "".join(f"  o{i}: {flow(layer)}\n" for i, layer in enumerate(layers))
    names = [f"o{i}" for i in range(len(layers))]
    loaded = load(folder, text, overlays=names)
    document = load(folder, MINIMAL).document
    for layer in layers:
        document = expected(document, layer)
    assert loaded.document == document
    # The same overlays once more change nothing.
    assert load(folder, text, overlays=names * 2).document == document


def flow(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    return str(value)


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_the_resolved_text_loads_to_the_same_scenario_and_text(tmp_path, text):
    scenario = load(tmp_path, text).scenario
    resolved = resolved_yaml(scenario)
    again = load(tmp_path, resolved, name="resolved.yaml").scenario
    assert again == scenario
    assert resolved_yaml(again) == resolved
    assert canonical_bytes(again) == canonical_bytes(scenario)


def test_a_removed_default_limit_stays_removed(tmp_path):
    scenario = load(tmp_path, FULL).scenario
    assert "hedge_side" not in scenario.limits
    assert "  hedge_side: null\n" in resolved_yaml(scenario)


def test_the_order_of_names_and_the_zone_of_time_do_not_change_the_hash(tmp_path):
    tree = plain(parse(FULL, "f"))
    del tree["overlays"]
    turned = {key: tree[key] for key in reversed(tree)}
    for key in ("venues", "instruments", "limits", "stresses"):
        turned[key] = {name: tree[key][name] for name in reversed(tree[key])}
    turned["as_of"] = "2026-09-01T00:00:00Z"
    text = "".join(f"{key}: {flow_text(value)}\n" for key, value in turned.items())
    assert canonical_bytes(load(tmp_path, text).scenario) == canonical_bytes(load(tmp_path, FULL).scenario)


def test_the_hash_sees_values_but_not_folders(tmp_path):
    one = canonical_bytes(load(tmp_path, MINIMAL).scenario)
    assert canonical_bytes(load(tmp_path, MINIMAL, sets=["snapshot.folder=/elsewhere"]).scenario) == one
    assert canonical_bytes(load(tmp_path, MINIMAL, sets=["orders.collar=11bp"]).scenario) != one
    assert canonical_bytes(load(tmp_path, MINIMAL, sets=["horizons.holding=168h"]).scenario) == one
    assert b"data" not in one


def test_as_of_is_utc(tmp_path):
    assert load(tmp_path, FULL).scenario.as_of == datetime(2026, 9, 1, tzinfo=UTC)
    assert '"2026-09-01T00:00:00Z"' in resolved_yaml(load(tmp_path, FULL).scenario)


@given(
    st.lists(
        st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1)
        | st.integers(0, 99)
    )
)
def test_dotted_paths_read_back(path):
    simple = [part for part in path if isinstance(part, int) or not set(part) & set("[]")]
    assert parse_dotted(dotted(simple)) == tuple(simple)


def test_the_json_schema_accepts_what_loads_and_refuses_what_does_not():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in (
        MINIMAL,
        FULL,
        "extends: a.yaml\nlimits: {btc: {max: $1}, gross: null}\nvenues: {okx: null}\n",
    ):
        assert list(validator.iter_errors(plain(parse(text, "f")))) == []
    for old, new in [
        ("holding: 7d", "holding: 7"),
        ("name:", "nam:"),
        ("kind: net_delta", "kind: x"),
        ("2bp", "2"),
    ]:
        assert list(validator.iter_errors(plain(parse(minimal(old, new), "f")))) != []
    bad_overlay = MINIMAL + "overlays: {a: {oders: {}}}\n"
    assert list(validator.iter_errors(plain(parse(bad_overlay, "f")))) != []
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_defaults_in_the_json_schema_carry_their_unit():
    definitions = json_schema()["$defs"]
    assert definitions["Horizons"]["properties"]["decision"]["default"] == "24h"
    assert definitions["Orders"]["properties"]["collar"]["default"] == "0.1%"


def test_the_reference_page_is_current_and_names_every_key():
    page = reference_markdown()
    assert (ROOT / "scenarios" / "README.md").read_text(encoding="utf-8") == page
    for key in (
        "horizons.holding",
        "venues.<name>.fees.taker",
        "limits.<name>.buffer",
        "orders.collar",
        "`extends`",
    ):
        assert key in page


def test_loading_imports_no_numerical_library():
    code = (
        "import sys, allocator.scenario.load as l; "
        "print([m for m in ('numpy', 'pandas', 'cvxpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.strip() == "[]"


def test_a_snapshot_may_be_named_by_its_folder_alone(tmp_path):
    text = MINIMAL.replace("snapshot: {folder: data}", "snapshot: data")
    assert text != MINIMAL
    short, long = load(tmp_path, text), load(tmp_path, MINIMAL, name="long.yaml")
    assert short.scenario == long.scenario
    assert short.snapshot_folder == tmp_path / "data"
    assert short.origin("snapshot.folder") == f"s.yaml:{line_of(text, 'snapshot: data')}"
    assert load(tmp_path, MINIMAL, sets=["snapshot=other"]).scenario.snapshot.folder == "other"


@pytest.mark.parametrize("name", ["overlays", "sets"])
def test_one_text_is_no_list_of_texts(tmp_path, name):
    path = tmp_path / "s.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(TypeError, match=rf"{name}=\['horizons.decision=12h'\]"):
        load_scenario(path, **{name: "horizons.decision=12h"})
