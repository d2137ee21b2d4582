"""A minimal valid scenario, and a full one, as text for the scenario tests."""

MINIMAL = """\
schema_version: 1
name: minimal
horizons: {holding: 7d}
snapshot: {folder: data}
venues:
  binance:
    fees: {maker: 2bp, taker: 5bp}
    haircuts: {USDT: 0}
  okx:
    fees: {maker: 2bp, taker: 5bp}
    haircuts: {USDT: 0}
instruments:
  main:
    venue: binance
    symbols: [BTC/USDT:USDT, ETH/USDT:USDT]
    leverage: 10x
  second:
    venue: okx
    symbols: all
    leverage: 5x
forecasts:
  currencies: {daily_volatility: {USDT: 5bp}}
objective:
  impact: {model: book}
limits:
  btc:
    kind: net_delta
    min: -$100k
    max: $100k
stresses:
  crash: {move: -30%}
"""


def minimal(old: str = "", new: str = "") -> str:
    """The minimal scenario with one piece of text replaced."""
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1) if old else MINIMAL


def line_of(text: str, part: str) -> int:
    """The line, from 1, on which ``part`` first stands."""
    return text[: text.index(part)].count("\n") + 1
