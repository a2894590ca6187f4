"""A small search with LangChain. One setting matters: `check_embedding_ctx_length=False`.

LangChain otherwise sends token ids of OpenAI's tokenizer in place of text. Another model reads these ids as other words
and answers with vectors of nonsense, so switch it off against every server that is not OpenAI's.
"""

from __future__ import annotations

import argparse
import os

from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings
from openai import OpenAI
from pydantic import SecretStr

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

    embeddings = OpenAIEmbeddings(  # type: ignore[call-arg]  # its types lack the names that its documents use
        base_url=base_url,
        api_key=SecretStr(key),
        model=model,
        check_embedding_ctx_length=False,
    )
    store = InMemoryVectorStore(embeddings)
    store.add_texts(DOCUMENTS)
    for document, score in store.similarity_search_with_score(arguments.question, k=len(DOCUMENTS)):
        print(f"{score:.3f}  {document.page_content}")


if __name__ == "__main__":
    main()
