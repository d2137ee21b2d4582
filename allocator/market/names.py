"""All identities of a market, in order, and how they refer to each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from allocator.errors import Problem
from allocator.market.exposures import USD
from allocator.market.types import Account, Index, Instrument, Pocket
from allocator.market.universe import Findings
from allocator.scenario.schema import Scenario


@dataclass(frozen=True)
class Names:
    """Accounts (V,), assets (A,), currencies (C,) and pockets (P,), and to which of them each belongs.

    Of instruments (n,): `venue_of`, `asset_of`, `pocket_of`, and `index_currency_of`, −1 where it is USD; of
    pockets (P,): `pocket_venue`.
    """

    accounts: tuple[Account, ...]
    assets: tuple[str, ...]
    currencies: tuple[str, ...]
    pockets: tuple[Pocket, ...]
    venue_of: Index
    asset_of: Index
    index_currency_of: Index
    pocket_of: Index
    pocket_venue: Index

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        instruments: tuple[Instrument, ...],
        held: Collection[str],
        pockets: tuple[Pocket, ...],
    ) -> Names:
        """The identities that a scenario's instruments, assets held outside and balances name."""
        currencies = tuple(scenario.forecasts.currencies.daily_volatility)
        coins = {p.currency for p in pockets} - set(currencies) - {USD}
        assets = tuple(sorted({i.asset for i in instruments} | set(held) | coins))
        accounts = tuple(Account(name, v.exchange or name, v.account) for name, v in scenario.venues.items())
        venue = {account.name: k for k, account in enumerate(accounts)}
        pocket = {p.key: k for k, p in enumerate(pockets)}
        return cls(
            accounts=accounts,
            assets=assets,
            currencies=currencies,
            pockets=pockets,
            venue_of=_index([venue[i.venue] for i in instruments]),
            asset_of=_index([assets.index(i.asset) for i in instruments]),
            index_currency_of=_index(
                [
                    currencies.index(i.index_currency) if i.index_currency in currencies else -1
                    for i in instruments
                ]
            ),
            pocket_of=_index([pocket[f"{i.venue} {i.settlement_currency}"] for i in instruments]),
            pocket_venue=_index([venue[p.venue] for p in pockets]),
        )

    def check_currencies(
        self, scenario: Scenario, instruments: tuple[Instrument, ...], findings: Findings
    ) -> None:
        """Every index currency but USD needs a volatility: the quote is a risk of its own."""
        for currency in sorted({i.index_currency for i in instruments} - set(self.currencies) - {USD}):
            message = (
                f"instruments are indexed in {currency}; add it to forecasts.currencies.daily_volatility"
            )
            findings.problems.append(Problem("instruments", message))


def _index(values: list[int]) -> Index:
    return np.array(values, dtype=np.int64)
