from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.filters import FIELDS, INTEGER_FIELDS, TEXT_FIELDS, Condition, parse_filter
from serve_app.core.errors import InvalidRequest

OPERATORS = ["=", "!=", ">", ">=", "<", "<="]


def quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def understood(text: str) -> tuple[Condition, ...] | str | None:
    """The conditions, or the parameter that the refusal blames."""
    try:
        return parse_filter(text)
    except InvalidRequest as error:
        return error.param


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_compares_an_integer(operator: str) -> None:
    (condition,) = parse_filter(f"page_number {operator} 3")
    assert (condition.field, condition.op, condition.value) == ("page_number", operator, 3)


def test_a_double_equals_sign_means_the_same_as_a_single_one() -> None:
    assert parse_filter("tokens == 12") == parse_filter("tokens = 12") == (Condition("tokens", "=", 12),)


def test_conditions_keep_their_order_and_and_is_read_in_any_case() -> None:
    assert parse_filter("ordinal>=-1 AND format=pdf and title != '年度 报告'") == (
        Condition("ordinal", ">=", -1),
        Condition("format", "=", "pdf"),
        Condition("title", "!=", "年度 报告"),
    )


def test_a_bare_word_may_be_a_path_or_chinese() -> None:
    assert parse_filter("source_file = 合同/租赁-2024.pdf") == (Condition("source_file", "=", "合同/租赁-2024.pdf"),)


def test_a_number_compared_with_text_stays_text() -> None:
    assert parse_filter("title = 2024") == (Condition("title", "=", "2024"),)


def test_words_of_the_language_are_values_inside_quotes() -> None:
    assert parse_filter('title = "a and page_number > 3"') == (Condition("title", "=", "a and page_number > 3"),)


@given(text=st.text(max_size=200), quote=st.sampled_from("'\""))
def test_any_text_survives_quoting(text: str, quote: str) -> None:
    assert parse_filter(f"title = {quoted(text, quote)}") == (Condition("title", "=", text),)


@given(
    st.text(max_size=60) | st.lists(st.sampled_from([*FIELDS, *OPERATORS, "and", "'", '"', "\\", "3"])).map(" ".join)
)
def test_any_input_is_either_understood_or_refused_as_the_filter_parameter(text: str) -> None:
    outcome = understood(text)
    assert outcome
    assert outcome == "filter" or isinstance(outcome[0], Condition)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("page = 3", "page_number"),
        ("Page_Number = 3", "page_number"),
        ("sourcefile = a", "source_file"),
        ("token > 1", "tokens"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_valid_one(text: str, nearest: str) -> None:
    with pytest.raises(InvalidRequest, match=f"did you mean `{nearest}`"):
        parse_filter(text)


@pytest.mark.parametrize("field", ["text", "dense", "key", "tenant", "metadata", "meta", "1"])
def test_columns_that_are_not_metadata_cannot_be_filtered(field: str) -> None:
    with pytest.raises(InvalidRequest, match=r"the fields are source_file, format"):
        parse_filter(f"{field} = 1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "title",
        "title =",
        "title = a and",
        "and",
        "= = =",
        "title = =",
        "'title' = a",
        "title 'x' a",
        "title = two words",
        "title = a or title = b",
        "title = a 'and' title = b",
        "title = a; drop",
        "(title = a)",
        "not title = a",
    ],
)
def test_text_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_filter(text)


@pytest.mark.parametrize("operator", ["=>", "!==", "===", "<>", "!"])
def test_an_unknown_operator_is_refused_with_the_list_of_known_ones(operator: str) -> None:
    with pytest.raises(InvalidRequest, match="unknown operator after `tokens`"):
        parse_filter(f"tokens {operator} 3")


@pytest.mark.parametrize("text", ["title = 'open", 'title = "open', "title = don't"])
def test_an_open_quote_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"not closed, at character \d+"):
        parse_filter(text)


def test_an_unknown_escape_is_refused_instead_of_guessed() -> None:
    with pytest.raises(InvalidRequest, match="unknown escape"):
        parse_filter(r"source_file = 'C:\new\file.md'")


@pytest.mark.parametrize("field", INTEGER_FIELDS)
@pytest.mark.parametrize("value", ["'3'", "three", "3.5", "٣", str(2**63), str(-(2**63) - 1), "9" * 400])
def test_an_integer_field_takes_only_64_bit_integers(field: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"`{field}` with something else than a 64-bit integer"):
        parse_filter(f"{field} = {value}")


@pytest.mark.parametrize("field", TEXT_FIELDS)
@pytest.mark.parametrize("operator", [">", ">=", "<", "<="])
def test_text_has_no_order(field: str, operator: str) -> None:
    with pytest.raises(InvalidRequest, match=f"orders `{field}`"):
        parse_filter(f"{field} {operator} a")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024", 2024),
        ("-7", -7),
        ("0.5", 0.5),
        ("true", True),
        ("FALSE", False),
        ("'2024'", "2024"),
        ("'true'", "true"),
        ("1e5", "1e5"),
        ("nan", "nan"),
        ("v1.2.3", "v1.2.3"),
        ("法务", "法务"),
    ],
)
def test_what_users_said_is_compared_with_a_value_of_the_kind_it_looks_like(value: str, expected: object) -> None:
    (condition,) = parse_filter(f"meta.field = {value}")
    assert (condition.metadata_name, condition.value, type(condition.value)) == ("field", expected, type(expected))


@pytest.mark.parametrize("operator", OPERATORS)
def test_numbers_that_users_said_have_an_order(operator: str) -> None:
    assert parse_filter(f"meta.year {operator} 2.5") == (Condition("meta.year", operator, 2.5),)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a", "'3'", "true"])
@pytest.mark.parametrize("operator", [">", ">=", "<", "<="])
def test_text_and_truth_that_users_said_have_no_order(operator: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"orders `meta\.x`"):
        parse_filter(f"meta.x {operator} {value}")


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", 'a"]', "a'", "部门", "a" * 65, "a.b"])
def test_a_name_that_users_cannot_have_given_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="of letters, digits and _"):
        Condition(f"meta.{name}", "=", 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63])
def test_a_number_that_no_store_can_hold_is_refused(value: float) -> None:
    with pytest.raises(InvalidRequest):
        Condition("meta.x", "=", value)


@pytest.mark.parametrize("field", INTEGER_FIELDS)
def test_truth_is_no_integer(field: str) -> None:
    with pytest.raises(InvalidRequest):
        Condition(field, "=", True)


def test_a_filter_that_is_too_long_is_refused_with_the_limit() -> None:
    with pytest.raises(InvalidRequest, match="at most 4096"):
        parse_filter("title = " + "a" * 4096)


@pytest.mark.parametrize(
    ("field", "value"), [("x == 1 or key", 1), ("title", 3), ("tokens", "3"), ("tokens", "3 or 1 == 1")]
)
def test_a_condition_made_in_code_is_checked_like_a_parsed_one(field: str, value: str | int) -> None:
    with pytest.raises(InvalidRequest):
        Condition(field, "=", value)


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter("tokens > 'secret-value'")
    assert "secret" not in caught.value.message
