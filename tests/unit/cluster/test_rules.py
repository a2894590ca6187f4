from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config import ClusterConfig
from serve_app.core.instructions import MAX_INSTRUCTION_CHARACTERS


def problem(**content: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        ClusterConfig.model_validate({"models": [{"path": "a/b"}], **content})
    return caught.value.errors()[0]["msg"].removeprefix("Value error, ")


def model(path: str = "a/b", **fields: object) -> dict[str, object]:
    return {"path": path, **fields}


@pytest.mark.parametrize(
    ("models", "place", "name", "owner"),
    [
        ([model(name="x"), model("c/d", name="x")], "models.1.name", "x", "models.0.name"),
        ([model("Qwen/Qwen3"), model("/copies/qwen3/")], "models.1.name", "qwen3", "models.0.name"),
        ([model(), model("c/d"), model("e/f", name="b")], "models.2.name", "b", "models.0.name"),
        ([model(), model("c/d", aliases=["b"])], "models.1.aliases.0", "b", "models.0.name"),
        ([model(aliases=["y", "x"]), model("c/x")], "models.1.name", "x", "models.0.aliases.1"),
        ([model(aliases=["b"])], "models.0.aliases.0", "b", "models.0.name"),
        ([model(aliases=["x", "x"])], "models.0.aliases.1", "x", "models.0.aliases.0"),
    ],
)
def test_a_name_belongs_to_one_model_once(models: list[object], place: str, name: str, owner: str) -> None:
    expected = f"`{place}`: `{name}` is also the name of `{owner}`; give each model names of its own"
    assert problem(models=models) == expected


def test_names_that_ray_serve_does_not_tell_apart_are_refused() -> None:
    message = problem(models=[model(name="x/y"), model("c/d", name="x+y")])
    assert message.startswith("`models.1.name`: it differs from `models.0.name` only in characters")


@pytest.mark.parametrize("name", ["a@b", "@", "a b", "a\n", "n" * 129, "a\u200bb"])
def test_a_served_name_has_no_at_sign_and_no_space(name: str) -> None:
    assert problem(models=[model(name=name)]).startswith("`models.0.name`: a name in requests has 1 to 128")
    assert problem(models=[model(aliases=[name])]).startswith("`models.0.aliases.0`: a name in requests has 1 to 128")


def test_an_empty_alias_is_refused() -> None:
    assert problem(models=[model(aliases=[""])]).startswith("`models.0.aliases.0`: ")


@pytest.mark.parametrize("name", ["qwen3-embedding-0.6b", "Org/Name", "向量", "text-embedding-3-small"])
def test_usual_names_are_fine(name: str) -> None:
    assert ClusterConfig.model_validate({"models": [model(name=name, aliases=["default"])]})


@pytest.mark.parametrize("path", ["", "  "])
def test_a_model_needs_a_path(path: str) -> None:
    assert problem(models=[model(path)]).startswith("`models.0.path`: it is empty")


@pytest.mark.parametrize("name", ["", "Legal", "-a", "_a", "a b", "a@b", "a.b", "条款", "a\n", "a" * 65])
def test_a_preset_has_a_name_that_fits_behind_an_at_sign(name: str) -> None:
    assert problem(presets={name: "Find the clause"}).startswith(f"`presets.{name}`: a preset's name has 1 to 64")


@pytest.mark.parametrize("name", ["a", "7", "legal-search_2", "a" * 64])
def test_usual_preset_names_are_fine(name: str) -> None:
    assert ClusterConfig.model_validate({"presets": {name: "x" * MAX_INSTRUCTION_CHARACTERS}})


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_instruction_is_refused(text: str) -> None:
    assert problem(presets={"legal": text}).startswith("`presets.legal`: the instruction is empty")
    message = problem(models=[model(default_instruction=text)])
    assert message.startswith("`models.0.default_instruction`: the instruction is empty")


def test_a_long_instruction_is_refused_with_both_numbers() -> None:
    message = problem(presets={"legal": "x" * (MAX_INSTRUCTION_CHARACTERS + 1)})
    assert message == "`presets.legal`: the instruction has 2001 characters; the limit is 2000"


def test_the_slices_under_way_for_a_replica_must_be_allowed_to_wait_there() -> None:
    message = problem(limits={"slice_tokens": 4096, "slices_per_replica": 3, "max_queued_tokens": 12_287})
    assert message.startswith(
        "`limits.max_queued_tokens`: 12287 is less than the 12288 tokens that a Router has under way"
    )
    enough = {"slice_tokens": 4096, "slices_per_replica": 3, "max_queued_tokens": 12_288}
    assert ClusterConfig.model_validate({"limits": enough})


def test_an_empty_path_of_the_keys_file_does_not_open_the_endpoint_to_all() -> None:
    assert problem(auth={"keys_file": ""}).startswith("`auth.keys_file`: it is empty")


def test_an_empty_path_of_reference_vectors_is_refused() -> None:
    assert problem(models=[model(golden="")]).startswith("`models.0.golden`: it is empty")


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*",
        "https://*.example.com",
        "example.com",
        "https://example.com/",
        "ftp://a",
        "https://a:b",
        "null",
    ],
)
def test_an_origin_is_one_web_origin_and_no_wildcard(origin: str) -> None:
    assert problem(router={"cors_origins": ["https://a", origin]}).startswith("`router.cors_origins.1`: an origin is")


@pytest.mark.parametrize("origin", ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080"])
def test_usual_origins_are_fine(origin: str) -> None:
    assert ClusterConfig.model_validate({"router": {"cors_origins": [origin]}})


@pytest.mark.parametrize("endpoint", ["", "collector", "collector:4317", "http://", "grpc://collector:4317"])
def test_the_collector_has_a_url(endpoint: str) -> None:
    assert problem(observability={"otlp_endpoint": endpoint}).startswith("`observability.otlp_endpoint`: it is no URL")
