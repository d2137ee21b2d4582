"""Snapshot folders: the tables a decision is made from, read and checked at one door."""
