"""The page of `hedge explain` as plain text: sentences, the dearest first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from allocator.explanations.words import amount_text

Json = Mapping[str, Any]
_MOST = 6
_NO_PRICE = {"infeasible": "no decision keeps every limit", "failed": "the solver gave up"}


def text_of(result: Json) -> str:
    """What an explanation says to a person."""
    lines = [f"{result['scenario']}  {result['as_of']}  {result['status']}"]
    lines += [problem["message"] for problem in result.get("errors", [])]
    if "explanation" in result:
        lines += [*_prices(result["explanation"]), *_collateral(result["explanation"])]
    lines += [*_trades(result), *_untraded(result), *_alternatives(result)]
    lines += [*_conflict(result), *_ways_out(result)]
    return "\n".join(lines) + "\n"


def _prices(explanation: Json) -> Iterator[str]:
    rows = explanation["prices"]
    yield "\nWhat limits cost" if rows else "\nNo limit costs anything today."
    for row in rows:
        yield f"  {row['text']}"
        yield f"    {row['source']}.{_range(row)}"


def _collateral(explanation: Json) -> Iterator[str]:
    rows = explanation["collateral"]
    yield "\nWhere the next collateral dollar goes"
    if rows and all((row["saves_usd"] or 0.0) <= 0 for row in rows):
        yield "  Nowhere today: on no venue does one more dollar save what holding it costs."
    for place, row in enumerate(rows, start=1):
        yield f"  {place}. {row['text']}"
        if said := _range(row):
            yield f"    {said}"


def _range(row: Json) -> str:
    """Over which values a price holds, each end rounded towards the value itself."""
    found, unit, now = row["range"], row["unit"], row["value"]
    if found is None:
        return ""
    if found["kink"]:
        more, less = _beyond(row, "relaxed"), _tightened(row)
        text = f" A kink, so in between: relaxing it saves {more}, tightening it {less}"
    else:
        low, high = sorted((found["tightened"]["until"], found["relaxed"]["until"]))
        ends = amount_text(unit, -_towards(-low, -now)), amount_text(unit, _towards(high, now))
        text = f" Now {amount_text(unit, now)}; the price holds from {ends[0]} to {ends[1]}"
    for side in ("relaxed", "tightened"):
        if found[side]["infeasible_beyond"] and not (found["kink"] and side == "tightened"):
            text += f"; at {amount_text(unit, found[side]['next'])} nothing is permitted"
    return f"{text}."


def _towards(value: float, now: float) -> float:
    """Rounded down to three digits, but not past what it is now."""
    if value <= now or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 1.0
    return float(f"{max(math.floor(value / unit) * unit, now):.12g}")


def _beyond(row: Json, side: str) -> str:
    beyond = row["range"][side]["saves_beyond_usd"]
    per_unit = row["saves_usd"] if beyond is None else beyond
    return f"${per_unit * row['step']:,.2f}"


def _tightened(row: Json) -> str:
    if row["range"]["tightened"]["infeasible_beyond"]:
        return "leaves nothing permitted"
    return f"costs {_beyond(row, 'tightened')} for as much"


def _trades(result: Json) -> Iterator[str]:
    rows = result.get("trades")
    if not rows:
        return
    yield "\nWhy these trades: what the last dollar of each gained (+) and cost (−), in bp; in all nothing"
    for row in rows:
        side = "buy" if row["trade_usd"] > 0 else "sell"
        pushes = ", ".join(
            f"{_cause(push['cause'])} {push['usd_per_usd'] * 1e4:+.2f}".replace("-", "−")
            for push in row["pushes"][:_MOST]
        )
        yield f"  {side} ${abs(row['trade_usd']):,.0f} {row['venue']} {row['symbol']}: {pushes}"


def _cause(name: str) -> str:
    """A term of the objective in words; a limit by its name."""
    return name if "." in name else name.replace("_", " ")


def _untraded(result: Json) -> Iterator[str]:
    rows = result.get("untraded")
    if not rows:
        return
    yield "\nNot traded, the nearest to a trade first"
    for row in rows[:_MOST]:
        said = [_way(side, row[key]) for side, key in (("buying", "buy"), ("selling", "sell"))]
        yield f"  {row['venue']} {row['symbol']}: {'; '.join(said)}"
    if len(rows) > _MOST:
        yield f"  and {len(rows) - _MOST} more"


def _way(side: str, way: Json) -> str:
    if way["blocked_by"]:
        return f"{side} is held back by {way['blocked_by']}"
    lacks, trigger = way["lacks_usd_per_usd"] * 1e4, way["trigger_funding_bp_per_interval"]
    if trigger is None:
        return f"{side} lacks {lacks:.3f} bp"
    moved = "higher" if trigger > 0 else "lower"
    return f"{side} lacks {lacks:.3f} bp, or funding {abs(trigger):.3f} bp {moved} at each settlement"


def _alternatives(result: Json) -> Iterator[str]:
    found = result.get("alternatives")
    if not found:
        return
    still = found["doing_nothing"]
    rebalance, hours = still["rebalance"], still["rebalance"]["break_even_hours"]
    yield "\nWhat else could be done"
    pays = "never pays by itself" if hours is None else f"has paid for itself after {hours:,.0f} h"
    yield (
        f"  Nothing: the rebalance saves ${rebalance['saves_usd_per_day']:,.0f} a day for "
        f"${rebalance['cash_usd']:,.0f} of cash, so it {pays}.{_breached(still)}"
    )
    if "plain_hedge" in found:
        plain = found["plain_hedge"]
        dearer = f"${plain['dearer_usd_per_day']:,.0f}"
        yield f"  A hedge 1:1, equally over venues: costs {dearer} more a day.{_breached(plain)}"
    for row in found.get("venues_off", []):
        costs = row["costs_usd_per_day"]
        said = _NO_PRICE[row["status"]] if costs is None else f"costs ${costs:,.0f} more a day"
        yield f"  Without {row['venue']}: {said}."


def _breached(alternative: Json) -> str:
    names = dict.fromkeys(breach["limit"] for breach in alternative["breaches"])
    return f" It breaches {', '.join(names)}." if names else ""


def _conflict(result: Json) -> Iterator[str]:
    members = result.get("conflict")
    if not members:
        return
    yield "\nThese cannot hold together; without any one of them the others can."
    for member in members:
        stress = f", stress at {member['stress_source']}" if member.get("stress_source") else ""
        lacks = amount_text("USD", member["shortfall_usd"])
        yield f"  {member['source']}: {member['name']} ({member['subject']}){stress}: lacks {lacks}"
    yield f"  ({result['background']})"


def _ways_out(result: Json) -> Iterator[str]:
    ways = result.get("ways_out")
    if ways:
        yield "\nWays out, each solved and audited, the cheapest first"
        for place, way in enumerate(ways, start=1):
            yield f"  {place}. {way['text']}"
            yield from (f"     {change['source']}: {change['name']}" for change in way["changes"])
    elif result.get("conflict"):
        yield "\nNo change of figures that may change suffices: lift a flag, or a hard limit."
