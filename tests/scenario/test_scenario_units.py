from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator import units

PAIRS = [
    (units.Hours, units.parse_hours),
    (units.Fraction, units.parse_fraction),
    (units.Usd, units.parse_usd),
    (units.Multiple, units.parse_multiple),
    (units.Yearly, units.parse_yearly),
    (units.FundingRate, units.parse_funding_rate),
]
FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True)


def writer(kind):
    return kind.__metadata__[1].func


@pytest.mark.parametrize(("kind", "parse"), PAIRS)
@given(value=FINITE)
def test_what_is_written_parses_to_the_same_float(kind, parse, value):
    # A percentage of the largest floats is not a float, and centuries are no durations; nobody writes one.
    if abs(value) > (876_000 if parse is units.parse_hours else 1e300):
        return
    assert parse(writer(kind)(value)) == value


@pytest.mark.parametrize(("kind", "parse"), PAIRS)
@given(value=FINITE.filter(lambda v: abs(v) < 1e300))
def test_writing_is_canonical(kind, parse, value):
    if parse is units.parse_hours and abs(value) > 876_000:
        return
    text = writer(kind)(value)
    assert writer(kind)(parse(text)) == text


@given(st.decimals(min_value=-10_000, max_value=10_000, places=4))
def test_fractions_are_correctly_rounded(number):
    assert units.parse_fraction(f"{number}%") == float(f"{number}e-2")
    assert units.parse_fraction(f"{number}bp") == float(f"{number}e-4")


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_hours, "24h", 24.0),
        (units.parse_hours, "90m", 1.5),
        (units.parse_hours, "30min", 0.5),
        (units.parse_hours, " 3 d ", 72.0),
        (units.parse_hours, "1w", 168.0),
        (units.parse_fraction, "5bp", 0.0005),
        (units.parse_fraction, "0.07%", 0.0007),
        (units.parse_fraction, "-30%", -0.3),
        (units.parse_fraction, 0, 0.0),
        (units.parse_usd, "$1.2m", 1_200_000.0),
        (units.parse_usd, "-$250", -250.0),
        (units.parse_usd, "3bn USD", 3e9),
        (units.parse_usd, "$1_000_000", 1e6),
        (units.parse_usd, "$.5k", 500.0),
        (units.parse_multiple, "10x", 10.0),
        (units.parse_yearly, "3%/y", 0.03),
        (units.parse_yearly, "1bp/d", 0.0365),
        (units.parse_funding_rate, "1bp/8h", 1.25e-5),
        (units.parse_funding_rate, "-0.01% / 1h", -1e-4),
    ],
)
def test_reads(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(("kind", "parse"), PAIRS)
@pytest.mark.parametrize(
    "bad",
    [
        "",
        "5",
        "h",
        "%",
        "$",
        5,
        5.0,
        True,
        False,
        None,
        [],
        "1e999h",
        "nan%",
        "inf$",
        "١h",
        "--5%",
        "-$-5",
        "$--5",
    ],
)
def test_refuses_what_has_no_unit(kind, parse, bad):
    with pytest.raises(ValueError, match=r"write|finite"):
        parse(bad)


def test_a_duration_of_zero_needs_its_unit():
    with pytest.raises(ValueError, match="0 has no unit"):
        units.parse_hours(0)
    with pytest.raises(ValueError, match="longer than a hundred years; write 36500d at most"):
        units.parse_hours("90000000h")


@pytest.mark.parametrize("text", ["1e999%", "$1e999", "1e999x", "1e999h"])
def test_infinite_numbers_are_refused(text):
    parse = {
        "%": units.parse_fraction,
        "9": units.parse_usd,
        "x": units.parse_multiple,
        "h": units.parse_hours,
    }[text[-1]]
    with pytest.raises(ValueError, match="not a finite"):
        parse(text)


def test_zero_interval_is_refused():
    with pytest.raises(ValueError, match="interval"):
        units.parse_funding_rate("1bp/0h")


def test_negative_zero_is_written_as_zero():
    assert writer(units.Usd)(-0.0) == "$0"
    assert math.copysign(1, units.parse_usd("$0")) == 1
