"""The embeddings request: what is accepted, and how everything else is refused."""

from __future__ import annotations

import gc
import json
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.core.errors import InvalidRequest
from serve_app.http.schemas import EmbeddingRequest, TokenizeRequest, parse_request

SECRET = "sesame"  # stands for the caller's text: no message may repeat it
LEAST = {"input": "hello", "model": "m"}
TEXTS_OR_IDS = "a string, a list of strings, a list of token ids (whole numbers from 0), or a list of such lists"


def body(**fields: object) -> bytes:
    return json.dumps(LEAST | fields).encode()


def parse(raw: bytes) -> EmbeddingRequest:
    return parse_request(raw, EmbeddingRequest)


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(raw)
    assert SECRET not in caught.value.message
    assert len(caught.value.message) < 300
    return caught.value


def test_the_least_request_has_openai_defaults() -> None:
    assert parse(body()) == EmbeddingRequest(
        input="hello",
        model="m",
        encoding_format="float",
        embed_dtype="float32",
        dimensions=None,
        truncate=None,
        priority="interactive",
        input_type=None,
        instruction=None,
        user=None,
    )


def test_every_field_is_understood() -> None:
    fields = {
        "input": ["a", "b"],
        "model": "qwen3",
        "encoding_format": "base64",
        "embed_dtype": "float16",
        "dimensions": 256,
        "truncate": "start",
        "priority": "bulk",
        "input_type": "query",
        "instruction": "查找相关条款",
        "user": "u-1",
    }
    assert parse(json.dumps(fields).encode()).model_dump() == fields


@pytest.mark.parametrize("given_input", ["text", "", "年假", ["a", "年假"], [], [0, 7, 2**31 - 1], [[1], [2, 3]], [[]]])
def test_every_form_of_input_keeps_its_value(given_input: object) -> None:
    # Whether it may be empty is the Router's business: it names the index.
    assert parse(body(input=given_input)).input == given_input


TextOrIds = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1),
    st.lists(st.integers(0, 2**31 - 1), min_size=1),
    st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1), min_size=1),
)


@given(TextOrIds, st.booleans())
def test_any_text_survives_json_escaped_or_not(given_input: object, is_ascii: bool) -> None:
    raw = json.dumps(LEAST | {"input": given_input}, ensure_ascii=is_ascii).encode()
    assert parse(raw).input == given_input


WRONG_VALUES: dict[str, list[object]] = {
    "input": [
        None,
        7,
        1.5,
        True,
        {"text": SECRET},
        [SECRET, 1],
        [1, SECRET],
        [1, True],
        [1.0],
        [None],
        [-1],
        [2**31],
        [10**40],
        [[1], SECRET],
        [[1], [SECRET]],
        [[1], [-1]],
        [[1], [False]],
        [[[1]]],
        [{"text": SECRET}],
    ],
    "model": [None, 7, True, [SECRET], {"name": SECRET}],
    "encoding_format": [None, 1, SECRET, "FLOAT", "", ["float"]],
    "embed_dtype": [None, SECRET, "bfloat16", 16],
    "truncate": [SECRET, "START", True, ["end"]],
    "priority": [None, SECRET, "high", 0],
    "dimensions": [SECRET, "256", 256.0, 25.6, True, [256], {}],
    "input_type": [SECRET, "passage", "Query", "", 1, ["query"]],
    "instruction": [7, False, [SECRET], {"text": SECRET}],
    "user": [7, True, [SECRET]],
}
MUST_BE = {
    "input": TEXTS_OR_IDS,
    "model": "a string",
    "encoding_format": "`float` or `base64`",
    "embed_dtype": "`float32` or `float16`",
    "truncate": "`start` or `end`",
    "priority": "`interactive` or `bulk`",
    "dimensions": "a whole number",
    "input_type": "`document` or `query`",
    "instruction": "a string",
    "user": "a string",
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG_VALUES.items() for value in values]
)
def test_a_wrong_value_is_refused_with_its_field_and_the_rule(field: str, value: object) -> None:
    error = refusal(body(**{field: value}))
    assert (error.param, error.message) == (field, f"`{field}` must be {MUST_BE[field]}.")


def test_the_tables_above_cover_every_field() -> None:
    assert set(WRONG_VALUES) == set(MUST_BE) == set(EmbeddingRequest.model_fields)


@pytest.mark.parametrize("field", ["input", "model"])
def test_a_missing_field_is_named(field: str) -> None:
    error = refusal(json.dumps({key: value for key, value in LEAST.items() if key != field}).encode())
    assert (error.param, error.message) == (field, f"`{field}` is missing: it must be {MUST_BE[field]}.")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("dimension", "dimensions"),
        ("Input", "input"),
        ("encoding-format", "encoding_format"),
        ("inputType", "input_type"),
        ("instructions", "instruction"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(wrong: str, meant: str) -> None:
    error = refusal(body(**{wrong: SECRET}))
    assert (error.param, error.message) == (wrong, f"There is no such field; did you mean `{meant}`?")


def test_an_unknown_field_that_is_near_to_nothing_is_refused_with_all_known_ones() -> None:
    error = refusal(body(zzz=1))
    assert error.param == "zzz"
    assert all(field in error.message for field in EmbeddingRequest.model_fields)


def test_a_very_long_field_name_is_not_repeated_in_full() -> None:
    assert refusal(body(**{"z" * 10_000: 1})).param == "z" * 64


@pytest.mark.parametrize(
    "raw",
    [body(**{"z" * 2**20: 1}), body(**{f"z{number}": 1 for number in range(50_000)})],
    ids=["a very long name", "very many names"],
)
def test_unknown_fields_cost_little_more_than_reading_them(raw: bytes) -> None:
    refusal(body(z=1))  # so that what is kept for ever is there already
    tracemalloc.start()
    try:
        refusal(raw)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * len(raw)


@pytest.mark.parametrize("field", ["input", "user", "unknown"])
def test_no_garbage_is_looked_for_while_a_body_of_very_many_lists_is_read(field: str) -> None:
    looks: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        looks.append(phase)

    raw = body(**{field: [[]] * 200_000})
    gc.callbacks.append(note)
    try:
        with suppress(InvalidRequest):
            parse(raw)
        seen = list(looks)
    finally:
        gc.callbacks.remove(note)
    assert len(seen) <= 2  # one, right after it
    assert gc.isenabled()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        SECRET.encode(),
        b"{",
        b'{"input": "sesame", "model": "m"',
        b'{"input": "sesame", "model": "m"} x',
        b'{"input": "sesame", "model": "m",}',
        b"{'input': 'sesame', 'model': 'm'}",
        b'\xef\xbb\xbf{"input": "sesame", "model": "m"}',
        b'{"input": "sesame\xff", "model": "m"}',
        b'{"input": "sesame\xed\xa0\x80", "model": "m"}',
        b'{"input": "sesame \\ud800", "model": "m"}',
        b'{"input": "sesame \\udc00\\ud800", "model": "m"}',
        b'{"input": "sesame \n", "model": "m"}',
        b'{"input": ' + b"[" * 100_000,
        b'{"input": "sesame", "model": "m", "dimensions": ' + b"9" * 5000 + b"}",
        '{"input": "sesame", "model": "m"}'.encode("utf-16"),
    ],
    ids=lambda raw: repr(raw[:50]),
)
def test_what_is_not_json_in_utf8_is_refused(raw: bytes) -> None:
    error = refusal(raw)
    assert (error.param, error.message) == (None, "The body is not valid JSON in UTF-8.")


@pytest.mark.parametrize("raw", [b"[]", b"null", b"7", b"true", b"NaN", b'"sesame"', b'[{"input": "sesame"}]'])
def test_a_body_that_is_not_an_object_is_refused(raw: bytes) -> None:
    error = refusal(raw)
    assert (error.param, error.message) == (None, "The body must be a JSON object.")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e3", b"1.0"])
@pytest.mark.parametrize("field", [b"dimensions", b"input"])
def test_numbers_that_are_not_whole_are_refused(field: bytes, number: bytes) -> None:
    error = refusal(b'{"model": "m", "input": "hello", "%b": %b}' % (field, number))
    assert error.param == field.decode()


def test_a_huge_whole_number_is_left_for_the_model_to_judge() -> None:
    assert parse(b'{"model": "m", "input": "a", "dimensions": %d}' % 10**30).dimensions == 10**30


def test_of_two_equal_keys_the_last_one_counts() -> None:
    assert parse(b'{"model": "m", "input": "first", "input": "last"}').input == "last"
    assert refusal(b'{"model": "m", "input": "sesame", "input": 7}').param == "input"


@pytest.mark.parametrize("item", [None, 1.5, {}, [None]])
def test_a_list_of_many_wrong_items_is_refused_at_the_first(item: object) -> None:
    # An error object for each of them would make a small body cost gigabytes.
    with pytest.raises(ValidationError) as caught:
        EmbeddingRequest.model_validate_json(body(input=[item] * 1000))
    assert caught.value.error_count() <= 4  # one for each form that the input may have


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse(body()).model = "other"  # type: ignore[misc]


def test_a_tokenize_request_takes_text_and_no_field_of_vectors() -> None:
    wanted = parse_request(body(input=["a", "b"], input_type="query"), TokenizeRequest)
    assert (wanted.texts, wanted.input_type) == (["a", "b"], "query")
    with pytest.raises(InvalidRequest) as caught:
        parse_request(body(dimensions=64), TokenizeRequest)
    assert caught.value.param == "dimensions"
    assert "encoding_format" not in caught.value.message
