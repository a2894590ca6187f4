"""Build a tiny random-weight Qwen3-Embedding checkpoint: every file the real one has, in seconds, without a hub.

Run `python -m tests.tiny_qwen3 DIRECTORY` to make one by hand; the benchmark uses the same.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

END_TOKEN = "<|endoftext|>"
HIDDEN, LAYERS, MAX_TOKENS = 256, 4, 2048
CORPUS = (
    "The employee handbook describes annual leave, travel expenses and information security. ",
    "Suppliers deliver within thirty days; late delivery costs one percent of the contract value a week. ",
    "年假未休完的部分可以结转到下一年度第一季度，逾期作废。采购合同应当由法务部门审核。",
    "def embed(texts: list[str]) -> list[list[float]]: return client.embeddings.create(input=texts)\n",
)


def build(directory: Path, *, hidden: int = HIDDEN, layers: int = LAYERS, intermediate: int | None = None) -> Path:
    """Write the checkpoint into `directory` unless one is there already; returns the directory.

    `hidden` is the width of the vectors; `intermediate`, the width inside a layer, is three times that by default.
    """
    if (directory / "modules.json").exists():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"{directory.name}-", dir=directory.parent) as scratch:
        made = Path(scratch, directory.name)
        made.mkdir()
        vocab_size = _write_tokenizer(made)
        _write_weights(made, vocab_size, hidden, layers, 3 * hidden if intermediate is None else intermediate)
        _write_sentence_transformers(made, hidden)
        with suppress(OSError):  # another process has built the same meanwhile
            made.rename(directory)
    return directory


def _write_tokenizer(directory: Path) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=[END_TOKEN, "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    end = tokenizer.token_to_id(END_TOKEN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END_TOKEN}", pair=f"$A $B {END_TOKEN}", special_tokens=[(END_TOKEN, end)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": END_TOKEN,
            "model_max_length": MAX_TOKENS,
            "padding_side": "left",
        },
    )
    return int(tokenizer.get_vocab_size())


def _write_weights(directory: Path, vocab_size: int, hidden: int, layers: int, intermediate: int) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,  # transformers would start the end token's embedding at zero
    )
    model: torch.nn.Module = Qwen3ForCausalLM(config)  # type: ignore[no-untyped-call]
    model.to(torch.bfloat16)
    model.save_pretrained(directory)  # type: ignore[operator]  # what torch's own type does not know


def _write_sentence_transformers(directory: Path, hidden: int) -> None:
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    # every mode is named, as in the real file: sentence-transformers takes the mean as well unless it is told not to
    others = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
    modes = {f"pooling_mode_{mode}": False for mode in others} | {"pooling_mode_lasttoken": True}
    _write_json(
        directory / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **modes, "include_prompt": True}
    )
    query = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    _write_json(
        directory / "config_sentence_transformers.json",
        {"prompts": {"query": query, "document": ""}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    _write_json(directory / "modules.json", modules)  # last: its presence says the checkpoint is whole


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


if __name__ == "__main__":
    parser = ArgumentParser(description="Build a tiny checkpoint.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hidden", type=int, default=HIDDEN)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--intermediate", type=int)
    print(build(**vars(parser.parse_args())))
