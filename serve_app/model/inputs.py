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

    Limits come with every call, because they may change while a request is under way.
    """

    def __init__(self, takes_ids: bool) -> None:
        self._takes_ids = takes_ids
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokenizer")
        self._patient_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize-only")

    async def texts(
        self, tokenizer: TextTokenizer, texts: list[str], prefix: str, truncate: Truncate | None, limits: LimitSettings
    ) -> list[TokenIds]:
        """Raises RequestError."""
        _check(texts, limits)
        size = sum(map(len, texts))
        if len(prefix) * len(texts) + size <= INLINE_CHARACTERS:
            return tokenizer.encode_bounded(texts, prefix, truncate)
        if size > EXCERPT_CHARACTERS * limits.max_request_tokens and truncate is None:
            raise _too_many(f"{size} characters", limits)
        return _checked(await _on(self._threads, lambda: tokenizer.encode_bounded(texts, prefix, truncate)), limits)

    def ids(
        self,
        profile: ModelProfile,
        tokenizer: TextTokenizer,
        given: list[list[int]],
        truncate: Truncate | None,
        limits: LimitSettings,
    ) -> list[TokenIds]:
        """Token ids that the client made itself. Raises RequestError."""
        if not self._takes_ids:
            raise InvalidRequest(
                "`input` must be text: this cluster refuses token ids, because those of another tokenizer would be "
                "read as other words. In LangChain, set check_embedding_ctx_length=False.",
                param="input",
            )
        _check(given, limits)
        size = sum(map(len, given))
        if size > limits.max_request_tokens and truncate is None:
            raise _too_many(f"{size} tokens", limits)
        if max(map(max, given)) >= profile.vocab_size:
            raise InvalidRequest(
                f"`input` has a token id outside the vocabulary: ids go from 0 to {profile.vocab_size - 1}.",
                param="input",
            )
        return _checked([tokenizer.finish_bounded(np.array(ids, dtype=np.int32), truncate) for ids in given], limits)

    async def whole_texts(
        self, tokenizer: TextTokenizer, texts: list[str], prefix: str, limits: LimitSettings
    ) -> list[TokenIds]:
        """Token ids of texts of any length, as long as they are not too long in all. Raises RequestError.

        On a thread of its own: texts that wait to be embedded do not wait for those that are only counted.
        """
        _check(texts, limits)
        if sum(map(len, texts)) > MAX_TOKENIZE_CHARACTERS:
            raise InputTooLong(
                f"`input` has more than {MAX_TOKENIZE_CHARACTERS} characters: send several requests.", param="input"
            )
        return await _on(self._patient_thread, lambda: tokenizer.encode(texts, prefix))


async def _on(threads: ThreadPoolExecutor, work: Callable[[], list[TokenIds]]) -> list[TokenIds]:
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _check(given: Given, limits: LimitSettings) -> None:
    limit = limits.max_inputs
    if not given:
        raise InvalidRequest("`input` is an empty list: send at least one text.", param="input")
    if len(given) > limit:
        raise TooManyInputs(
            f"`input` has {len(given)} items; the limit is {limit}: send several requests.", param="input"
        )
    if not all(given):
        index = next(index for index, item in enumerate(given) if not item)
        raise InvalidRequest(f"`input` is empty at index {index}: every text needs at least one token.", param="input")


def _checked(texts: list[TokenIds], limits: LimitSettings) -> list[TokenIds]:
    tokens = sum(map(len, texts))
    if tokens > limits.max_request_tokens:
        raise _too_many(f"{tokens} tokens", limits)
    return texts


def _too_many(size: str, limits: LimitSettings) -> InputTooLong:
    return InputTooLong(
        f"`input` has {size} in all; the limit of one request is {limits.max_request_tokens} tokens: "
        "send several requests.",
        param="input",
    )
