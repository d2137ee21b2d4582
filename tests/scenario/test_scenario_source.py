from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.errors import ScenarioError
from allocator.scenario import source
from allocator.scenario.emit import flow_text, scalar_text
from allocator.scenario.source import parse, plain, read_file, walk


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-12", -12),
        ("0x1f", 31),
        ("0o17", 15),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("2026-09-01", "2026-09-01"),
        ("2026-09-01T00:00:00Z", "2026-09-01T00:00:00Z"),
        ("5%", "5%"),
        ("-$1.2m", "-$1.2m"),
        ("10x", "10x"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT"),
        ("'1'", "1"),
        ('"null"', "null"),
        ("!!x", None),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    if text == "!!x":
        assert "tag" in problems(f"a: {text} 1")[0]
        return
    found = plain(parse(f"a: {text}", "f.yaml"))["a"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_line():
    tree = parse("a: 1\nb:\n  c: [x,\n    y]\n  d: &n {e: 2}\nf: *n\n", "f.yaml")
    lines = {path: node.origin.line for path, node in walk(tree)}
    assert lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 3,
        ("b", "c", 1): 4,
        ("b", "d"): 5,
        ("b", "d", "e"): 5,
        ("f",): 6,
        ("f", "e"): 5,
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "`a` is written twice, first on line 1"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tag"),
        ("a: !Foo {b: 1}\n", 1, "tag"),
        ("a: 1\n2: b\n", 2, "the key 2 is not text"),
        ("a: 1\nnull: b\n", 2, "the key null is not text"),
        ("? [a]\n: 1\n", 1, "a key must be text"),
        ("a: 1\nb: .nan\n", 2, "not a finite number"),
        ("a: 1\nb: -.inf\n", 2, "not a finite number"),
        ("a: 1\nb: 1e999\n", 2, "too large"),
        ("a: 1\n\tb: 2\n", 2, "a tab"),
        ("a: 1\nb: [1, 2\n", 2, "not valid YAML"),
        ("a: 1\nb: x: y\n", 2, "a second `: `"),
        ("a: 1\nb: @x\n", 2, "put the value in quotes"),
        ("a: 1\nb: *c\n", 2, "no complete anchor"),
        ("a: &a [1, *a]\n", 1, "no complete anchor"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys"),
        ("a: 1\nb: \x07\n", 2, "YAML forbids"),
        ('a: 1\nb: "\\ud800"\n', 2, "surrogate"),
        ('a: "\\UFFFFFFFF"\n', 1, "not valid YAML"),
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("a: " + "[" * 60 + "]" * 60, 1, "nested deeper"),
    ],
)
def test_bad_yaml_names_its_line(text, line, message):
    found = problems(text)
    assert found[0].startswith(f"f.yaml:{line}: ")
    assert message in found[0]


def test_all_structural_mistakes_at_once():
    assert len(problems("a: 1\na: 2\n3: x\nb: .inf\nc: !x 1\n")) == 4


def test_aliases_cannot_explode():
    laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "aliases" in problems(laughs)[0]


def test_aliases_cannot_nest_without_end():
    chain = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(60))
    assert "nested deeper" in problems(chain)[0]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        (b"- a\n", 1, "a scenario is a map"),
        (b"text", 1, "a scenario is a map"),
    ],
)
def test_bad_files(tmp_path, data, line, message):
    (tmp_path / "f.yaml").write_bytes(data)
    with pytest.raises(ScenarioError, match=message) as caught:
        read_file(tmp_path / "f.yaml", "f.yaml")
    assert caught.value.problems[0].source == f"f.yaml:{line}"


def test_a_byte_order_mark_and_dos_lines_are_fine(tmp_path):
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert plain(read_file(tmp_path / "f.yaml", "f.yaml")) == {"a": 1, "b": "x"}


def test_missing_folder_and_huge_files(tmp_path, monkeypatch):
    with pytest.raises(ScenarioError, match=r"there is no file f\.yaml"):
        read_file(tmp_path / "f.yaml", "f.yaml")
    with pytest.raises(ScenarioError, match="is not a file"):
        read_file(tmp_path, "f.yaml")
    monkeypatch.setattr(source, "MAX_BYTES", 3)
    (tmp_path / "g.yaml").write_text("a: 1")
    with pytest.raises(ScenarioError, match="larger than"):
        read_file(tmp_path / "g.yaml", "g.yaml")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(SCALARS)
def test_a_written_scalar_reads_back(value):
    found = plain(parse(f"a: {scalar_text(value)}\n", "f.yaml"))["a"]
    assert found == value
    assert type(found) is type(value)


@given(VALUES)
def test_a_written_value_reads_back(value):
    assert plain(parse(f"a: {flow_text(value)}\n", "f.yaml"))["a"] == value
