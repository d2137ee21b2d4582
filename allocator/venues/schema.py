"""What a venue table may say. Its numbers carry units as in a scenario, its groups name their source.

A table holds what changes rarely: fees, contract terms, funding rules, margin. What changes by the hour
(spread, volume, open interest, prices) is the snapshot's. A cell that is not known is left out, not guessed.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from allocator.scenario.base import Model, Positive
from allocator.scenario.margin_rules import HaircutTier, MarginRules
from allocator.units import Fraction, FundingRate, Hours, Multiple, Usd


def _date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is no date; write a day such as 2026-09-29") from None
    return text


def _month(text: str) -> str:
    try:
        date.fromisoformat(text if len(text) != 7 else f"{text}-01")
    except ValueError:
        raise ValueError(f"`{text}` is no date; write a day or a month such as 2026-09") from None
    return text


Date = Annotated[str, AfterValidator(_date)]
MonthOrDate = Annotated[str, AfterValidator(_month)]


class Source(Model):
    """Where numbers were read."""

    title: str = Field(description="The page, notice, repository or package.")
    date: MonthOrDate = Field(description="Of the page; where it bears none, when it was read.")
    tag: Literal["official", "code", "secondary", "memory"] = Field(
        description="Read on the venue's own page, in code or data, at a third party, or remembered."
    )


class Group(Model):
    """Cells that one source vouches for, except those listed as unverified."""

    source: str = Field(description="A key of `sources`.")
    unverified: list[str] = Field([], description="Cells of this group that are from memory only.")


class TableFees(Group):
    """Base tier; positive is paid by us."""

    maker: Fraction
    taker: Fraction


class Penalties(Group):
    """Share of the position's value that a liquidation costs."""

    by_asset: dict[str, Annotated[Fraction, Field(ge=0, le=1)]] = Field(
        description="By asset; `all` for every other."
    )


class CapRule(Model):
    """A cap of the funding rate that follows from the first margin tier."""

    multiple: Annotated[Multiple, Field(gt=0)]
    of: Literal["maintenance", "initial_less_maintenance"]
    per: Annotated[Hours, Field(gt=0)] = Field(description="Interval of the capped rate.")


class FundingRule(Group):
    """When funding is paid and how large it may get, unless an instrument says otherwise."""

    interval: Annotated[Hours, Field(gt=0)]
    cap: Annotated[FundingRate, Field(gt=0)] | None = Field(None, description="Largest |rate|.")
    cap_rule: CapRule | None = Field(None, description="Instead of `cap`.")


class MarginGroup(Group):
    """How margin is computed: `venues.<name>.margin` of a scenario."""

    rules: MarginRules


class CollateralGroup(Group):
    """How much of a balance counts, tier by tier: read where a scenario's `haircuts` say `tiered`."""

    tiers: Annotated[dict[str, Annotated[list[HaircutTier], Field(min_length=1)]], Field(min_length=1)] = (
        Field(description="By currency: `cap` in USD and `haircut`. Beyond the last cap nothing counts.")
    )


class OpenInterestCaps(Model):
    """What is fixed of an open interest rule; the market's open interest is the scenario's to state."""

    base: Annotated[Fraction, Field(gt=0, le=1)]
    lower: Annotated[Usd, Field(ge=0)]
    upper: Annotated[Usd, Field(gt=0)]


class OpenInterestGroup(Group):
    """Initial margin that rises with open interest."""

    caps: Annotated[dict[str, OpenInterestCaps], Field(min_length=1)] = Field(description="By asset.")


class Tier(Model):
    """One margin tier. A tier starts where the one before it ends; the first at 0."""

    floor: Annotated[Usd, Field(ge=0)] | None = Field(None, description="Checked against the cap before.")
    cap: Annotated[Usd, Field(gt=0)] | None = Field(None, description="No cap: no largest position.")
    cap_contracts: Positive | None = Field(None, description="Instead of `cap`.")
    cap_coins: Positive | None = Field(None, description="Instead of `cap`.")
    rate: Annotated[Fraction, Field(gt=0, le=1)] = Field(description="Maintenance margin rate.")
    max_leverage: Annotated[Multiple, Field(gt=0)]
    deduction: Annotated[Usd, Field(ge=0)] | None = Field(None, description="Checked; default: computed.")


class TierSchedule(Group):
    """The margin tiers that some instruments share."""

    symbols: Annotated[list[str], Field(min_length=1)]
    as_of: Date | None = Field(None, description="Default: the table's.")
    tiers: Annotated[list[Tier], Field(min_length=1)]


class ContractTerms(Group):
    """Static columns of the `instruments` table. Payoff, asset and currencies follow from the symbol."""

    venue_symbol: str | None = None
    contract_size: Positive | None = None
    lot_contracts: Positive | None = None
    tick: Positive | None = None
    min_contracts: Positive | None = None
    min_notional_usd: Annotated[float, Field(ge=0)] | None = None
    coins_per_unit: Annotated[int, Field(gt=0)] | None = Field(None, description="Default: 1.")
    funding_interval_hours: Literal[1, 2, 4, 8] | None = None
    funding_cap: Annotated[Fraction, Field(gt=0)] | None = Field(None, description="Of one settlement.")


class VenueFile(Model):
    """One kind of margin account at one venue."""

    schema_version: Literal[1]
    venue: str = Field(description="Name of the exchange in the snapshot's tables.")
    as_of: Date = Field(description="Day for which the table holds.")
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    fees: TableFees | None = None
    funding: FundingRule | None = None
    liquidation_penalty: Penalties | None = None
    margin: MarginGroup | None = None
    collateral: CollateralGroup | None = None
    open_interest: OpenInterestGroup | None = None
    instruments: dict[str, ContractTerms] = Field({}, description="By ccxt unified symbol.")
    margin_tiers: dict[str, TierSchedule] = Field({}, description="By a name of your choice.")
