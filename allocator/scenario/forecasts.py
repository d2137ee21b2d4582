"""The `forecasts` section of a scenario: everything the program believes about the future."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from allocator.scenario.base import Model, Positive
from allocator.units import Fraction, FundingRate, Hours, Yearly

_LAGGED = ("ewma", "sample")


class AssetForecast(Model):
    """Asset covariance over the decision horizon: estimated, then scaled, then floored, then in factors."""

    method: Literal["ewma", "sample", "ledoit_wolf", "oas", "given"] = Field(
        "ewma",
        description="`ewma` and `sample` take each pair's common times, the shrunk `ledoit_wolf` and `oas` "
        "only times that have every asset.",
    )
    half_life: Annotated[Hours, Field(gt=0)] = Field(30 * 24.0, description="For `ewma`.")
    window: Annotated[Hours, Field(gt=0)] = Field(120 * 24.0, description="History used, of the basis too.")
    asynchronous_lags: Annotated[int, Field(ge=0, le=24)] = Field(
        0,
        description="For `ewma` and `sample`: steps of lead and lag added to the covariances, 1 for prices "
        "not taken at one moment.",
    )
    factors: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Keep this many principal factors, the rest is idiosyncratic; default: all."
    )
    factor_assets: list[str] = Field(
        [], description="Assets that are the factors, such as [BTC, ETH]: others move together through them."
    )
    daily_volatility: dict[str, Annotated[Fraction, Field(gt=0)]] = Field({}, description="For `given`.")
    correlation: Annotated[float, Field(ge=0, lt=1)] = Field(0.7, description="For `given`: every pair.")
    implied_volatility: dict[str, Annotated[Yearly, Field(gt=0)]] = Field(
        {}, description="Replaces the volatility of these assets, such as 55%/y; correlations stay."
    )
    scale: Positive = Field(
        1.0, description="Multiplies every other volatility: 1.5 for a regime wilder than its history."
    )
    floor: Annotated[Fraction, Field(ge=0)] = Field(0.005, description="Least daily volatility.")

    @model_validator(mode="after")
    def _consistent(self) -> AssetForecast:
        if self.asynchronous_lags and self.method not in _LAGGED:
            raise ValueError(
                f"asynchronous_lags has no effect on `{self.method}`; write 0, or method: ewma or sample"
            )
        if self.factors is not None and self.factor_assets:
            raise ValueError("factors and factor_assets exclude each other; write one of them")
        return self


class BasisForecast(Model):
    """Venue basis: a mean-reverting level, so its change saturates with the horizon.

    Bases move together: over 2023 to 2025 equal shorts of all perps had 1.5 to 1.7 times the volatility that
    independent bases predict, and 1.05 to 1.1 times that of two common factors.
    That of a dated future is pinned at expiry: its sd, the floor too, shrinks to nothing by then.
    """

    method: Literal["estimated", "given"] = "estimated"
    outlier_limit: Positive = Field(
        10.0, description="For `estimated`: levels are cut this many robust sds from their median."
    )
    memory: Annotated[Hours, Field(gt=0)] = Field(
        15 * 24.0, description="For `estimated`: half-life of the weight of past changes."
    )
    factors: Annotated[int, Field(ge=0)] = Field(
        2, description="For `estimated`: common factors of all bases; 0 takes them as independent."
    )
    correlation_memory: Annotated[Hours, Field(gt=0)] = Field(
        30 * 24.0, description="For `estimated`: half-life of the weight of past changes in the factors."
    )
    coin_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="For `estimated`: weight of the beta of all bases on their coins' returns, against none; "
        "over 2023 to 2025 bases rose with their coins, and a hedge some 0.1 % smaller was calmer.",
    )
    level: Annotated[Fraction, Field(ge=0)] = Field(0.0006, description="For `given`: sd of the basis level.")
    correlation: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.3, description="For `given`: every pair of bases; recorded pairs had 0.1 to 0.6 on average."
    )
    half_life: Annotated[Hours, Field(gt=0)] = Field(2.0, description="For `given`: of a deviation.")
    floor: Annotated[Fraction, Field(gt=0)] = Field(0.0003, description="Least sd over the decision horizon.")


class CurrencyForecast(Model):
    """Quote and collateral currencies against USD."""

    daily_volatility: dict[str, Annotated[Fraction, Field(ge=0)]] = Field(
        description="Sd of a day's change against USD, one entry for every stablecoin in use."
    )
    floor: Annotated[Fraction, Field(ge=0)] = 0.0002


class FundingForecast(Model):
    """Expected funding: the venue's indication first, then averages that revert to longer ones.

    The gap of the last print to the recent average closes within an hour or so, that of the recent average to
    the long one within days, that of the long one to the long run within weeks.
    """

    last_reversion: Annotated[Hours, Field(gt=0)] = Field(
        1.0, description="Half-life of the last print's gap to the recent average."
    )
    recent_half_life: Annotated[Hours, Field(gt=0)] = Field(8.0, description="Recent EWMA of settled rates.")
    recent_reversion: Annotated[Hours, Field(gt=0)] = Field(
        24.0, description="Half-life of its gap to the long average."
    )
    half_life: Annotated[Hours, Field(gt=0)] = Field(5 * 24.0, description="Long EWMA of settled rates.")
    reversion: Annotated[Hours, Field(gt=0)] = Field(
        16 * 24.0, description="Half-life of its gap to the long run."
    )
    long_run: FundingRate = Field(0.0001 / 8, description="Level to which the forecast reverts.")
    window: Annotated[Hours, Field(gt=0)] = Field(
        90 * 24.0, description="History for the averages and the error."
    )

    @model_validator(mode="after")
    def _ordered(self) -> FundingForecast:
        if self.recent_half_life > self.half_life:
            raise ValueError("recent_half_life is longer than half_life; write it shorter")
        return self


class Forecasts(Model):
    """Everything the program believes about the future."""

    assets: AssetForecast = AssetForecast()
    basis: BasisForecast = BasisForecast()
    currencies: CurrencyForecast
    funding: FundingForecast = FundingForecast()
