"""A scenario and its snapshot as aligned arrays: all numbers the program, the audit and the orders need."""

from allocator.market.types import Account, Decision, Instrument, LimitSpec, Market, Pocket, Route

__all__ = ["Account", "Decision", "Instrument", "LimitSpec", "Market", "Pocket", "Route"]
