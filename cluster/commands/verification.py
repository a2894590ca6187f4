"""`embedctl verify`: are the served vectors those of the model? Compares them with transformers in float32."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from cluster.config import ClusterConfig
from ingest.embedding.base import HttpAddress
from ingest.embedding.http import EndpointClient, first_model, no_endpoint
from ingest.embedding.vectors import embed_texts
from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds, Vectors
from serve_app.model.checkpoint import locate, read_profile
from serve_app.settings import ModelSettings

MIN_COSINE = 0.998  # bfloat16 against float32 stays above it; a wrong pooling, token or instruction falls far below
TIMEOUT_S = 120.0
DOCUMENTS = (
    "年假未休完的部分可以结转到下一年度第一季度，逾期作废。",
    "采购合同应当在签订前由法务部门审核，金额超过五十万元的须经总经理批准。",
    "The supplier pays half a percent of the contract value for every started week of delay.",
    "Employees may work from home on two days a week after their probation period.",
    "设备保修期为自验收合格之日起二十四个月。",
    "The warranty does not cover damage caused by improper storage or by unauthorised repairs.",
    "Invoices are due within thirty days; 2 % discount applies within ten.",
    "该接口每秒最多处理 1,000 个请求，超出部分返回 429 状态码。",
    "def mean(values: list[float]) -> float:\n    return sum(values) / len(values)",
    "请在 2025 年 3 月 31 日之前提交 Q1 expense report，并附上发票原件。",
    "x",
    "Travel expenses are reimbursed on presentation of receipts. 差旅费凭票据实报销。" * 8,
)
QUESTION = "迟延交货的违约金是多少？ How high is the penalty for late delivery?"
TASK = "Find the clause of a contract or handbook that answers the question"


@dataclass(frozen=True, slots=True)
class Reference:
    """The right vectors of DOCUMENTS and, in the last row, of QUESTION."""

    ids: list[TokenIds]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the served vectors come from; an empty key sends none."""

    url: str
    key: str = field(repr=False)

    def served_model(self, wanted: str) -> str:
        """`wanted`, or the endpoint's first model if that is empty. Raises SetupError."""
        if wanted:
            return wanted
        with self._client() as client:
            return first_model(client)

    def vectors(self, model: str, has_instruction: bool) -> Vectors:
        """The endpoint's vectors of the texts of a Reference, in its order. Raises SetupError."""
        query: dict[str, object] = {"input_type": "query", **({"instruction": TASK} if has_instruction else {})}
        with self._client() as client:
            documents = embed_texts(client, model, DOCUMENTS, {})
            questions = embed_texts(client, model, [QUESTION], query)
        if documents.shape[1] != questions.shape[1]:
            raise no_endpoint(self.url)
        return np.concatenate([documents, questions])

    def _client(self) -> EndpointClient:
        return EndpointClient(HttpAddress(self.url, self.key), TIMEOUT_S)


def checkpoint_of(config: ClusterConfig, model: str, given: Path | None) -> tuple[ModelSettings, Path]:
    """Settings and checkpoint directory of a served model: `given`, or what the configuration says.

    Raises SetupError if neither knows it.
    """
    known = next((m for m in config.models if model in (m.served_name, *m.aliases)), None)
    if given is not None:
        return known or ModelSettings(path=str(given), name=model), locate(str(given), weights=True)
    if known is None:
        raise SetupError(f"The configuration has no model {model}: give its directory with --checkpoint, or --config.")
    return known, locate(known.path, weights=True)


def compute_reference(profile: ModelProfile) -> Reference:
    """One text at a time in float32, so that neither padding nor batching can play a part."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = Tokenizer.from_file(f"{profile.path}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = AutoModel.from_pretrained(profile.path, dtype=torch.float32).eval()
    ids = [_with_end(tokenizer.encode(text).ids, profile.end_token_id) for text in (*DOCUMENTS, question(profile))]
    rows = []
    for text in ids:
        with torch.no_grad():
            hidden = (
                model(input_ids=torch.from_numpy(text.astype(np.int64))[None]).last_hidden_state[0].numpy()
            )  # (tokens, dimensions)
        rows.append(
            hidden.mean(axis=0) if profile.pooling == "mean" else hidden[-1 if profile.pooling == "last" else 0]
        )
    matrix = np.stack(rows)
    return Reference(ids, matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def question(profile: ModelProfile) -> str:
    """QUESTION as the model wants queries, written out here and not by the code that is verified."""
    template = profile.query_template or "{text}"
    return template.replace("{instruction}", TASK).replace("{text}", QUESTION)


def _with_end(ids: list[int], end: int | None) -> TokenIds:
    return np.array(ids if end is None or ids[-1:] == [end] else [*ids, end], dtype=np.int32)


def cosines(served: Vectors, reference: Reference) -> NDArray[np.float64]:
    """(texts,) cosines; raises SetupError if the widths differ."""
    if served.shape != reference.vectors.shape:
        raise SetupError(
            f"The endpoint's vectors have {served.shape[1]} dimensions, the checkpoint's "
            f"{reference.vectors.shape[1]}: they are two different models; give the right --checkpoint."
        )
    left, right = served.astype(np.float64), reference.vectors.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    result: NDArray[np.float64] = (left * right).sum(axis=1) / norms
    return result


def agree(values: NDArray[np.float64]) -> bool:
    """Not a number counts as a difference."""
    return bool((values >= MIN_COSINE).all())


def show(console: Console, reference: Reference, values: NDArray[np.float64]) -> None:
    text_column = Column("text", no_wrap=True, overflow="ellipsis", max_width=56)
    table = Table(text_column, Column("tokens", min_width=6), Column("cosine", min_width=7))
    texts = (*DOCUMENTS, f"query: {QUESTION}")
    for text, ids, value in zip(texts, reference.ids, values, strict=True):
        colour = "green" if value >= MIN_COSINE else "red"
        table.add_row(escape(" ".join(text.split())), str(len(ids)), f"[{colour}]{value:.5f}[/{colour}]")
    console.print(table)


def verify(
    endpoint: Endpoint, model: str, settings: ModelSettings, directory: Path
) -> tuple[Reference, NDArray[np.float64]]:
    """The reference of the checkpoint and the cosine of every served vector with it."""
    profile = read_profile(settings, directory)
    served = endpoint.vectors(model, profile.takes_instruction)  # first: it fails at once if nothing answers
    reference = compute_reference(profile)
    return reference, cosines(served, reference)
