"""What a scenario says of the checks that orders must pass before they leave the house."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from allocator.scenario.base import Model
from allocator.units import Fraction, Hours, Multiple, Usd


class Checks(Model):
    """Pre-trade checks. One that fails withholds all orders (exit 6).

    `null` or `false` switches one off, and the result says so.
    """

    precision: bool = Field(True, description="Sizes are whole lots of at least the minimum, prices on tick.")
    price_collar: Annotated[Fraction, Field(gt=0)] | None = Field(
        0.05, description="How far from the mark a limit price may be."
    )
    bracket_cap: bool = Field(True, description="A growing position fits the bracket cap of its leverage.")
    leverage: bool = Field(True, description="The chosen leverage is allowed in the target's own bracket.")
    open_interest_share: Annotated[Fraction, Field(gt=0)] | None = Field(
        0.05, description="A growing position against `open_interest_usd` of the instruments table."
    )
    venue_open_interest_share: Annotated[Fraction, Field(gt=0)] | None = Field(
        0.05, description="A growing coin at one exchange, all its accounts together, against the same."
    )
    instrument_share: Annotated[Fraction, Field(gt=0)] | None = Field(
        None, description="A growing position as a share of the gross of all positions after the fills."
    )
    collateral_currency_share: Annotated[Fraction, Field(gt=0)] | None = Field(
        None, description="Each currency as a share of all collateral at the venues after transfers."
    )
    adv_share: Annotated[Fraction, Field(gt=0)] | None = Field(
        0.1, description="Each instrument's trade against its average daily volume."
    )
    max_order: Annotated[Usd, Field(gt=0)] | None = Field(None, description="The largest single order.")
    history_multiple: Annotated[Multiple, Field(gt=0)] | None = Field(
        5.0, description="Each trade against `largest_trade_20d_contracts` of the positions table."
    )
    target_change: Annotated[Fraction, Field(gt=0)] | None = Field(
        0.5, description="Each target against `last_target_contracts` of positions, as a share of the book."
    )
    margin: bool = Field(
        True, description="All orders filled, and all half filled, every venue's margin holds."
    )
    leg_risk: Annotated[Usd, Field(gt=0)] | None = Field(
        None, description="Naked delta in a coin when only the buys, or only the sells, of a batch fill."
    )
    venue_status: bool = Field(True, description="`status` of the instruments table allows the order.")
    self_trade: bool = Field(True, description="No two accounts of one exchange trade with each other.")
    max_age: Annotated[Hours, Field(gt=0)] | None = Field(
        None, description="Age of `as_of` by the clock when orders are handed out."
    )
    funding_window: Annotated[Hours, Field(gt=0)] | None = Field(
        None, description="No orders this long before a funding settlement of theirs, by the clock."
    )
    kill_switch: Annotated[str, Field(min_length=1)] | None = Field(
        "KILL", description="While this file exists no orders are handed out; relative to `--out`."
    )
    sent_ids: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Text file of client order ids already sent, which must be there; as above."
    )
    duplicate_run: bool = Field(True, description="Fills of this run have not been reconciled yet.")
