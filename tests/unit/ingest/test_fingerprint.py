from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest
from pydantic import BaseModel

from ingest import fingerprint
from ingest.embedding.base import ServedModel
from ingest.fingerprint import Fingerprint, differences, pipeline_fingerprint, row_digest
from ingest.records import Chunk
from ingest.settings import ChunkSettings, IngestSettings, ParseSettings, SourceSettings
from serve_app.core.errors import SetupError

SERVED = ServedModel("qwen3", native_dimensions=1024, min_dimensions=32, max_tokens=32_768, fingerprint="w-t-last-bf16")
CHUNK = Chunk(
    key="k",
    chunk_id="c_0001",
    source="file:///c.md",
    source_file="c.md",
    format="md",
    title="C",
    heading_path=("One",),
    page_number=1,
    page_end=2,
    ordinal=0,
    tokens=3,
    text="text \ud800",
    metadata={"a": 1, "b": True},
)
# What decides only how the work is done, or which files are looked at, and not what is stored for a file.
WITHOUT_EFFECT: dict[str, Any] = {
    "parse.timeout_s": 1.0,
    "parse.memory_mib": 999,
    "parse.max_file_mib": 9,
    "parse.actors": 9,
    "parse.cpus": 0.9,
    "parse.ocr_languages": "deu",  # while there is no OCR
    "sources.allowed_roots": ("/data",),
    "sources.allow_private_hosts": True,
    "ledger": "sqlite:other",
    "rows_per_write": 9,
    "writers": 9,
    "slices_in_flight": 9,
    "slice_timeout_s": 9.0,
    "lease_s": 9.0,
    "dimensions": 256,  # the size that follows from it is a component of its own
    "mask.default": "mask",  # the policy that follows from it is, too
    "mask.entities": {"EMAIL_ADDRESS": "drop"},
    "mask.key_env": "OTHER",
    "mask.vault": "vault",
    "mask.min_score": 0.9,
}
WITH_EFFECT: dict[str, Any] = {
    "parse.ocr": True,
    "chunks.tokens": 500,
    "chunks.merge_below_tokens": 20,
    "chunks.context": True,
    "chunks.max_characters": 2_000,
    "chunks.new_after_characters": 1_500,
    "chunks.combine_under_characters": 500,
    "sources.text_column": "body",
    "sources.id_column": "id",
    "sources.title_column": "name",
}


def of(settings: IngestSettings, served: ServedModel = SERVED, mask: str = "", size: int = 1024) -> str:
    return pipeline_fingerprint(served, settings, mask, size).value


def changed(place: str, value: object) -> IngestSettings:
    """The defaults with one setting changed; `parse.ocr` is one, `ledger` another."""
    section, _, name = place.rpartition(".")
    settings = IngestSettings()
    update = {section: getattr(settings, section).model_copy(update={name: value})} if section else {name: value}
    return settings.model_copy(update=update)


def places(model: BaseModel, section: str = "") -> list[str]:
    """Every setting in it."""
    found = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        found += places(value, f"{name}.") if isinstance(value, BaseModel) else [section + name]
    return found


@pytest.mark.parametrize("place", WITHOUT_EFFECT)
def test_a_setting_that_changes_nothing_stored_leaves_the_fingerprint_alone(place: str) -> None:
    assert of(changed(place, WITHOUT_EFFECT[place])) == of(IngestSettings())


@pytest.mark.parametrize("place", WITH_EFFECT)
def test_a_setting_that_changes_what_is_stored_changes_the_fingerprint(place: str) -> None:
    assert of(changed(place, WITH_EFFECT[place])) != of(IngestSettings())


def test_of_every_setting_it_is_known_whether_it_changes_what_is_stored() -> None:
    assert sorted([*WITHOUT_EFFECT, *WITH_EFFECT, "parse.parser"]) == sorted(places(IngestSettings()))


def test_the_languages_of_ocr_count_where_there_is_ocr() -> None:
    german = IngestSettings(parse=ParseSettings(ocr=True, ocr_languages="deu"))
    assert of(german) != of(IngestSettings(parse=ParseSettings(ocr=True)))


def test_model_weights_mask_and_size_change_the_fingerprint() -> None:
    settings = IngestSettings()
    values = {
        of(settings),
        of(settings, replace(SERVED, name="other")),
        of(settings, replace(SERVED, fingerprint="other")),
        of(settings, mask="EMAIL_ADDRESS=token"),
        of(settings, size=256),
    }
    assert len(values) == 5


def test_a_chunk_limit_beyond_the_model_s_is_the_model_s() -> None:
    short = replace(SERVED, max_tokens=256)
    larger = IngestSettings(chunks=ChunkSettings(tokens=512))
    assert of(IngestSettings(), short) == of(larger, short)
    assert of(IngestSettings()) != of(larger)


@pytest.mark.parametrize("constant", ["PARSER_VERSION", "CHUNKER_VERSION"])
def test_a_new_version_of_parser_or_chunker_changes_the_fingerprint(
    constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of(IngestSettings())
    monkeypatch.setattr(fingerprint, constant, "next")
    assert of(IngestSettings()) != before


def test_a_library_that_parses_counts_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = IngestSettings(parse=ParseSettings(parser="unstructured"))
    monkeypatch.setattr(fingerprint, "version", {"unstructured": "0.27.35"}.__getitem__)
    assert "unstructured 0.27.35" in pipeline_fingerprint(SERVED, settings, "", 1024).components["parser version"]
    before = of(settings)
    monkeypatch.setattr(fingerprint, "version", {"unstructured": "0.28.0"}.__getitem__)
    assert of(settings) != before


def test_a_parser_that_is_not_installed_is_refused_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_DISTRIBUTIONS", {"docling": ("no-such-distribution",)})
    with pytest.raises(SetupError, match=r"embed-cluster\[docling\]"):
        of(IngestSettings(parse=ParseSettings(parser="docling")))


def test_the_value_is_the_same_in_every_process() -> None:
    probe = "from ingest.fingerprint import Fingerprint; print(Fingerprint({'b': '2', 'a': '1'}).value)"
    command = [sys.executable, "-c", probe]
    values = {
        subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert values == {Fingerprint({"a": "1", "b": "2"}).value}
    assert len(values.pop()) == 16


def test_a_fingerprint_comes_back_from_json() -> None:
    original = pipeline_fingerprint(SERVED, IngestSettings(sources=SourceSettings(text_column="正文")), "", 1024)
    found = Fingerprint.from_json(original.to_json())
    assert (found, found.value) == (original, original.value)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "null"])
def test_json_that_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON object|Expecting value"):
        Fingerprint.from_json(text)


def test_differences_are_sentences_that_name_both_values() -> None:
    old = pipeline_fingerprint(SERVED, IngestSettings(), "", 1024).components
    new = pipeline_fingerprint(SERVED, changed("chunks.max_characters", 2_000), "", 256).components
    assert differences(old, new) == [
        "`chunks.max_characters` was not set and is 2000.",
        "The size of the vectors was 1024 and is 256.",
    ]
    assert differences(old, old) == []


def test_a_component_that_only_one_side_has_is_a_difference() -> None:
    assert differences({"gone": "1"}, {"added": "2"}) == [
        "`added` was not set and is 2.",
        "`gone` was 1 and is not set.",
    ]


def test_what_the_mask_says_about_its_key_is_not_shown() -> None:
    assert differences({"mask": "secret1"}, {"mask": "secret2"}) == ["The masking of personal data has changed."]


@pytest.mark.parametrize("name", [field.name for field in fields(Chunk)])
def test_every_field_of_a_chunk_counts_in_its_digest(name: str) -> None:
    other: dict[str, Any] = {"heading_path": ("Two",), "metadata": {"a": 2, "b": True}}
    value = getattr(CHUNK, name)
    changed_chunk = replace(CHUNK, **{name: other.get(name, 99 if isinstance(value, int) else "other")})
    assert row_digest(changed_chunk, "") != row_digest(CHUNK, "")


def test_the_tenant_counts_in_the_digest_and_the_order_of_metadata_does_not() -> None:
    assert row_digest(CHUNK, "acme") != row_digest(CHUNK, "")
    assert row_digest(replace(CHUNK, metadata={"b": True, "a": 1}), "") == row_digest(CHUNK, "")
    assert len(row_digest(CHUNK, "")) == 16


def test_true_and_1_are_different_metadata() -> None:
    assert row_digest(replace(CHUNK, metadata={"a": True}), "") != row_digest(replace(CHUNK, metadata={"a": 1}), "")
