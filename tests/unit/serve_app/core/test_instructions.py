from __future__ import annotations

from dataclasses import replace

import pytest

from serve_app.core.errors import InvalidRequest, ModelNotFound
from serve_app.core.instructions import prefix, resolve
from serve_app.core.profile import ModelProfile
from serve_app.core.types import InputType
from tests.unit.serve_app.profiles import E5, MINILM, QWEN3


def test_a_qwen3_query_has_the_exact_bytes_of_the_model_card() -> None:
    whole = prefix(QWEN3, "query", "Find the clause") + "What is the notice period?"
    assert whole.encode() == b"Instruct: Find the clause\nQuery:What is the notice period?"


def test_a_query_without_an_instruction_gets_the_default_of_the_model() -> None:
    assert prefix(QWEN3, "query", None) == (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    )


def test_a_configured_default_instruction_replaces_that_of_the_model_card() -> None:
    profile = replace(QWEN3, default_instruction="查找相关条款")
    assert prefix(profile, "query", None) == "Instruct: 查找相关条款\nQuery:"


def test_an_instruction_may_contain_braces_and_placeholders() -> None:
    assert prefix(QWEN3, "query", "match {text} and {instruction}, {0}") == (
        "Instruct: match {text} and {instruction}, {0}\nQuery:"
    )


def test_an_empty_instruction_is_not_replaced_by_the_default() -> None:
    assert prefix(QWEN3, "query", "") == "Instruct: \nQuery:"


@pytest.mark.parametrize("profile", [QWEN3, MINILM, E5], ids=lambda profile: profile.name)
def test_a_document_is_left_bare(profile: ModelProfile) -> None:
    assert prefix(profile, "document", None) == ""


def test_a_query_of_a_model_without_a_template_is_left_bare() -> None:
    assert prefix(MINILM, "query", None) == ""


def test_a_fixed_query_prefix_needs_no_instruction() -> None:
    assert prefix(E5, "query", None) == "query: "


@pytest.mark.parametrize("profile", [MINILM, E5], ids=lambda profile: profile.name)
@pytest.mark.parametrize("input_type", ["query", "document"])
def test_an_instruction_is_refused_by_a_model_that_has_no_place_for_it(
    profile: ModelProfile, input_type: InputType
) -> None:
    with pytest.raises(InvalidRequest, match=f"cannot be used with {profile.name}") as caught:
        prefix(profile, input_type, "Find the secret clause")
    assert caught.value.param == "instruction"
    assert "secret" not in caught.value.message


def test_an_instruction_for_documents_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="belongs to queries") as caught:
        prefix(QWEN3, "document", "Find the secret clause")
    assert caught.value.param == "instruction"
    assert "secret" not in caught.value.message


def test_an_instruction_that_would_swell_every_input_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="2000") as caught:
        prefix(QWEN3, "query", "x" * 2001)
    assert caught.value.param == "instruction"


PRESETS = {"contracts": "Find the clause", "tickets": "Find the ticket"}


@pytest.mark.parametrize(
    ("input_type", "instruction", "expected"),
    [
        (None, None, ("document", None)),
        ("document", None, ("document", None)),
        ("query", None, ("query", None)),
        (None, "Find", ("query", "Find")),
        (None, "", ("query", "")),
        ("document", "Find", ("document", "Find")),
    ],
)
def test_an_instruction_implies_a_query_unless_the_input_type_is_given(
    input_type: InputType | None, instruction: str | None, expected: tuple[str, str | None]
) -> None:
    assert resolve(PRESETS, None, input_type, instruction) == expected


def test_a_preset_is_replaced_by_its_text() -> None:
    assert resolve(PRESETS, None, None, "@contracts") == ("query", "Find the clause")


def test_the_preset_of_the_models_name_makes_a_query() -> None:
    assert resolve(PRESETS, "contracts", None, None) == ("query", "Find the clause")


def test_an_instruction_of_the_requests_own_comes_before_the_models_preset() -> None:
    assert resolve(PRESETS, "contracts", None, "@tickets") == ("query", "Find the ticket")
    assert resolve(PRESETS, "contracts", None, "Find") == ("query", "Find")


def test_a_document_stays_a_document_under_a_model_with_a_preset() -> None:
    assert resolve(PRESETS, "contracts", "document", None) == ("document", None)


def test_an_unknown_preset_is_named_by_its_field_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"presets: contracts, tickets\.") as caught:
        resolve(PRESETS, None, None, "@secret")
    assert (caught.value.param, "secret" in caught.value.message) == ("instruction", False)


@pytest.mark.parametrize("input_type", [None, "query", "document"])
def test_an_unknown_preset_of_the_models_name_is_a_model_that_is_not_there(input_type: InputType | None) -> None:
    with pytest.raises(ModelNotFound, match="there are none") as caught:
        resolve({}, "contracts", input_type, None)
    assert caught.value.param == "model"
