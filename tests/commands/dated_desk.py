"""The small desk with a dated future beside the perps of each coin, one of them coin-margined."""

from __future__ import annotations

from collections.abc import Mapping

from small_desk import AS_OF, SCENARIO, TABLES, swap

EXPIRY = "2026-12-25T08:00Z"
HOURS = 35 * 24 + 8  # from AS_OF to EXPIRY
BTC, ETH, INVERSE = "BTC/USDT:USDT-261225", "ETH/USDT:USDT-261225", "BTC/USD:BTC-261225"
MARKS = {BTC: 102020.5, ETH: 4080.25, INVERSE: 102000.5}
_VENUE = {BTC: "okx", ETH: "okx", INVERSE: "binance"}
_LIKE = {BTC: "BTC-USDT-SWAP,", ETH: "ETH-USDT-SWAP,", INVERSE: "BTCUSD_PERP,"}
DATED_SCENARIO = swap(SCENARIO, ("symbols: [BTC/USD:BTC]", f"symbols: [BTC/USD:BTC, {INVERSE}]"))


def _instruments() -> str:
    head, *rows = TABLES["instruments"].splitlines()
    dated = []
    for symbol, name in _LIKE.items():
        (row,) = [row for row in rows if name in row]
        time, venue, _, _, *terms = row.split(",")
        terms[10:12] = "0", "0"  # funding interval and cap
        dated.append(",".join([time, venue, symbol, f"{name.strip(',')}-261225", *terms, EXPIRY]))
    return "\n".join([f"{head},expiry", *(f"{row}," for row in rows), *dated, ""])


def dated_tables(marks: Mapping[str, float] = MARKS) -> dict[str, str]:
    """All tables, with the dated futures at these marks."""

    def rows(pattern: str) -> str:
        return "".join(
            pattern.format(time=AS_OF, venue=_VENUE[symbol], symbol=symbol, mark=mark) + "\n"
            for symbol, mark in marks.items()
        )

    tier = "{time},{venue},{symbol},"
    return {
        **TABLES,
        "instruments": _instruments(),
        "prices": TABLES["prices"] + rows("{time},{venue},{symbol},{mark}"),
        "margin_tiers": TABLES["margin_tiers"]
        + rows(tier + "1,0,1000000,0.004,0,100")
        + rows(tier + "2,1000000,50000000,0.01,6000,50"),
    }
