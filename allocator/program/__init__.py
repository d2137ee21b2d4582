"""The convex program in CVXPY: numbers, variables, limits, compilation and solution."""
