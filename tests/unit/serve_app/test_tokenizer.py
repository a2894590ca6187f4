from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from serve_app.core.errors import InputTooLong, SetupError
from serve_app.core.profile import ModelProfile
from serve_app.model.tokenizer import TextTokenizer, Truncate
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


LIMIT = 12


@pytest.fixture(scope="module")
def short(profile: ModelProfile) -> TextTokenizer:
    """A model that takes 12 tokens."""
    return TextTokenizer(replace(profile, max_tokens=LIMIT))


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400),
    side=st.sampled_from(["start", "end"]),
)
def test_a_cut_text_fits_keeps_its_side_and_the_end_token(
    short: TextTokenizer, end: int, text: str, side: Truncate
) -> None:
    whole, cut = short.encode([text])[0], short.encode_bounded([text], truncate=side)[0]
    kept = min(len(whole), LIMIT) - 1
    assert len(cut) == kept + 1
    assert cut[-1] == end
    expected = whole[-1 - kept : -1] if side == "start" else whole[:kept]
    np.testing.assert_array_equal(cut[:-1], expected)


@pytest.mark.parametrize("side", ["start", "end"])
def test_the_instruction_before_a_cut_text_stays_whole(short: TextTokenizer, end: int, side: Truncate) -> None:
    prefix = "Query:"
    cut = short.encode_bounded(["年假 and much more text than fits into so few tokens"], prefix, side)[0]
    np.testing.assert_array_equal(cut[:5], short.encode(["x"], prefix)[0][:5])
    assert (len(cut), cut[-1]) == (LIMIT, end)


def test_an_instruction_that_leaves_no_room_is_named(short: TextTokenizer) -> None:
    with pytest.raises(InputTooLong) as caught:
        short.encode_bounded(["text"], "Instruct: " + "find it " * 20, "end")
    assert caught.value.param == "instruction"


def test_a_text_that_is_too_long_is_refused_with_both_numbers(short: TextTokenizer) -> None:
    tokens = len(short.encode(["one two three four five six seven"])[0])
    with pytest.raises(InputTooLong, match=rf"has {tokens} tokens; .* at most {LIMIT}:") as caught:
        short.encode_bounded(["fits", "one two three four five six seven"])
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")


def test_of_a_text_far_beyond_the_limit_only_a_part_is_tokenised(short: TextTokenizer) -> None:
    with pytest.raises(InputTooLong, match=r"has at least \d{2,3} tokens;"):
        short.encode_bounded(["x" * 30_000_000])  # tokenised whole, this would take more than a minute


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_far_too_long_text_is_cut_at_the_same_place_as_if_all_of_it_were_tokenised(
    short: TextTokenizer, side: Truncate
) -> None:
    text = " ".join(f"clause {number}" for number in range(1000))
    ids = short.encode([text])[0]
    expected = ids[-LIMIT:] if side == "start" else np.append(ids[: LIMIT - 1], ids[-1])
    np.testing.assert_array_equal(short.encode_bounded([text], truncate=side)[0], expected)


@given(given_ids=st.lists(st.integers(1, 200), min_size=1, max_size=40), side=st.sampled_from(["start", "end"]))
def test_given_ids_are_cut_like_texts(short: TextTokenizer, end: int, given_ids: list[int], side: Truncate) -> None:
    ids = np.array(given_ids, dtype=np.int32)
    cut = short.finish_bounded(ids, side)
    body = ids[:-1] if ids[-1] == end else ids
    kept = min(len(body), LIMIT - 1)
    np.testing.assert_array_equal(cut, np.append(body[len(body) - kept :] if side == "start" else body[:kept], end))


def test_given_ids_over_the_limit_are_refused_with_both_numbers(short: TextTokenizer) -> None:
    with pytest.raises(InputTooLong, match=f"has 21 tokens; .* at most {LIMIT}:"):
        short.finish_bounded(np.arange(1, 21, dtype=np.int32))
