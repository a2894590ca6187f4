"""Read a checkpoint's files into a ModelProfile. Knows file formats of Hugging Face and sentence-transformers only."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile, Pooling
from serve_app.model.fingerprint import fingerprint
from serve_app.settings import ModelSettings

QWEN3_TEMPLATE = "Instruct: {instruction}\nQuery:{text}"
QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_CONTEXT = 32_768  # model card; config.json says 40,960 for 4B and 8B, which leaves room for generation
ROBERTA_FAMILIES = ("roberta", "xlm-roberta", "camembert")
SMALL_FILES = ("*.json", "*.txt", "*/config.json", "*.model")


def locate(path: str, weights: bool) -> Path:
    """The checkpoint's directory: a local one as it is, `package:NAME` the model inside an installed Python package,
    a hub name through the hub's cache, where `weights` False brings only the small files.

    Raises SetupError if there is no such model.
    """
    if path.startswith("package:"):
        return _packaged(path.removeprefix("package:"))
    local = Path(path).expanduser()
    if local.is_dir():
        return local
    if local.is_absolute() or path.startswith((".", "~")) or path.count("/") != 1:
        raise SetupError(
            f"No model at {path}: give a directory that holds config.json, or a hub name such as "
            "Qwen/Qwen3-Embedding-0.6B."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, allow_patterns=None if weights else list(SMALL_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise SetupError(
            f"The model {path} is neither a local directory nor reachable on the hub ({type(error).__name__}): "
            "check the name and the network, or download it and give its directory."
        ) from error


def _packaged(package: str) -> Path:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # the parent of a dotted name is missing, or the name is empty
        spec = None
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise SetupError(
            f"The model package {package} is not installed: install the extra `cpu`, or choose a model with --model."
        )
    return Path(folders[0]) / "model"


def read_profile(settings: ModelSettings, directory: Path) -> ModelProfile:
    """Facts of the checkpoint in `directory`. Raises SetupError if a needed file is missing or contradicts itself."""
    config = _read(directory / "config.json", required=True)
    family = _family(config, directory)
    pooling = _pooling(directory, family)
    native = _count(config, "hidden_size", directory)
    max_tokens = _max_tokens(config, directory, family)
    if settings.engine.max_tokens is not None:
        if settings.engine.max_tokens > max_tokens:
            raise SetupError(
                f"models.engine.max_tokens is {settings.engine.max_tokens}, but {settings.served_name} takes at most "
                f"{max_tokens}."
            )
        max_tokens = settings.engine.max_tokens
    template, instruction = _query_format(directory, family)
    if settings.default_instruction is not None and family != "qwen3":
        raise SetupError(
            f"models.default_instruction is set, but {settings.served_name} has no instruction format: leave it out."
        )
    return ModelProfile(
        name=settings.served_name,
        path=str(directory),
        family=family,
        pooling=pooling,
        native_dimensions=native,
        is_matryoshka=family == "qwen3" or bool(config.get("is_matryoshka") or config.get("matryoshka_dimensions")),
        max_tokens=max_tokens,
        vocab_size=_count(config, "vocab_size", directory),
        end_token_id=_end_token(directory) if pooling == "last" else None,
        query_template=template,
        default_instruction=settings.default_instruction or instruction,
        dtype=settings.engine.dtype,
        kv_bytes_per_token=_kv_bytes(config, settings.engine.dtype) if pooling == "last" else 0,
        flops_per_token=_flops(config),
        fingerprint=fingerprint(directory, pooling, settings.engine.quantization or settings.engine.dtype),
    )


def _flops(config: dict[str, Any]) -> float:
    """Two for each parameter of the layers' matrices; Qwen3's feed-forward part has three of them, BERT's two."""
    width, heads, head_size, kv_heads = _attention(config)
    attention = 2 * width * heads * head_size + 2 * width * kv_heads * head_size
    matrices = 2 if config.get("model_type") == "bert" else 3
    feed_forward = matrices * width * int(config.get("intermediate_size", 4 * width))
    return 2.0 * (attention + feed_forward) * int(config.get("num_hidden_layers", 1))


def _attention(config: dict[str, Any]) -> tuple[int, int, int, int]:
    """(width, heads, head size, key-value heads); missing fields have the defaults of transformers."""
    width, heads = int(config["hidden_size"]), int(config.get("num_attention_heads", 1))
    return width, heads, int(config.get("head_dim") or width // heads), int(config.get("num_key_value_heads") or heads)


def _kv_bytes(config: dict[str, Any], dtype: str) -> int:
    """Keys and values of one token over all layers."""
    _, _, head_size, kv_heads = _attention(config)
    width = 4 if dtype == "float32" else 2
    return 2 * width * head_size * kv_heads * int(config.get("num_hidden_layers", 1))


def _family(config: dict[str, Any], directory: Path) -> str:
    """`qwen3` means Qwen3-Embedding: a Qwen3 decoder that sentence-transformers pools at the last token."""
    model_type = str(config.get("model_type", "unknown"))
    return model_type if model_type != "qwen3" or _declared_pooling(directory) == "last" else "qwen3-other"


def _declared_pooling(directory: Path) -> Pooling | None:
    modules = _read_list(directory / "modules.json")
    folder = next((str(m.get("path", "")) for m in modules if str(m.get("type", "")).endswith("Pooling")), None)
    if folder is None:
        return None
    modes = _read(directory / folder / "config.json", required=True)
    for key, pooling in _POOLING_KEYS.items():
        if modes.get(key):
            return pooling
    raise SetupError(
        f"{directory.name}/{folder}/config.json names no pooling that can be served: last token, mean or CLS."
    )


_POOLING_KEYS: dict[str, Pooling] = {
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}


def _pooling(directory: Path, family: str) -> Pooling:
    declared = _declared_pooling(directory)
    if declared is None:
        raise SetupError(
            f"{directory.name} has no modules.json with a pooling layer, so it is not known how its {family} layers "
            "become one vector: use a sentence-transformers checkpoint."
        )
    return declared


def _max_tokens(config: dict[str, Any], directory: Path, family: str) -> int:
    positions = _count(config, "max_position_embeddings", directory)
    if family == "qwen3":
        return min(positions, QWEN3_CONTEXT)
    if family in ROBERTA_FAMILIES:  # their positions begin behind the padding token's
        positions -= int(config.get("pad_token_id", 1)) + 1
    declared = _read(directory / "sentence_bert_config.json", required=False).get("max_seq_length")
    return min(positions, int(declared)) if declared else positions


def _query_format(directory: Path, family: str) -> tuple[str | None, str | None]:
    """(template, default instruction) of queries."""
    if family == "qwen3":
        return QWEN3_TEMPLATE, QWEN3_INSTRUCTION
    prompts = _read(directory / "config_sentence_transformers.json", required=False).get("prompts") or {}
    query = prompts.get("query")
    return (f"{query}{{text}}", None) if query else (None, None)


def _end_token(directory: Path) -> int | None:
    """The id the tokenizer itself puts at the end of a text, else that of `<|endoftext|>`; None if it has neither."""
    from tokenizers import Tokenizer

    vocabulary = _read(directory / "tokenizer.json", required=True)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    last, bare = (tokenizer.encode("a", add_special_tokens=special).ids[-1:] for special in (True, False))
    if last != bare:  # a token that is put only at the beginning leaves the last one as it is
        return int(last[0])
    return next((int(t["id"]) for t in vocabulary.get("added_tokens", []) if t["content"] == "<|endoftext|>"), None)


def _read(path: Path, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise SetupError(f"{path.parent} has no {path.name}: it is not a complete model checkpoint.")
        return {}
    value = _load(path)
    return value if isinstance(value, dict) else {}


def _read_list(path: Path) -> list[dict[str, Any]]:
    value = _load(path) if path.is_file() else []
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SetupError(f"{path} is not valid JSON.") from error


def _count(config: dict[str, Any], key: str, directory: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise SetupError(f"{directory}/config.json gives no `{key}`: the model cannot be served.")
    return value
