"""The nearest problems that cvxportfolio and skfolio can express, timed in their own interpreter.

Run by `test_sweep_speed` with the interpreter of HEDGE_BENCHMARK_PYTHON; prints one JSON object. Both choose
weights of n assets by mean-variance utility with linear trade costs, from given holdings, under a limit on
leverage. Neither has margin, stresses, books of orders, transfers, or multipliers of limits.
"""

import json
import sys
import time

import numpy as np
import pandas as pd

REPEATS = 5


def skfolio_seconds(n: int) -> float:
    """Median CPU seconds of a fit of `MeanRisk` on a year of daily returns."""
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk, ObjectiveFunction

    rng = np.random.default_rng(0)
    returns = pd.DataFrame(rng.normal(0, 0.03, (365, n)), columns=[f"C{k}" for k in range(n)])
    took = []
    for k in range(REPEATS):
        model = MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
            risk_measure=RiskMeasure.VARIANCE,
            risk_aversion=5.0,
            transaction_costs=5e-4,
            previous_weights=np.full(n, 1.0 / n),
            min_weights=-0.5,
            max_weights=0.5,
            max_short=0.5,
            solver="CLARABEL",
        )
        start = time.process_time()
        model.fit(returns * (1 + 0.01 * k))
        took.append(time.process_time() - start)
    return float(np.median(took))


def cvxportfolio_seconds(n: int) -> float:
    """Median CPU seconds of one execution of a single-period policy."""
    import cvxportfolio as cvx

    rng = np.random.default_rng(0)
    names = [f"C{k}" for k in range(n)]
    days = pd.date_range("2024-01-01", periods=60, tz="UTC")
    returns = pd.DataFrame(rng.normal(0, 0.03, (60, n)), columns=names, index=days)
    returns["cash"] = 0.0
    data = cvx.UserProvidedMarketData(returns=returns, cash_key="cash", min_history=pd.Timedelta(days=1))
    covariance = pd.DataFrame(np.cov(returns[names].T) + 1e-4 * np.eye(n), names, names)
    holdings = pd.Series(1e5, [*names, "cash"])
    took = []
    for k in range(REPEATS):
        policy = cvx.SinglePeriodOptimization(
            cvx.ReturnsForecast(r_hat=pd.Series(1e-4 * (1 + 0.1 * k), names))
            - 5.0 * cvx.FullCovariance(covariance)
            - cvx.TransactionCost(a=5e-4, b=None),
            [cvx.LeverageLimit(1.5)],
            solver="CLARABEL",
        )
        start = time.process_time()
        policy.execute(holdings, data)
        took.append(time.process_time() - start)
    return float(np.median(took))


def main(n: int) -> dict[str, float | str]:
    """Seconds by library, or why there are none."""
    found: dict[str, float | str] = {}
    for name, measure in (("skfolio", skfolio_seconds), ("cvxportfolio", cvxportfolio_seconds)):
        try:
            found[name] = measure(n)
        except ImportError as error:
            found[name] = f"not installed ({error.name})"
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
