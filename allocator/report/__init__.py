"""A finished run as one page for people: self-contained, offline, printable; no number of its own."""
