from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from tokenizers import Tokenizer, processors

from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile, Pooling
from serve_app.model.checkpoint import QWEN3_INSTRUCTION, QWEN3_TEMPLATE, locate, read_profile
from serve_app.settings import EngineSettings, ModelSettings
from tests.tiny_qwen3 import END_TOKEN
from tests.unit.serve_app.checkpoints import (
    BERT_CONFIG,
    QWEN3_CONFIG,
    bert_checkpoint,
    qwen3_checkpoint,
    write,
    write_pooling,
)

SETTINGS = ModelSettings(path="/models/Some-Model", name="some-model")


@pytest.fixture
def qwen3(tmp_path: Path) -> Path:
    return qwen3_checkpoint(tmp_path / "qwen3")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return bert_checkpoint(tmp_path / "bert")


def end_token_of(directory: Path) -> int | None:
    id_: int | None = Tokenizer.from_file(str(directory / "tokenizer.json")).token_to_id(END_TOKEN)
    return id_


def refusal(directory: Path, settings: ModelSettings = SETTINGS) -> str:
    with pytest.raises(SetupError) as caught:
        read_profile(settings, directory)
    return caught.value.message


def test_the_profile_of_a_qwen3_embedding_checkpoint(qwen3: Path) -> None:
    assert read_profile(SETTINGS, qwen3) == ModelProfile(
        name="some-model",
        path=str(qwen3),
        family="qwen3",
        pooling="last",
        native_dimensions=1024,
        is_matryoshka=True,
        max_tokens=32_768,  # the model card's, not the 40,960 of config.json
        vocab_size=151_669,
        end_token_id=end_token_of(qwen3),
        query_template=QWEN3_TEMPLATE,
        default_instruction=QWEN3_INSTRUCTION,
        dtype="bfloat16",
        kv_bytes_per_token=114_688,  # the model card's arithmetic for 0.6B
        flops_per_token=2 * 440_401_920.0,  # 440.4 million parameters in the layers of 0.6B
        fingerprint="",
    )


def test_the_profile_of_a_bert_checkpoint_with_mean_pooling(bert: Path) -> None:
    assert read_profile(SETTINGS, bert) == ModelProfile(
        name="some-model",
        path=str(bert),
        family="bert",
        pooling="mean",
        native_dimensions=384,
        is_matryoshka=False,
        max_tokens=256,
        vocab_size=30_522,
        end_token_id=None,
        query_template=None,
        default_instruction=None,
        dtype="bfloat16",
        kv_bytes_per_token=0,
        flops_per_token=2 * 12 * 384 * 384.0,
        fingerprint="",
    )


def test_a_small_qwen3_context_is_not_stretched(qwen3: Path) -> None:
    write(qwen3, "config.json", QWEN3_CONFIG | {"max_position_embeddings": 2048})
    assert read_profile(SETTINGS, qwen3).max_tokens == 2048


def test_a_qwen3_decoder_that_is_pooled_otherwise_gets_no_instructions(qwen3: Path) -> None:
    write_pooling(qwen3, "mean_tokens")
    profile = read_profile(SETTINGS, qwen3)
    assert (profile.pooling, profile.is_matryoshka, profile.takes_instruction) == ("mean", False, False)


@pytest.mark.parametrize(("mode", "pooling"), [("lasttoken", "last"), ("mean_tokens", "mean"), ("cls_token", "cls")])
def test_every_pooling_that_can_be_served_is_recognised(qwen3: Path, mode: str, pooling: Pooling) -> None:
    write_pooling(qwen3, mode)
    assert read_profile(SETTINGS, qwen3).pooling == pooling


@pytest.mark.parametrize(
    ("files", "max_tokens"),
    [({}, 512), ({"max_seq_length": None}, 512), ({"max_seq_length": 128}, 128), ({"max_seq_length": 4096}, 512)],
)
def test_the_longest_input_is_the_smaller_of_positions_and_declared_length(
    bert: Path, files: dict[str, int | None], max_tokens: int
) -> None:
    write(bert, "sentence_bert_config.json", files)
    assert read_profile(SETTINGS, bert).max_tokens == max_tokens


def test_without_a_declared_length_all_positions_are_used(bert: Path) -> None:
    (bert / "sentence_bert_config.json").unlink()
    assert read_profile(SETTINGS, bert).max_tokens == 512


def test_a_stored_query_prompt_becomes_the_template(bert: Path) -> None:
    write(bert, "config_sentence_transformers.json", {"prompts": {"query": "query: ", "passage": "passage: "}})
    profile = read_profile(SETTINGS, bert)
    assert (profile.query_template, profile.takes_instruction) == ("query: {text}", False)


@pytest.mark.parametrize("content", [{}, {"prompts": None}, {"prompts": {}}, {"prompts": {"query": ""}}])
def test_without_a_stored_query_prompt_there_is_no_template(bert: Path, content: object) -> None:
    write(bert, "config_sentence_transformers.json", content)
    assert read_profile(SETTINGS, bert).query_template is None


def test_settings_override_the_default_instruction_and_the_dtype(qwen3: Path) -> None:
    settings = SETTINGS.model_copy(
        update={"default_instruction": "查找相关条款", "engine": EngineSettings(dtype="float32")}
    )
    profile = read_profile(settings, qwen3)
    assert (profile.default_instruction, profile.dtype) == ("查找相关条款", "float32")


@pytest.mark.parametrize("max_tokens", [8, 255, 256])
def test_settings_may_shorten_the_longest_input(bert: Path, max_tokens: int) -> None:
    settings = SETTINGS.model_copy(update={"engine": EngineSettings(max_tokens=max_tokens)})
    assert read_profile(settings, bert).max_tokens == max_tokens


def test_settings_cannot_stretch_the_longest_input(bert: Path) -> None:
    settings = SETTINGS.model_copy(update={"engine": EngineSettings(max_tokens=257)})
    assert refusal(bert, settings) == "models.engine.max_tokens is 257, but some-model takes at most 256."


def set_post_processor(directory: Path, template: str) -> None:
    path = str(directory / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    special = [(token, tokenizer.token_to_id(token)) for token in (END_TOKEN, "<|im_end|>")]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    tokenizer.save(path)


@pytest.mark.parametrize(
    ("template", "token"),
    [
        (f"$A {END_TOKEN}", END_TOKEN),
        ("$A <|im_end|>", "<|im_end|>"),
        ("<|im_end|> $A", END_TOKEN),  # a token at the beginning is no end token: the model family's is
        ("$A", END_TOKEN),
    ],
)
def test_the_end_token_is_the_one_the_tokenizer_puts_last(qwen3: Path, template: str, token: str) -> None:
    set_post_processor(qwen3, template)
    expected = Tokenizer.from_file(str(qwen3 / "tokenizer.json")).token_to_id(token)
    assert read_profile(SETTINGS, qwen3).end_token_id == expected


def test_a_tokenizer_without_any_end_token_has_none(qwen3: Path) -> None:
    set_post_processor(qwen3, "<|im_end|> $A")
    path = qwen3 / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace(END_TOKEN, "<|other|>"), encoding="utf-8")
    assert read_profile(SETTINGS, qwen3).end_token_id is None


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "tokenizer.json"])
def test_a_missing_file_is_named(qwen3: Path, name: str) -> None:
    (qwen3 / name).unlink()
    message = refusal(qwen3)
    assert f"has no {Path(name).name}" in message
    assert str((qwen3 / name).parent) in message


def test_a_directory_that_does_not_exist_is_not_a_checkpoint(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(tmp_path / "nowhere")


def test_a_checkpoint_without_modules_says_what_is_missing(bert: Path) -> None:
    (bert / "modules.json").unlink()
    assert "has no modules.json with a pooling layer" in refusal(bert)


def test_a_checkpoint_without_a_pooling_layer_says_what_is_missing(bert: Path) -> None:
    write(bert, "modules.json", [{"path": "", "type": "sentence_transformers.models.Transformer"}])
    assert "has no modules.json with a pooling layer" in refusal(bert)


@pytest.mark.parametrize("modes", [(), ("max_tokens",), ("weightedmean_tokens",)])
def test_a_pooling_that_cannot_be_served_is_refused(bert: Path, modes: tuple[str, ...]) -> None:
    write_pooling(bert, *modes)
    assert "1_Pooling/config.json names no pooling that can be served" in refusal(bert)


@pytest.mark.parametrize("key", ["hidden_size", "max_position_embeddings", "vocab_size"])
@pytest.mark.parametrize("value", ["missing", None, "384", 0])
def test_a_configuration_without_a_needed_number_names_it(bert: Path, key: str, value: object) -> None:
    config = BERT_CONFIG | {key: value}
    write(bert, "config.json", {name: number for name, number in config.items() if number != "missing"})
    assert f"config.json gives no `{key}`" in refusal(bert)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ],
)
@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}"])
def test_a_file_that_is_not_json_is_named(bert: Path, name: str, content: bytes) -> None:
    (bert / name).write_bytes(content)
    assert refusal(bert) == f"{bert / name} is not valid JSON."


@pytest.mark.parametrize("content", [{}, {"path": "1_Pooling"}, ["Pooling"], 7, None])
def test_a_module_list_of_another_shape_counts_as_none(bert: Path, content: object) -> None:
    write(bert, "modules.json", content)
    assert "has no modules.json with a pooling layer" in refusal(bert)


def test_a_configuration_that_is_not_an_object_gives_no_numbers(bert: Path) -> None:
    (bert / "config.json").write_text(json.dumps([1, 2]), encoding="utf-8")
    assert "config.json gives no" in refusal(bert)


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert locate(str(tmp_path), weights=True) == tmp_path


def test_a_tilde_stands_for_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert locate("~/model", weights=False) == tmp_path / "model"


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", "~/nowhere/model", "../a/b", "name", "a/b/c"])
def test_what_is_neither_a_directory_nor_a_hub_name_is_refused_without_asking_the_hub(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)  # calling it would be a TypeError
    with pytest.raises(SetupError, match=f"No model at {path}: give a directory"):
        locate(path, weights=True)


def test_a_packaged_model_is_found_inside_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_packaged_model" / "model").mkdir(parents=True)
    (tmp_path / "some_packaged_model" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert locate("package:some_packaged_model", weights=True) == tmp_path / "some_packaged_model" / "model"


@pytest.mark.parametrize("package", ["no_such_package_here", "no_such_package_here.inside", "", "this"])
def test_a_package_that_is_missing_or_is_none_is_refused(package: str) -> None:
    with pytest.raises(SetupError, match=f"The model package {package} is not installed"):
        locate(f"package:{package}", weights=True)


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("not in the cache"),
        OfflineModeIsEnabled("offline"),
        HFValidationError("no repository can be called that"),
        OSError("no route to host"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hub_name_that_cannot_be_reached_is_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(SetupError) as caught:
        locate("Qwen/Qwen3-Embedding-0.6B", weights=True)
    assert "Qwen/Qwen3-Embedding-0.6B is neither a local directory nor reachable on the hub" in caught.value.message
    assert type(error).__name__ in caught.value.message


@pytest.mark.parametrize("weights", [True, False])
def test_without_weights_only_small_files_are_downloaded(weights: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def download(name: str, allow_patterns: list[str] | None) -> str:
        asked.extend((name, allow_patterns is None, "*.safetensors" in (allow_patterns or [])))
        return "/cache/snapshot"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("Qwen/Qwen3-Embedding-0.6B", weights=weights) == Path("/cache/snapshot")
    assert asked == ["Qwen/Qwen3-Embedding-0.6B", weights, False]
