"""The picture of the README is that of today's daily run, and stands alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from small_desk import ROOT

import allocator
from allocator.report.nodes import Node
from allocator.report.poster import poster

FILE = ROOT / "scenarios/daily.svg"


@pytest.fixture(scope="module")
def drawn() -> str:
    allocation = allocator.allocate(ROOT / "scenarios/daily.yaml")
    return poster(Node(dict(allocation.result), "result.json#"))


def words(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", picture)


def test_the_file_shows_today_s_numbers(drawn):
    message = "draw it again: python -m allocator.report.poster runs/<run id> > scenarios/daily.svg"
    assert words(FILE.read_text(encoding="utf-8")) == words(drawn), message
    assert len(words(drawn)) > 60


def test_it_is_an_image_that_loads_nothing(drawn):
    ElementTree.fromstring(drawn)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|url\(|@import|data-", drawn)
    assert "prefers-color-scheme: dark" in drawn
    assert len(drawn.encode()) < 60_000
