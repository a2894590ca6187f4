from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster import config as config_module
from cluster.config import ClusterConfig, HttpSettings, has_gpu, load_config
from serve_app.core.errors import SetupError
from serve_app.settings import ModelSettings


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults depend on the machine; tests say which machine they mean."""
    monkeypatch.setattr(config_module, "has_gpu", lambda: False)


@pytest.fixture
def one_gpu(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "has_gpu", lambda: True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cluster.yaml"


def load(path: Path, content: object) -> ClusterConfig:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_config(path)


def refusal(path: Path, content: object) -> str:
    with pytest.raises(SetupError) as caught:
        load(path, content)
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value.message.removeprefix(f"{path}: ")


def test_without_a_file_every_key_has_a_default() -> None:
    config = load_config(None)
    assert config == ClusterConfig()
    assert [model.served_name for model in config.models] == ["all-minilm-l6-v2"]
    assert config.models[0].gpus_per_replica == 0
    assert config.http.endpoint == "http://127.0.0.1:8000"
    assert config.sink == "milvus-lite:./embed-data/milvus"


@pytest.mark.usefixtures("one_gpu")
def test_on_a_gpu_the_default_model_is_qwen3_embedding() -> None:
    model = load_config(None).models[0]
    assert (model.path, model.served_name) == ("Qwen/Qwen3-Embedding-4B", "qwen3-embedding-4b")
    assert model.gpus_per_replica == 1


def test_a_gpu_counts_whatever_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(tmp_path)
    (tmp_path / "nvidia3").touch()
    assert has_gpu(tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "{}"])
def test_an_empty_file_means_the_defaults(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    assert load_config(path) == ClusterConfig()


def test_values_of_a_file_arrive_at_every_depth(path: Path) -> None:
    config = load(
        path,
        {
            "models": [
                {"path": "/m/Qwen3-0.6B", "replicas": 2, "engine": {"max_tokens": 512}},
                {"path": "a/b", "name": "x"},
            ],
            "http": {"port": 9000},
            "router": {"replicas": 3},
            "limits": {"max_inputs": 10},
            "ingest": {"chunks": {"tokens": 200}},
            "sink": "http://milvus:19530",
        },
    )
    assert [model.served_name for model in config.models] == ["qwen3-0.6b", "x"]
    assert (config.models[0].replicas, config.models[0].engine.max_tokens) == (2, 512)
    assert (config.http.endpoint, config.router.replicas) == ("http://127.0.0.1:9000", 3)
    assert (config.limits.max_inputs, config.limits.max_body_mib) == (10, 16)
    assert (config.ingest.chunks.tokens, config.sink) == (200, "http://milvus:19530")


def test_the_application_gets_the_serving_part(path: Path) -> None:
    config = load(path, {"models": [{"path": "a/b"}], "router": {"replicas": 3}, "limits": {"max_inputs": 10}})
    assert (config.app.models, config.app.router, config.app.limits) == (config.models, config.router, config.limits)


@pytest.mark.parametrize(
    ("content", "key", "meant"),
    [
        ({"model": []}, "model", "models"),
        ({"http": {"prot": 80}}, "http.prot", "port"),
        ({"router": {"replica": 2}}, "router.replica", "replicas"),
        ({"limits": {"max_input": 9}}, "limits.max_input", "max_inputs"),
        ({"ingest": {"chunks": {"token": 9}}}, "ingest.chunks.token", "tokens"),
        ({"models": [{"path": "a/b"}, {"path": "c/d", "replicass": 2}]}, "models.1.replicass", "replicas"),
        ({"models": [{"path": "a/b", "engine": {"max_token": 9}}]}, "models.0.engine.max_token", "max_tokens"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(path: Path, content: object, key: str, meant: str) -> None:
    assert refusal(path, content) == f"there is no key `{key}`; did you mean `{meant}`?"


@pytest.mark.parametrize(
    ("content", "key", "known"),
    [
        ({"zzz": 1}, "zzz", ", ".join(ClusterConfig.model_fields)),
        ({"http": {"zzz": 1}}, "http.zzz", "host, port"),
        ({"router": {"zzz": 1}}, "router.zzz", "replicas, cache_mib, raw_token_ids, cors_origins"),
        ({"auth": {"zzz": 1}}, "auth.zzz", "keys_file"),
    ],
)
def test_an_unknown_key_that_is_near_to_nothing_is_named_with_all_known_ones(
    path: Path, content: object, key: str, known: str
) -> None:
    assert refusal(path, content) == f"there is no key `{key}`; keys here: {known}."


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"models": []}, "models"),
        ({"models": "Qwen/Qwen3-Embedding-0.6B"}, "models"),
        ({"models": [{}]}, "models.0.path"),
        ({"models": ["Qwen/Qwen3-Embedding-0.6B"]}, "models.0"),
        ({"models": [{"path": "a/b", "replicas": 0}]}, "models.0.replicas"),
        ({"models": [{"path": "a/b", "gpus_per_replica": -1}]}, "models.0.gpus_per_replica"),
        ({"models": [{"path": "a/b", "engine": {"dtype": "float16"}}]}, "models.0.engine.dtype"),
        ({"models": [{"path": "a/b", "engine": {"gpu_memory_share": 1.5}}]}, "models.0.engine.gpu_memory_share"),
        ({"http": None}, "http"),
        ({"http": {"host": ""}}, "http.host"),
        ({"http": {"port": 0}}, "http.port"),
        ({"http": {"port": 65_536}}, "http.port"),
        ({"http": {"port": "many"}}, "http.port"),
        ({"limits": {"request_timeout_s": 0}}, "limits.request_timeout_s"),
        ({"ingest": {"chunks": {"tokens": 1}}}, "ingest.chunks.tokens"),
        ({"sink": 7}, "sink"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_the_rule(path: Path, content: object, key: str) -> None:
    message = refusal(path, content)
    assert message.startswith(f"`{key}`: ")
    assert len(message) > len(f"`{key}`: .")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "7\n", "false\n", "[]\n"])
def test_a_file_that_is_not_a_mapping_is_refused(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SetupError, match="must be a mapping of keys such as `models` and `http`"):
        load_config(path)


@pytest.mark.parametrize("text", ["models: [", "a: b: c", "\tx: 1", "x: !!python/object/apply:os.getcwd []"])
def test_invalid_yaml_is_refused_in_one_line(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SetupError, match=r"is not valid YAML in line 1, column [0-9]+: [a-z]") as caught:
        load_config(path)
    assert "\n" not in caught.value.message


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"nowhere\.yaml cannot be read: No such file or directory\."):
        load_config(tmp_path / "nowhere.yaml")


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"cannot be read: Is a directory\."):
        load_config(tmp_path)


def test_a_file_in_another_encoding_is_refused(path: Path) -> None:
    path.write_bytes("sink: 数据".encode("gb18030"))
    with pytest.raises(SetupError, match="UTF-8"):
        load_config(path)


def test_another_model_replaces_all_and_keeps_the_engine_settings(path: Path) -> None:
    config = load(
        path,
        {
            "models": [{"path": "a/b", "name": "x", "replicas": 2, "engine": {"threads": 3}}, {"path": "c/d"}],
            "http": {"port": 9000},
        },
    )
    other = config.with_model("Qwen/Qwen3-Embedding-0.6B")
    assert [model.served_name for model in other.models] == ["qwen3-embedding-0.6b"]
    assert (other.models[0].replicas, other.models[0].engine.threads) == (2, 3)
    assert (other.models[0].gpus_per_replica, other.http) == (0.0, config.http)
    assert [model.path for model in config.models] == ["a/b", "c/d"]


@pytest.mark.parametrize("text", ["sink: 2026-13-45", "models: 2026-99-99 25:61:61"])
def test_an_impossible_date_is_refused_in_one_line(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SetupError, match="is not valid YAML: "):
        load_config(path)


def test_another_model_leaves_behind_what_belongs_to_the_weights_of_the_first(path: Path) -> None:
    first = {
        "path": "a/b",
        "golden": "g.json",
        "default_instruction": "Find it",
        "aliases": ["default"],
        "gpus_per_replica": 1,
        "tensor_parallel": 2,
    }
    other = load(path, {"models": [first]}).with_model("c/d").models[0]
    assert (other.golden, other.default_instruction) == (None, None)
    assert (other.gpus_per_replica, other.tensor_parallel, other.aliases) == (0.0, 1, ("default",))


def test_another_model_must_keep_the_rules_too(tmp_path: Path) -> None:
    model = tmp_path / "qwen@3"
    model.mkdir()
    with pytest.raises(SetupError, match=r"^--model .*`models\.0\.name`"):
        ClusterConfig().with_model(str(model))


def test_files_are_found_beside_the_configuration(path: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    models = [{"path": "models/tiny", "golden": "golden/tiny.json"}, {"path": "models/absent"}]
    config = load(path, {"models": models, "auth": {"keys_file": "keys.yaml"}})
    assert config.app.auth.keys_file == str(tmp_path / "keys.yaml")
    assert config.models[0].path == str(tmp_path / "models" / "tiny")
    assert config.models[0].golden == str(tmp_path / "golden" / "tiny.json")
    assert config.models[1].path == "models/absent"  # perhaps on the hub


def test_absolute_paths_and_those_of_the_home_directory_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(path, {"auth": {"keys_file": "/etc/keys.yaml"}}).auth.keys_file == "/etc/keys.yaml"
    assert load(path, {"auth": {"keys_file": "~/keys.yaml"}}).auth.keys_file == "/home/somebody/keys.yaml"


def test_a_rule_between_two_keys_is_said_without_pydantics_words(path: Path) -> None:
    models = [{"path": "a/b", "tensor_parallel": 2}]
    assert refusal(path, {"models": models}) == "`models.0`: `tensor_parallel` above 1 needs `gpus_per_replica: 1`."


def test_the_application_gets_presets_as_its_live_part(path: Path) -> None:
    assert load(path, {"presets": {"legal": "Find the clause"}}).app.live.presets == {"legal": "Find the clause"}


@pytest.mark.usefixtures("one_gpu")
def test_another_model_uses_the_gpu_of_the_machine() -> None:
    assert ClusterConfig().with_model("Qwen/Qwen3-Embedding-8B").models[0].gpus_per_replica == 1.0


@pytest.mark.parametrize(("host", "client_host"), [("0.0.0.0", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")])  # noqa: S104
def test_the_endpoint_is_an_address_that_a_client_can_use(host: str, client_host: str) -> None:
    assert HttpSettings(host=host, port=81).endpoint == f"http://{client_host}:81"


@pytest.mark.parametrize(
    ("path_of_model", "name"),
    [("Qwen/Qwen3-Embedding-0.6B", "qwen3-embedding-0.6b"), ("/m/Tiny/", "tiny"), ("plain", "plain")],
)
def test_a_model_without_a_name_is_called_by_the_end_of_its_path(path_of_model: str, name: str) -> None:
    assert ModelSettings(path=path_of_model).served_name == name


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ClusterConfig().sink = "elsewhere"  # type: ignore[misc]
