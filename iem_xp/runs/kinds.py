"""How many files of which suffix there are that are no images: few kinds, whatever there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

OTHER = "other suffixes"
"""The kind of files whose suffixes are too long, numbers, or too many."""

_LONGEST = 12
_MOST = 100
_NAMED = 10


def count_kind(kinds: Counter[str], suffix: str, number: int = 1) -> None:
    """Count files of a lower-case suffix, such as ``".txt"``; "" if they have none."""
    # Names that end with a number, a date or a hash would each be of a kind of its own.
    usual = len(suffix) <= _LONGEST and not suffix[1:].isdecimal()
    kinds[suffix if usual and (suffix in kinds or len(kinds) < _MOST) else OTHER] += number


def describe_kinds(kinds: Mapping[str, int]) -> str:
    """Return a phrase on the most common kinds, and the number of the rest: ``"2 x .txt, 1 x no suffix"``."""
    known = Counter({suffix: number for suffix, number in kinds.items() if suffix != OTHER})
    named = known.most_common(_NAMED)
    rest = sum(kinds.values()) - sum(number for _, number in named)
    phrases = [f"{number} x {suffix or 'no suffix'}" for suffix, number in named]
    return ", ".join([*phrases, *([f"{rest} x {OTHER}"] if rest else [])])
