"""The top of the page: what to do, whether it is safe, what it saves, and how good the data are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from allocator.report import numbers
from allocator.report.html import Content, Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import size, tag
from allocator.report.source import Source

Light = Literal["good", "watch", "bad", "none"]
_WORDS: dict[Light, str] = {"good": "good", "watch": "watch", "bad": "act", "none": "not known"}
_FAR, _NEAR = 0.2, 0.1  # common moves to liquidation: good beyond the first, bad within the second
_MANY, _FEW = 5.0, 3.0  # standard deviations of the cushion, likewise
_AGEING = 0.75  # of its limit, an age worth a look


def light(state: Light, *said: Content) -> Html:
    """A light told by its word and shape too, not by colour alone."""
    return el("li", f"light {state}", el("b", "", _WORDS[state]), " ", *said)


def verdict(source: Source) -> Html:
    """Three sentences."""
    r = source.result
    sentences = [_what(source), *_safe(source), _saves(r)]
    return el("div", "verdict", *(el("p", "", sentence) for sentence in sentences))


def _what(source: Source) -> Html:
    """What to do."""
    orders, total = source.result["orders"], source.result["summary"]
    moved = total["transferred_usd"]
    transfers = [", after transfers of ", tag(moved, numbers.dollars)] if moved.value >= 1 else []
    if source.status == "refused":
        return join(["Send nothing: a pre-trade check withheld the orders."])
    if orders.value == 0:
        return join(["Nothing to trade: every trade costs more than it saves", *transfers, "."])
    noun = "order" if orders.value == 1 else "orders"
    value = tag(total["traded_usd"], numbers.dollars)
    return el("strong", "", "Send ", tag(orders, numbers.count), f" {noun} for ", value, *transfers, ".")


def _safe(source: Source) -> Iterator[Html]:
    """Whether it is safe: the state, and the two figures it rests on."""
    total = source.result["summary"]
    state = safety(source)
    word = {"good": "Safe", "watch": "Tight", "bad": "Not safe", "none": "Not known"}[state]
    word = "Withheld" if source.status == "refused" else word
    said: list[Content] = [el("span", f"state {state}", f"{word}:"), " "]
    audit = source.result["audit"]
    kept = audit["passed"].value and audit["rounded"]["passed"].value
    said.append("every limit is kept" if kept else "the audit did not pass")
    near, few = total.get("nearest_liquidation"), total.get("fewest_sigmas")
    if near is None:
        said.append("; no venue can be liquidated by price")
    else:
        said += ["; nearest liquidation on ", str(near["name"]), " if all coins move "]
        said.append(tag(near["liquidation_move"], numbers.move))
    if few is not None:
        said += ["; the thinnest cushion, on ", str(few["name"]), ", is "]
        said.append(tag(few["cushion_sigmas"], numbers.sigmas))
    yield join([*said, "."])


def safety(source: Source) -> Light:
    """The worst of audit, orders withheld, distance in price and distance in standard deviations."""
    audit, total = source.result["audit"], source.result["summary"]
    if not (audit["passed"].value and audit["rounded"]["passed"].value) or source.status != "optimal":
        return "bad"
    near, few = (
        total.get("nearest_liquidation", "liquidation_move"),
        total.get("fewest_sigmas", "cushion_sigmas"),
    )
    move = abs(near.value) if near is not None else float("inf")
    sigmas = few.value if few is not None else float("inf")
    if move <= _NEAR or sigmas <= _FEW:
        return "bad"
    breached = (source.result["objective"]["breaches_usd"].value or 0.0) > 0.005
    return "watch" if move <= _FAR or sigmas <= _MANY or breached else "good"


def _saves(result: Node) -> Html:
    """Against doing nothing, where the result holds that comparison."""
    still = result.get("alternatives", "doing_nothing")
    if still is None:
        return el("span", "note", "This result holds no comparison with doing nothing.")
    trade = still["rebalance"]
    said: list[Content] = []
    if not still["permitted"].value:
        worst = still["breaches"][0]
        said += ["Doing nothing is not permitted: it breaches ", str(worst["limit"]), " of "]
        said += [str(worst["subject"]), " by ", tag(worst["over_usd"], numbers.dollars), ". "]
    saves = trade["saves_usd_per_day"]
    verb = "this saves " if saves.value >= 0 else "this gives up "
    said += ["Against doing nothing, ", verb, size(saves, numbers.dollars), " a day and costs "]
    said += [tag(trade["cash_usd"], numbers.dollars), " once"]
    if (hours := trade.get("break_even_hours")) is not None:
        said += ["; it pays for itself in ", tag(hours, numbers.hours)]
    return join([*said, "."])


def tiles(result: Node) -> Html:
    """The figures of the day."""
    risk, total = result["risk"], result["summary"]
    horizon = f"{result['decision_hours'].value:g} h"
    earned = result["objective"]["funding_usd"]
    earns = "Funding earned" if earned.value <= 0 else "Funding paid"
    shown = [
        ("Hedge effectiveness, predicted", tag(risk["hedge_effectiveness"], numbers.percent2), ""),
        (
            f"Volatility, {horizon}",
            tag(risk["volatility_hedged_usd"], numbers.dollars),
            "volatility_unhedged_usd",
        ),
        (f"99 % loss, {horizon}", tag(risk["loss_99_hedged_usd"], numbers.dollars), "loss_99_unhedged_usd"),
        (f"{earns}, {horizon}", size(earned, numbers.dollars), ""),
        ("Cash cost of trading, once", tag(total["paid_usd"], numbers.dollars), ""),
    ]
    return el("dl", "tiles", *(_tile(name, value, risk, bare) for name, value, bare in shown))


def _tile(name: str, value: Html, risk: Node, unhedged: str) -> Html:
    before = [el("small", "", "unhedged ", tag(risk[unhedged], numbers.dollars))] if unhedged else []
    return el("div", "", el("dt", "", name), el("dd", "", value, *before))


def lights(source: Source) -> Html:
    """Data quality: the age of every table against its limit, and what the run warned of."""
    ages, notices = source.result.get("data"), source.result.get("notices")
    shown = [_age(age) for age in ages or ()]
    if ages is None:
        shown.append(light("none", "ages of tables: this result does not hold them"))
    shown += [light("watch", str(notice)) for notice in notices or ()]
    if not notices:
        shown.append(light("good", "no notices"))
    return el("ul", "lights", *shown)


def _age(age: Node) -> Html:
    old, limit = age.get("age_hours"), age["limit_hours"]
    if old is None:
        return light("none", el("span", "", f"{age['table']}: "), "nothing of it is used")
    share = old.value / limit.value if limit.value > 0 else float(old.value > 0)
    state: Light = "good" if share <= _AGEING else "watch" if share <= 1 else "bad"
    return light(
        state, f"{age['table']}: ", tag(old, numbers.hours), " old, limit ", tag(limit, numbers.hours)
    )
