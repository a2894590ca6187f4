"""From the `input` of a request to token ids, within the limits; beside the event loop where that takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serve_app.core.errors import InputTooLong, InvalidRequest, TooManyInputs
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds
from serve_app.model.tokenizer import EXCERPT_CHARACTERS, TextTokenizer, Truncate
from serve_app.settings import LimitSettings

Given = list[str] | list[list[int]]
INLINE_CHARACTERS = 500  # about 0.1 ms of tokenising: less than the two thread switches that would take it off the loop
MAX_TOKENIZE_CHARACTERS = 1_000_000


class InputReader:
    """Shared by all models of one Router. Its errors name the field, the limit and the fix.

    `limits` may be replaced at any time.
    """

    def __init__(self, limits: LimitSettings, takes_ids: bool) -> None:
        self.limits = limits
        self._takes_ids = takes_ids
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokenizer")

    async def texts(
        self, tokenizer: TextTokenizer, texts: list[str], prefix: str, truncate: Truncate | None, deadline: float
    ) -> list[TokenIds]:
        """Raises RequestError, or TimeoutError at the deadline (on the event loop's clock)."""
        self._check(texts)
        size = sum(map(len, texts))
        if len(prefix) * len(texts) + size <= INLINE_CHARACTERS:
            return tokenizer.encode_bounded(texts, prefix, truncate)
        if size > EXCERPT_CHARACTERS * self.limits.max_request_tokens and truncate is None:
            raise self._too_many(f"{size} characters")
        async with asyncio.timeout_at(deadline):
            ids = await self._aside(lambda: tokenizer.encode_bounded(texts, prefix, truncate))
        return self._checked(ids)

    def ids(
        self, profile: ModelProfile, tokenizer: TextTokenizer, given: list[list[int]], truncate: Truncate | None
    ) -> list[TokenIds]:
        """Token ids that the client made itself. Raises RequestError."""
        if not self._takes_ids:
            raise InvalidRequest(
                "`input` must be text: this cluster refuses token ids, because those of another tokenizer would be "
                "read as other words. In LangChain, set check_embedding_ctx_length=False.",
                param="input",
            )
        self._check(given)
        size = sum(map(len, given))
        if size > self.limits.max_request_tokens and truncate is None:
            raise self._too_many(f"{size} tokens")
        if max(map(max, given)) >= profile.vocab_size:
            raise InvalidRequest(
                f"`input` has a token id outside the vocabulary: ids go from 0 to {profile.vocab_size - 1}.",
                param="input",
            )
        return self._checked([tokenizer.finish_bounded(np.array(ids, dtype=np.int32), truncate) for ids in given])

    async def whole_texts(self, tokenizer: TextTokenizer, texts: list[str], prefix: str) -> list[TokenIds]:
        """Token ids of texts of any length, as long as they are not too long in all. Raises RequestError."""
        self._check(texts)
        if sum(map(len, texts)) > MAX_TOKENIZE_CHARACTERS:
            raise InputTooLong(
                f"`input` has more than {MAX_TOKENIZE_CHARACTERS} characters: send several requests.", param="input"
            )
        return await self._aside(lambda: tokenizer.encode(texts, prefix))

    async def _aside(self, work: Callable[[], list[TokenIds]]) -> list[TokenIds]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _check(self, given: Given) -> None:
        limit = self.limits.max_inputs
        if not given:
            raise InvalidRequest("`input` is an empty list: send at least one text.", param="input")
        if len(given) > limit:
            raise TooManyInputs(
                f"`input` has {len(given)} items; the limit is {limit}: send several requests.", param="input"
            )
        if not all(given):
            index = next(index for index, item in enumerate(given) if not item)
            raise InvalidRequest(
                f"`input` is empty at index {index}: every text needs at least one token.", param="input"
            )

    def _checked(self, texts: list[TokenIds]) -> list[TokenIds]:
        tokens = sum(map(len, texts))
        if tokens > self.limits.max_request_tokens:
            raise self._too_many(f"{tokens} tokens")
        return texts

    def _too_many(self, size: str) -> InputTooLong:
        return InputTooLong(
            f"`input` has {size} in all; the limit of one request is {self.limits.max_request_tokens} tokens: "
            "send several requests.",
            param="input",
        )
