"""Retrieval metrics of one question, and their means over many with bootstrap intervals.

An answer is a place in a document, stored as one chunk or several, any of which is enough to have found it. What
counts is thus the rank of the first chunk of each answer; where every answer is one chunk, these are the metrics as
usually defined with binary relevance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.float64]  # (answers,) from 1, infinite for an answer that was not found
Values = NDArray[np.float64]  # (questions,)
RESAMPLES = 2_000
MAX_CELLS = 1_000_000  # of one table of resampled values: 8 MB
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over the questions and its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def first_ranks(ranking: Sequence[str], answers: Sequence[Collection[str]]) -> Ranks:
    """Rank of the first chunk of every answer; both are given by the chunks' keys."""
    rank_of = {key: float(rank) for rank, key in reversed(list(enumerate(ranking, start=1)))}
    return np.array([min((rank_of.get(key, np.inf) for key in answer), default=np.inf) for answer in answers])


def recall(ranks: Ranks, cutoff: int) -> float:
    """The share of the answers that are found among the first `cutoff` chunks."""
    return float(np.mean(ranks <= cutoff))


def reciprocal_rank(ranks: Ranks, cutoff: int) -> float:
    """One by the rank of the best answer; 0 beyond `cutoff`."""
    best = float(ranks.min())
    return 1.0 / best if best <= cutoff else 0.0


def ndcg(ranks: Ranks, cutoff: int) -> float:
    """Discounted cumulative gain of the answers' first chunks, by that of the best possible ranking.

    A chunk that holds several answers gains each of them, but the second one only as much as at the next rank: none
    could do better than one answer a rank.
    """
    ideal = np.arange(1, len(ranks) + 1)
    positions = np.maximum(np.sort(ranks), ideal)
    gained = (1.0 / np.log2(1.0 + positions[positions <= cutoff])).sum()
    return float(gained / (1.0 / np.log2(1.0 + ideal[:cutoff])).sum())


def interval(values: Values, seed: int) -> Interval:
    """The mean of at least one value; resampled with the seed, so the same values always give the same interval."""
    generator = np.random.default_rng(seed)
    count = len(values)
    at_once = max(1, MAX_CELLS // count)
    means = [
        values[generator.integers(count, size=(min(at_once, RESAMPLES - done), count))].mean(axis=1)
        for done in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(values.mean()), float(low), float(high))
