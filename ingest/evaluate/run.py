"""Ask a collection every question in every way, and measure what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ingest.embedding.base import HttpAddress, ServedModel, describe
from ingest.evaluate.exact import search_exactly
from ingest.evaluate.metrics import Interval, Ranks, first_ranks, interval, ndcg, recall, reciprocal_rank
from ingest.evaluate.questions import LabelledQuestion, Place, Question, from_headings, label, read_questions, sample
from ingest.search import embed_queries
from ingest.sinks.base import CollectionSpec, Query, VectorSink
from serve_app.core import dimensions
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors

Mode = Literal["dense", "index", "bm25", "hybrid"]
Rankings = list[list[str]]  # of chunks' keys, one for every question
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_MODES: tuple[Mode, ...] = ("dense", "bm25", "hybrid")
DEFAULT_WIDTHS = (2048, 1024, 512, 256, 128, 64)
RANK_CUTOFF = 10  # of MRR and nDCG


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    `dense` is exact search, at every width; `index` the store's own dense search, which is approximate; `bm25` and
    `hybrid` are the store's too. None for the modes: the default ones, as far as the store can do them.
    """

    collection: str
    questions: Path | None = None  # None: from the headings of what is stored
    widths: tuple[int, ...] | None = None
    modes: tuple[Mode, ...] | None = None
    cutoffs: tuple[int, ...] = (1, 5, 10)  # of recall
    limit: int = 200
    instruction: str | None = None
    seed: int = 0

    @property
    def depth(self) -> int:
        return max(RANK_CUTOFF, *self.cutoffs)


@dataclass(frozen=True, slots=True)
class Scores:
    mode: Mode
    dimensions: int | None  # None: no vector has a part in it
    recall: dict[int, Interval]  # by cutoff
    mrr: Interval
    ndcg: Interval


@dataclass(frozen=True, slots=True)
class Evaluation:
    collection: str
    model: str
    chunks: int
    questions: tuple[Question, ...]
    is_known_item: bool
    unmatched_answers: int  # of which nothing is stored: they count as not found
    seed: int
    scores: tuple[Scores, ...]
    left_out: tuple[str, ...]  # modes that the store cannot do, and why


def evaluate(sink: VectorSink, endpoint: HttpAddress, plan: Plan) -> Evaluation:
    """Reads the whole collection once without vectors, and once with them for `dense`. Raises SetupError."""
    collection = sink.target_of(plan.collection) or plan.collection  # an alias that moves meanwhile changes nothing
    spec = sink.spec_of(collection)
    if spec is None:
        raise SetupError(f"There is no collection `{plan.collection}`, or it does not say which model it was made for.")
    places = [Place.of(stored) for stored in sink.scan(collection, with_vectors=False)]
    questions = _questions(plan, places)
    labelled = label(questions, places)
    if not any(answer for question in labelled for answer in question.answers):
        raise SetupError(f"Of none of the answers is anything stored in `{plan.collection}`: check their source_file.")
    served = describe(HttpAddress(endpoint.url, endpoint.key, spec.model))
    if served.name != spec.model:
        raise SetupError(
            f"`{plan.collection}` was made for {spec.model}, which the cluster serves only as an alias of another "
            f"model, {served.name}: serve {spec.model} itself, or ingest anew."
        )
    widths = _widths(plan.widths, spec, served)
    texts = [question.text for question in labelled]
    vectors = dimensions.cut(embed_queries(endpoint, served.name, texts, plan.instruction), spec.dimensions)
    scores, left_out = _Examination(sink, collection, plan, labelled, vectors, widths).sit()
    return Evaluation(
        collection=plan.collection,
        model=served.name,
        chunks=len(places),
        questions=tuple(questions),
        is_known_item=plan.questions is None,
        unmatched_answers=sum(not answer for question in labelled for answer in question.answers),
        seed=plan.seed,
        scores=tuple(scores),
        left_out=tuple(left_out),
    )


def _questions(plan: Plan, places: Sequence[Place]) -> list[Question]:
    if plan.questions is not None:
        return sample(read_questions(plan.questions), plan.limit, plan.seed)
    found = sample(from_headings(places), plan.limit, plan.seed)
    if not found:
        raise SetupError(
            f"The {len(places)} chunks of `{plan.collection}` have no headings to make questions of; give --questions."
        )
    return found


def _widths(wanted: Sequence[int] | None, spec: CollectionSpec, served: ServedModel) -> list[int]:
    """Largest first. Raises SetupError for one that the stored vectors, or the model, do not have."""
    least, most = min(served.min_dimensions, spec.dimensions), spec.dimensions
    if wanted is None:
        return [most, *(width for width in DEFAULT_WIDTHS if least <= width < most)]
    outside = [width for width in wanted if not least <= width <= most]
    if outside:
        raise SetupError(
            f"--dims {outside[0]}: the stored vectors of {spec.model} can be cut to {least} to {most} dimensions."
        )
    return sorted(set(wanted), reverse=True)


@dataclass(frozen=True, slots=True)
class _Examination:
    """Everything that is asked of one collection."""

    sink: VectorSink
    collection: str
    plan: Plan
    questions: Sequence[LabelledQuestion]
    vectors: Vectors  # (questions, stored dimensions)
    widths: Sequence[int]

    def sit(self) -> tuple[list[Scores], list[str]]:
        """The scores, and the modes that the store cannot do. Raises SetupError for one that was asked for."""
        scores: list[Scores] = []
        left_out: list[str] = []
        for mode in self.plan.modes or DEFAULT_MODES:
            try:
                scores += [self._scores(mode, width, found) for width, found in self._rankings(mode)]
            except SetupError as error:
                if self.plan.modes is not None or mode == "dense":
                    raise
                left_out.append(f"{mode}: {error.message}")
        return scores, left_out

    def _rankings(self, mode: Mode) -> list[tuple[int | None, Rankings]]:
        """For every width of the mode, the keys that each question finds, best first."""
        if mode == "dense":
            stored = self.sink.scan(self.collection)
            search = search_exactly(self.vectors, stored, self.widths, self.plan.depth)
            return [(width, search.rankings(width)) for width in self.widths]
        return [
            (None if mode == "bm25" else self.vectors.shape[1], [self._found(query) for query in self._asked(mode)])
        ]

    def _asked(self, mode: Mode) -> list[Query]:
        return [
            Query(
                vector=None if mode == "bm25" else vector,
                limit=self.plan.depth,
                text=None if mode == "index" else question.text,
            )
            for question, vector in zip(self.questions, self.vectors, strict=True)
        ]

    def _found(self, query: Query) -> list[str]:
        return [hit.key for hit in self.sink.search(self.collection, query)]

    def _scores(self, mode: Mode, width: int | None, rankings: Rankings) -> Scores:
        asked = zip(rankings, self.questions, strict=True)
        ranks = [first_ranks(ranking, question.answers) for ranking, question in asked]

        def mean_of(metric: Callable[[Ranks, int], float], cutoff: int) -> Interval:
            return interval(np.array([metric(of_question, cutoff) for of_question in ranks]), self.plan.seed)

        return Scores(
            mode=mode,
            dimensions=width,
            recall={cutoff: mean_of(recall, cutoff) for cutoff in self.plan.cutoffs},
            mrr=mean_of(reciprocal_rank, RANK_CUTOFF),
            ndcg=mean_of(ndcg, RANK_CUTOFF),
        )
