"""The page of `hedge explain` as plain text: sentences, the dearest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from allocator.explanations.words import amount_text

Json = Mapping[str, Any]
_MOST = 6


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
    yield "\nWhere the next collateral dollar goes"
    for place, row in enumerate(explanation["collateral"], start=1):
        yield f"  {place}. {row['text']}{_range(row)}"


def _range(row: Json) -> str:
    found = row["range"]
    if found is None:
        return ""
    ends = sorted((found["tightened"]["until"], found["relaxed"]["until"]))
    text = f" Holds from {amount_text(row['unit'], ends[0])} to {amount_text(row['unit'], ends[1])}"
    for side in ("relaxed", "tightened"):
        if found[side]["infeasible_beyond"]:
            text += f"; at {amount_text(row['unit'], found[side]['next'])} nothing is permitted"
    if found["kink"]:
        text += (
            f"; a kink: {_beyond(row, 'tightened')} when tightened, {_beyond(row, 'relaxed')} when relaxed"
        )
    return f"{text}."


def _beyond(row: Json, side: str) -> str:
    beyond = row["range"][side]["saves_beyond_usd"]
    per_unit = row["saves_usd"] if beyond is None else beyond
    return f"${per_unit * row['step']:,.2f}"


def _trades(result: Json) -> Iterator[str]:
    rows = result.get("trades")
    if not rows:
        return
    yield "\nWhy these trades: what each dollar of one gains (+) or costs (−) per decision, in basis points"
    for row in rows:
        side = "buy" if row["trade_usd"] > 0 else "sell"
        pushes = ", ".join(
            f"{push['cause']} {push['usd_per_usd'] * 1e4:+.2f}" for push in row["pushes"][:_MOST]
        )
        yield f"  {side} ${abs(row['trade_usd']):,.0f} {row['venue']} {row['symbol']}: {pushes}"


def _untraded(result: Json) -> Iterator[str]:
    rows = result.get("untraded")
    if not rows:
        return
    yield "\nNot traded, the nearest to a trade first"
    for row in rows[:_MOST]:
        said = [f"{side} {_way(row[side])}" for side in ("buy", "sell")]
        yield f"  {row['venue']} {row['symbol']}: {'; '.join(said)}"


def _way(way: Json) -> str:
    if way["blocked_by"]:
        return f"is held back by {way['blocked_by']}"
    lacks, trigger = way["lacks_usd_per_usd"] * 1e4, way["trigger_funding_bp_per_interval"]
    moved = "" if trigger is None else f", or funding {trigger:+.3f} bp a settlement"
    return f"lacks {lacks:.3f} bp{moved}"


def _alternatives(result: Json) -> Iterator[str]:
    found = result.get("alternatives")
    if not found:
        return
    still = found["doing_nothing"]
    rebalance, hours = still["rebalance"], still["rebalance"]["break_even_hours"]
    yield "\nWhat else could be done"
    pays = "never pays by itself" if hours is None else f"has paid for itself after {hours:,.0f} h"
    yield (
        f"  nothing: the rebalance saves ${rebalance['saves_usd_per_day']:,.0f} a day for "
        f"${rebalance['cash_usd']:,.0f} of cash, so it {pays}.{_breached(still)}"
    )
    if "plain_hedge" in found:
        plain = found["plain_hedge"]
        dearer = f"${plain['dearer_usd_per_day']:,.0f}"
        yield f"  a hedge 1:1, equally over venues: costs {dearer} a day.{_breached(plain)}"
    for row in found.get("venues_off", []):
        costs = row["costs_usd_per_day"]
        said = row["status"] if costs is None else f"costs ${costs:,.0f} a day"
        yield f"  without {row['venue']}: {said}"


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
