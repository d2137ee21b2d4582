"""How a venue computes margin, where it is more than a rate per bracket: part of a venue's entry.

Rules are data, their formulas are in `models.schedules`. Without any of them, maintenance margin is by
brackets with deductions and initial margin is notional over the leverage chosen.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from allocator.units import Fraction, Multiple, Usd


class Rules(BaseModel):
    """Frozen, strict about keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HaircutTier(Rules):
    """The haircut of the part of a balance between the cap before and this one."""

    cap: Annotated[Usd, Field(gt=0)]
    haircut: Annotated[Fraction, Field(ge=0, le=1)]


class QuadraticRule(Rules):
    """Rates that grow with the position, per coin held (Deribit standard margin)."""

    initial: Annotated[Fraction, Field(gt=0, le=1)] = Field(description="Initial margin rate at size 0.")
    maintenance: Annotated[Fraction, Field(gt=0, le=1)] = Field(description="Maintenance rate at size 0.")
    per_coin: Annotated[Fraction, Field(ge=0)] = Field(description="Added to both rates per coin held.")


class OpenInterestRule(Rules):
    """Initial margin that rises to 100 % as the market's open interest goes between two caps (dYdX)."""

    base: Annotated[Fraction, Field(gt=0, le=1)] = Field(description="Initial margin fraction below `lower`.")
    lower: Annotated[Usd, Field(ge=0)]
    upper: Annotated[Usd, Field(ge=0)]
    open_interest: Annotated[Usd, Field(ge=0)] = Field(description="The market's open interest now.")


class GridMove(Rules):
    """One price move of a scenario grid."""

    move: Fraction
    weight: Annotated[Fraction, Field(gt=0, le=1)] = Field(1.0, description="Share of the loss that counts.")


class MinimumTier(Rules):
    """The multiplier of the part of a minimum charge between the cap before and this one."""

    cap: Annotated[Usd, Field(gt=0)] | None = Field(
        None, description="Of the charge; only the last has none."
    )
    multiplier: Annotated[Multiple, Field(ge=1)]


class PortfolioRule(Rules):
    """Portfolio margin of one underlying: worst loss over a grid of moves, and charges."""

    grid: Annotated[list[GridMove], Field(min_length=1)]
    hedged: Annotated[Fraction, Field(ge=0, le=1)] = Field(0.0, description="Charge on min(long, short).")
    gross: Annotated[Fraction, Field(ge=0, le=1)] = Field(0.0, description="Charge on the gross.")
    minimum: Annotated[Fraction, Field(ge=0, le=1)] = Field(0.0, description="Least margin, of the gross.")
    minimum_tiers: list[MinimumTier] = Field(
        [], description="Multipliers of that minimum, part by part as it grows; none: it counts once."
    )
    initial_factor: Annotated[Multiple, Field(ge=1)] = Field(description="Initial over maintenance margin.")

    @model_validator(mode="after")
    def _tiers_in_order(self) -> PortfolioRule:
        tiers = self.minimum_tiers
        caps = [tier.cap for tier in tiers]
        if tiers and self.minimum == 0:
            raise ValueError("`minimum_tiers` multiply the `minimum`; write it too")
        if tiers and (caps[-1] is not None or None in caps[:-1]):
            raise ValueError("the last of `minimum_tiers`, and no other, is without a cap")
        known = [cap for cap in caps if cap is not None]
        if known != sorted(set(known)):
            raise ValueError("caps of `minimum_tiers` must rise; write the smallest first")
        if [t.multiplier for t in tiers] != sorted(t.multiplier for t in tiers):
            raise ValueError("multipliers of `minimum_tiers` fall: that is not convex; write rising ones")
        return self


class MarginRules(Rules):
    """The rules of one venue. Maps are keyed by asset."""

    tiers: Literal["marginal", "whole_position"] = Field(
        "marginal",
        description="Whether a tier's rate counts for the part inside it or for the whole position; "
        "the snapshot's `margin_tiers` have no deductions then.",
    )
    initial: Literal["leverage", "none"] = Field(
        "leverage",
        description="`none`: no initial margin, only maintenance margin counts (Binance portfolio margin).",
    )
    liquidation_fee: Annotated[Fraction, Field(ge=0, le=1)] = Field(
        0.0,
        description="Of the notional, added to maintenance margin by tiers or growing rates (OKX).",
    )
    quadratic: dict[str, QuadraticRule] = Field({}, description="By asset; replaces tiers and leverage.")
    open_interest: dict[str, OpenInterestRule] = Field({}, description="By asset; a floor of initial margin.")
    netting: Literal["none", "long_short"] = Field(
        "none", description="`long_short`: per asset, the larger of the longs' and the shorts' margin."
    )
    portfolio: dict[str, PortfolioRule] = Field({}, description="By asset; replaces tiers and leverage.")


def needs_tiers(rules: MarginRules, asset: str) -> bool:
    """Whether perps of this asset are margined by tiers and a leverage, not by a rule of their own."""
    return asset not in rules.quadratic and asset not in rules.portfolio
