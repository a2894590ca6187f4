from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.filters import FIELDS
from ingest.metadata import (
    MAX_BYTES,
    MAX_FIELDS,
    MAX_VALUE_BYTES,
    OWN_FIELDS,
    check_size,
    described,
    merge,
    read_sidecar,
    split_front_matter,
)
from ingest.records import Document, Scalar
from serve_app.core.errors import DocumentError

LEASE = Document("file:///lease.md", "lease.md", "md", "lease", (), language="en")
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,63}", fullmatch=True).filter(lambda name: name not in FIELDS)
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | PLAIN


def front(yaml: str) -> dict[str, Scalar]:
    return split_front_matter(f"---\n{yaml}\n---\nbody\n")[0]


def refusal(yaml: str) -> str:
    """The message with which front matter is refused."""
    with pytest.raises(DocumentError) as caught:
        front(yaml)
    assert caught.value.reason == "bad_metadata"
    return caught.value.message


def test_front_matter_becomes_fields_and_leaves_the_text() -> None:
    text = "---\ntitle: Lease\ndepartment: 法务\nyear: 2024\nfinal: true\nrate: 0.5\n---\n# Lease\n\nThe rent\n"
    assert split_front_matter(text) == (
        {"title": "Lease", "department": "法务", "year": 2024, "final": True, "rate": 0.5},
        "# Lease\n\nThe rent\n",
    )


@pytest.mark.parametrize(
    "text",
    ["---\r\na: 1\r\n---\r\nbody", "\ufeff---\na: 1\n...\nbody", "--- \n# a comment\n'a': 1\n--- \nbody"],
    ids=["windows", "byte order mark and dots", "comment and spaces"],
)
def test_front_matter_is_known_however_it_was_saved(text: str) -> None:
    assert split_front_matter(text) == ({"a": 1}, "body")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text",
        "---\na: 1\nnever closed",
        "---\n\nNote: a rule opens this text.\n\n---\n",
        "---\nJust a line between rules.\n---\n",
        "---\n- item\n---\n",
        "text first\n---\na: 1\n---\n",
        "----\na: 1\n----\n",
        "---\n" + "word " * 50_000 + "\n---\n",
    ],
)
def test_a_text_without_front_matter_is_left_as_it_is(text: str) -> None:
    assert split_front_matter(text) == ({}, text)


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.sampled_from("-\n:ab [{&*!'\"#0.2\r\t~|>%@`\0"), max_size=60).map(lambda text: f"---\na{text}"))
def test_whatever_stands_between_the_lines_is_read_left_alone_or_refused_by_name(text: str) -> None:
    try:
        fields, body = split_front_matter(text + "\n---\n")
    except DocumentError as error:
        assert error.reason == "bad_metadata"  # noqa: PT017
    else:
        assert (text + "\n---\n").endswith(body)
        assert all(isinstance(value, str | int | float | bool) for value in fields.values())


def test_dates_lists_and_missing_values_become_plain_values() -> None:
    found = front("due: 2025-03-31\nat: 2025-03-31 10:00:00\ntags: [hr, 年假, 3, true]\nempty:\nnone: []")
    assert found == {"due": "2025-03-31", "at": "2025-03-31T10:00:00", "tags": "hr, 年假, 3, true"}


def test_a_hyphen_in_a_name_becomes_an_underscore() -> None:
    assert front("valid-until: x") == {"valid_until": "x"}


@pytest.mark.parametrize(
    ("yaml", "named"),
    [
        ("author: {name: secret}", "`author`"),
        ("tags: [a, [secret]]", "nests"),
        ("a: &x secret\nb: *x", "refers to itself"),
        ("a: !!python/object:os.system secret", "type tags"),
        ("a: !!int ''", "type tags"),
        ("a: " + "[" * 2_000, "nests"),
        ("number: .inf", "`number`"),
        ("number: 99999999999999999999", "`number`"),
        ("a: 1\ndue: 2025-13-45", "does not exist"),
        ("a: secret: b", "not valid YAML (line 1)"),
        (f"a: {'x' * (MAX_VALUE_BYTES + 1)}", "1025 bytes in `a`"),
        (f"tags: [{', '.join(['x' * 600] * 2)}]", "1202 bytes in `tags`"),
        ("\n".join(f"f{number}: 1" for number in range(MAX_FIELDS + 1)), "65 fields"),
        ("部门: secret", "`部门`"),
        ("this is secret: 1", "very odd name"),
        (f"{'n' * 65}: 1", "at most 64"),
        ("chunk_id: secret", "`chunk_id`, which is built in"),
    ],
)
def test_what_cannot_be_stored_and_filtered_is_refused_by_its_name_and_not_its_value(yaml: str, named: str) -> None:
    message = refusal(yaml)
    assert named in message
    assert "secret" not in message


@pytest.mark.parametrize("field", sorted(set(FIELDS) - set(OWN_FIELDS)))
def test_no_built_in_field_can_be_overwritten(field: str) -> None:
    assert f"`{field}`" in refusal(f"{field}: 1")


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(NAMES, SCALARS, max_size=8))
def test_a_json_sidecar_gives_back_what_was_written(fields: dict[str, Scalar]) -> None:
    found = read_sidecar(json.dumps(fields).encode(), "lease.pdf.meta.json")
    assert [(name, type(value), value) for name, value in found.items()] == [
        (name, type(value), value) for name, value in fields.items()
    ]


def test_a_yaml_sidecar_is_read_with_a_byte_order_mark_and_may_be_empty() -> None:
    assert read_sidecar("\ufeffdepartment: 法务\n".encode(), "lease.pdf.meta.yaml") == {"department": "法务"}
    assert read_sidecar(b"# nothing yet\n", "lease.pdf.meta.yaml") == {}


@pytest.mark.parametrize(
    ("content", "name", "named"),
    [
        (b"[1, 2]", "x.meta.json", "not a mapping"),
        (b"just text", "x.meta.yaml", "not a mapping"),
        (b'{"a": 1,}', "x.meta.json", "not valid JSON (line 1)"),
        (b'{"a": NaN}', "x.meta.json", "`a`"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "x.meta.json", "too long"),
        (b'{"a": ' + b"[" * 60_000 + b"]" * 60_000 + b"}", "x.meta.json", "nests too deep"),
        (b'{"a": {"b": 1}}', "x.meta.json", "`a`"),
        (b'{"a": "\\ud800"}', "x.meta.json", "`a`"),
        (b'{"a": "\\u0000"}', "x.meta.json", "`a`"),
        ("a: 法".encode("gb18030"), "x.meta.yaml", "UTF-8"),
        (b"a: 1\n" + b"#" * MAX_BYTES, "x.meta.yaml", "bytes"),
    ],
)
def test_a_sidecar_that_is_not_flat_fields_is_refused_by_its_name(content: bytes, name: str, named: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_sidecar(content, name)
    assert caught.value.reason == "bad_metadata"
    assert caught.value.message.startswith(name)
    assert named in caught.value.message


def test_the_sidecar_wins_over_the_front_matter() -> None:
    assert merge({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 3, "c": 4}


def test_front_matter_and_sidecar_together_have_a_limit_too() -> None:
    half = {f"f{number}": number for number in range(40)}
    with pytest.raises(DocumentError, match="80 fields"):
        merge(half, {f"g{number}": number for number in range(40)})


def test_a_document_s_own_title_and_language_take_the_place_of_what_was_guessed() -> None:
    found = described(LEASE, {"title": "Lease 2024", "language": "zh-CN", "department": "hr"})
    assert (found.title, found.language, found.metadata) == ("Lease 2024", "zh", {"department": "hr"})


def test_a_document_that_says_neither_keeps_its_title_and_language() -> None:
    found = described(LEASE, {"department": "hr"})
    assert (found.title, found.language, found.metadata) == ("lease", "en", {"department": "hr"})


@pytest.mark.parametrize("language", ["English", "", 7, False])
def test_a_language_that_is_no_code_is_refused(language: Scalar) -> None:
    with pytest.raises(DocumentError, match="`language`") as caught:
        described(LEASE, {"language": language})
    assert caught.value.reason == "bad_metadata"


def test_fields_that_are_many_and_long_are_refused_before_a_store_refuses_them() -> None:
    check_size({"year": 2026})
    with pytest.raises(DocumentError, match="60000 are allowed"):
        check_size({f"field_{number}": "x" * 1_000 for number in range(64)})
