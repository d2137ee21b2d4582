"""Order books: uncrossed, ordered, in contracts, and around the mark."""

from __future__ import annotations

import numpy as np

from allocator.errors import Problem
from allocator.snapshot.check_prices import FARTHEST_FROM_INDEX
from allocator.snapshot.faults import Checked, Tables
from models.arrays import IntVector


def check_books(table: Checked, tables: Tables) -> list[Problem]:
    """Zero sizes and prices, levels out of order, crossed or locked books, books far from the mark."""
    price, size = table.number("price"), table.number("size_contracts")
    problems = table.faults(
        size <= 0, lambda i: f"size_contracts is {size[i]:g}: leave empty levels out, sizes are > 0"
    )
    problems += table.faults(price <= 0, lambda i: f"price is {price[i]:g}: write a price > 0")
    marks = _latest_marks(tables.get("prices"))
    for rows in table.groups("time", "venue", "symbol"):
        problems += _check_book(table, rows, marks)
    return problems


def _check_book(table: Checked, rows: IntVector, marks: dict[tuple[str, str], float]) -> list[Problem]:
    price, level = table.number("price"), table.number("level")
    is_bid = table.text("side")[rows] == "bid"
    key = (str(table.text("venue")[rows[0]]), str(table.text("symbol")[rows[0]]))
    name = " ".join(key)
    sides = {"bid": rows[is_bid], "ask": rows[~is_bid]}
    for side, members in sides.items():
        if not members.size:
            return [
                Problem(table.at(rows[0]), f"{name} has no {side}: write both sides, or leave the book out")
            ]
        ordered = members[np.argsort(level[members], kind="stable")]
        if not np.array_equal(level[ordered], np.arange(1, ordered.size + 1)):
            found = ", ".join(f"{value:g}" for value in level[ordered])
            return [
                Problem(
                    table.at(ordered[0]), f"{name} {side} levels are {found}: write 1, 2, 3, … from the best"
                )
            ]
        steps = np.diff(price[ordered]) * (-1 if side == "bid" else 1)
        if (steps <= 0).any():
            at = ordered[int(np.argmax(steps <= 0)) + 1]
            way = "fall" if side == "bid" else "rise"
            return [
                Problem(
                    table.at(at),
                    f"{name} {side} price {price[at]:g} is not beyond level 1: {side} prices {way} by level",
                )
            ]
        sides[side] = ordered
    bid, ask = float(price[sides["bid"][0]]), float(price[sides["ask"][0]])
    if bid >= ask:
        state = "locked" if bid == ask else "crossed"
        return [
            Problem(
                table.at(sides["bid"][0]),
                f"{name} is {state}: bid {bid:g} >= ask {ask:g}; read the book again",
            )
        ]
    mark = marks.get(key)
    if mark is not None and abs((bid + ask) / 2 / mark - 1) > FARTHEST_FROM_INDEX:
        message = f"{name} book is around {(bid + ask) / 2:g}, its mark is {mark:g}: write both in one unit"
        return [Problem(table.at(sides["bid"][0]), message)]
    return []


def _latest_marks(prices: Checked | None) -> dict[tuple[str, str], float]:
    if prices is None or not len(prices.frame):
        return {}
    hours, price = prices.hours("time"), prices.number("price")
    venue, symbol = prices.text("venue"), prices.text("symbol")
    newest = [rows[np.argmax(hours[rows])] for rows in prices.groups("venue", "symbol")]
    return {(str(venue[i]), str(symbol[i])): float(price[i]) for i in newest if price[i] > 0}
