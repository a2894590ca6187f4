from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.tokenizer import TextTokenizer
from tests.tiny_qwen3 import END_TOKEN, _write_tokenizer
from tests.unit.serve_app.profiles import QWEN3


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> ModelProfile:
    directory = tmp_path_factory.mktemp("tokenizer")
    _write_tokenizer(directory)
    end = Tokenizer.from_file(str(directory / "tokenizer.json")).token_to_id(END_TOKEN)
    return replace(QWEN3, path=str(directory), end_token_id=end)


@pytest.fixture(scope="module")
def tokenizer(profile: ModelProfile) -> TextTokenizer:
    return TextTokenizer(profile)


@pytest.fixture(scope="module")
def end(profile: ModelProfile) -> int:
    assert profile.end_token_id is not None
    return profile.end_token_id


@pytest.fixture(scope="module")
def without_end(profile: ModelProfile, tmp_path_factory: pytest.TempPathFactory) -> ModelProfile:
    """The same vocabulary, but a tokenizer that does not put the end token itself."""
    directory = tmp_path_factory.mktemp("bare")
    bare = Tokenizer.from_file(str(Path(profile.path) / "tokenizer.json"))
    bare.post_processor = None
    bare.save(str(directory / "tokenizer.json"))
    return replace(profile, path=str(directory))


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=4))
def test_every_text_ends_with_the_end_token_exactly_once(tokenizer: TextTokenizer, end: int, texts: list[str]) -> None:
    encoded = tokenizer.encode(texts)
    assert [ids[-1] for ids in encoded] == [end] * len(texts)
    assert [int(np.sum(ids == end)) for ids in encoded] == [1] * len(texts)


@pytest.mark.parametrize("texts", [["annual leave"], ["annual leave", "年假", ""]])
def test_a_tokenizer_that_puts_no_end_token_gets_it_appended(
    tokenizer: TextTokenizer, without_end: ModelProfile, texts: list[str]
) -> None:
    for ids, expected in zip(TextTokenizer(without_end).encode(texts), tokenizer.encode(texts), strict=True):
        np.testing.assert_array_equal(ids, expected)


def test_a_model_without_an_end_token_gets_none(without_end: ModelProfile, end: int) -> None:
    bare = TextTokenizer(replace(without_end, end_token_id=None))
    assert end not in bare.encode(["annual leave"])[0]
    np.testing.assert_array_equal(bare.finish(np.array([5, 6], dtype=np.int32)), [5, 6])


@pytest.mark.parametrize(("given_ids", "tail"), [([5, 6], [5, 6]), ([], []), ([6, 6], [6, 6])])
def test_given_ids_get_the_end_token(tokenizer: TextTokenizer, end: int, given_ids: list[int], tail: list[int]) -> None:
    finished = tokenizer.finish(np.array(given_ids, dtype=np.int32))
    assert finished.tolist() == [*tail, end]
    assert finished.dtype == np.int32


def test_given_ids_that_end_with_the_end_token_stay_as_they_are(tokenizer: TextTokenizer, end: int) -> None:
    ids = np.array([5, end], dtype=np.int32)
    assert tokenizer.finish(ids) is ids


def test_an_end_token_in_the_middle_does_not_count(tokenizer: TextTokenizer, end: int) -> None:
    assert tokenizer.finish(np.array([end, 5], dtype=np.int32)).tolist() == [end, 5, end]


@pytest.mark.parametrize("others", [[], ["a much longer text about travel expenses", ""]])
def test_a_text_has_the_same_ids_alone_and_among_others(tokenizer: TextTokenizer, others: list[str]) -> None:
    alone = tokenizer.encode(["late delivery 年假"])[0]
    np.testing.assert_array_equal(tokenizer.encode(["late delivery 年假", *others])[0], alone)
    assert alone.dtype == np.int32


@pytest.mark.parametrize("texts", [["notice period"], ["notice period", "notice"]])
def test_the_prefix_stands_before_every_text_as_if_it_were_part_of_it(
    tokenizer: TextTokenizer, texts: list[str]
) -> None:
    prefix = "Instruct: Find the clause\nQuery:"
    whole = tokenizer.encode([prefix + text for text in texts])
    for ids, expected in zip(tokenizer.encode(texts, prefix), whole, strict=True):
        np.testing.assert_array_equal(ids, expected)


def test_texts_are_never_cut(profile: ModelProfile, tmp_path: Path) -> None:
    stored = Tokenizer.from_file(str(Path(profile.path) / "tokenizer.json"))
    stored.enable_truncation(max_length=4)
    stored.enable_padding(length=300)
    stored.save(str(tmp_path / "tokenizer.json"))
    text = "The employee handbook describes annual leave. "
    for texts in ([text * 50], [text * 50, "short"]):
        given, expected = (
            TextTokenizer(replace(profile, path=path)).encode(texts) for path in (str(tmp_path), profile.path)
        )
        assert [len(ids) for ids in given] == [len(ids) for ids in expected]


def test_a_checkpoint_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"qwen3-embedding-0.6b has no tokenizer.json"):
        TextTokenizer(replace(QWEN3, path=str(tmp_path)))
