"""What a page is made of: elements, pointers, pictures, tables, scales."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from page_reader import Reader, check_numbers, resolve

from allocator.report.figures import net_delta
from allocator.report.html import el
from allocator.report.nodes import Node
from allocator.report.scale import scale
from allocator.report.svg import draw
from allocator.report.table import MOST_ROWS, Table
from allocator.report.table import draw as draw_table


@given(st.text(), st.text())
def test_an_element_says_what_it_was_given(content, value):
    shown = Reader(el("p", {"title": value}, content)).of("p")
    # A parser of html reads carriage returns and nulls as its standard says, not as they were.
    for given_text, found in ((content, shown[0].text), (value, shown[0].attributes["title"])):
        assert found == given_text or {"\r", "\x00"} & set(given_text)


def test_pointers_escape_their_keys():
    node = Node({"a/b": {"c~d": [1.5]}}, "result.json#")["a/b"]["c~d"][0]
    assert node.pointer == "result.json#/a~1b/c~0d/0"
    assert resolve({"result.json": {"a/b": {"c~d": [1.5]}}}, node.pointer) == node.value


def test_pictures_of_many_coins_hold_the_largest_and_say_so():
    rows = [
        {
            "asset": f"C{k}",
            "previous_net_delta_usd": 0.0,
            "net_delta_usd": (-1.0) ** k * k,
            "variance_share": 0.0,
        }
        for k in range(100)
    ]
    result = Node({"risk": {"by_asset": rows}, "limits": []}, "result.json#")
    read = Reader(draw(net_delta(result)))
    labels = [e.text for e in read.of("text") if "label" in e.attributes["class"]]
    assert labels == [f"C{k}" for k in range(80, 100)]
    assert "The 20 largest of 100." in read.of("figcaption")[0].text
    assert check_numbers(read, {"result.json": result.value}) == 40


def test_long_tables_say_what_they_leave_out():
    rows = [(str(k),) for k in range(MOST_ROWS + 1234)]
    read = Reader(draw_table(Table("long", "Long", ("k",), rows)))
    assert len(read.of("td")) == MOST_ROWS
    assert "1,234 more stand in the run's own files" in read.of("p")[0].text


@given(st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=9))
def test_a_scale_holds_its_values_and_zero(values):
    axis = scale(values, (0.0, 100.0), 4)
    for value in (*values, 0.0):
        assert -1e-6 <= axis.at(value) <= 100 + 1e-6
    assert 2 <= len(axis.ticks) <= 9
    assert all(-1e-6 <= axis.at(tick) <= 100 + 1e-6 for tick in axis.ticks)
