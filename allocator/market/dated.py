"""Dated futures among a market's instruments: their carry in the place of funding, and what to tell of it."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from allocator.market.exposures import Reference
from allocator.market.types import Funding, Instrument, Prices
from allocator.market.universe import Findings, Listing
from models.arrays import Vector
from models.dated import carry_over, premium
from models.error_factors import embedded
from models.funding import holding_cost

_NAMED = 5


def hours_to_expiry(listing: Listing, as_of: datetime) -> float:
    """Hours from `as_of` until a contract settles; infinite for a perpetual."""
    return np.inf if listing.expiry is None else (listing.expiry - as_of).total_seconds() / 3600


def index_premiums(instruments: tuple[Instrument, ...], prices: Prices, reference: Reference) -> Vector:
    """Mark over the coin's own reference price, less one (n,)."""
    units = np.array([i.contract.coins_per_unit for i in instruments], dtype=float)
    index = np.array([reference.of(i.asset, i.key) for i in instruments])
    return premium(prices.mark * prices.quote_usd / units, index)


def with_carry(
    funding: Funding, listings: list[Listing], premiums: Vector, as_of: datetime, hours: float, holding: float
) -> Funding:
    """The funding of perpetuals (m,) among all instruments (n,), dated futures with their carry.

    A dated future never settles funding: rates, caps and uncertainty are zero, the interval is infinite.
    """
    n = len(listings)
    if all(listing.expiry is None for listing in listings):
        return funding
    perps = np.array([k for k, listing in enumerate(listings) if listing.expiry is None], dtype=np.int64)
    left = np.array([hours_to_expiry(listing, as_of) for listing in listings])

    def spread(values: Vector, other: float = 0.0) -> Vector:
        result = np.full(n, other)
        result[perps] = values
        return result

    cost, total = spread(funding.cost), spread(funding.total)
    for i in np.flatnonzero(np.isfinite(left)):
        total[i] = carry_over(float(premiums[i]), float(left[i]), holding)
        cost[i] = holding_cost([total[i]], hours, holding)
    times: list[datetime | None] = [None] * n
    for place, time in zip(perps, funding.next_times, strict=True):
        times[place] = time
    return Funding(
        cost=cost,
        total=total,
        uncertainty=spread(funding.uncertainty),
        next_rate=spread(funding.next_rate),
        next_times=tuple(times),
        interval_hours=spread(funding.interval_hours, np.inf),
        cap=spread(funding.cap),
        errors=embedded(funding.errors, perps, n),
    )


def tell_of_rolls(listings: list[Listing], as_of: datetime, holding: float, findings: Findings) -> None:
    """A notice of the dated futures that expire before a position is expected to end."""
    short = [listing for listing in listings if hours_to_expiry(listing, as_of) < holding]
    if short:
        names = ", ".join(f"{listing.venue} {listing.symbol}" for listing in short[:_NAMED])
        more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        findings.notices.append(
            f"{names}{more}: expires within the holding horizon of {holding:g} h; its carry counts once, "
            "up to expiry, and what it costs to roll does not count"
        )
