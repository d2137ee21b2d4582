"""Scenario files: read, merged, validated, written back. Only names and numbers; no market data."""
