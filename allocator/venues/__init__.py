"""Venue tables: dated, sourced YAML files of fees, contract terms, funding and margin. A venue is a table."""
