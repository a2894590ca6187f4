"""A small search with LlamaIndex: `OpenAILikeEmbedding` takes any model name, `OpenAIEmbedding` only OpenAI's."""

from __future__ import annotations

import argparse
import os

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # type: ignore[import-untyped]
from openai import OpenAI

DOCUMENTS = [
    "Unused annual leave may be carried over into the first quarter.",
    "The supplier pays half a percent of the price for every started day of delay.",
    "Hotel costs are refunded up to 140 euros a night.",
    "年假未休完的部分可以结转到下一年度第一季度。",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="", help="served name, or `name@preset`; default: the first one")
    parser.add_argument("--question", default="How much may a hotel cost?")
    arguments = parser.parse_args()
    base_url, key = f"{arguments.endpoint}/v1", os.environ.get("EMBED_API_KEY", "EMPTY")
    model = arguments.model or OpenAI(base_url=base_url, api_key=key).models.list().data[0].id

    embedding = OpenAILikeEmbedding(model_name=model, api_base=base_url, api_key=key, embed_batch_size=256)
    index = VectorStoreIndex([TextNode(text=text) for text in DOCUMENTS], embed_model=embedding)
    for hit in index.as_retriever(similarity_top_k=len(DOCUMENTS)).retrieve(arguments.question):
        print(f"{hit.score:.3f}  {hit.text}")


if __name__ == "__main__":
    main()
