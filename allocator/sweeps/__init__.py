"""Thousands of scenarios of one file, each solved, audited and kept as a row."""
