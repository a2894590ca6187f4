"""The official OpenAI client against the cluster: documents, a query with an instruction, smaller vectors, errors.

Run `python examples/openai_client.py --endpoint http://127.0.0.1:8000`; a key, if one is needed, is in EMBED_API_KEY.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from openai import BadRequestError, OpenAI

DOCUMENTS = [
    "Unused annual leave may be carried over into the first quarter.",
    "The supplier pays half a percent of the price for every started day of delay.",
    "年假未休完的部分可以结转到下一年度第一季度。",
]
QUESTION = "What does a late delivery cost the supplier?"
INSTRUCTION = "Given a question about a contract, retrieve the clause that answers it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="", help="served name; default: the first one")
    arguments = parser.parse_args()
    client = OpenAI(base_url=f"{arguments.endpoint}/v1", api_key=os.environ.get("EMBED_API_KEY", "EMPTY"))
    model = arguments.model or client.models.list().data[0].id
    # What a model can do is in the fields that its card has beside OpenAI's.
    card = client.models.retrieve(model).model_dump()
    print(f"{model}: {card['min_dimensions']} to {card['native_dimensions']} dimensions")

    answer = client.embeddings.create(model=model, input=DOCUMENTS)
    documents = np.array([item.embedding for item in answer.data])
    print(f"documents: {documents.shape[0]} x {documents.shape[1]}, {answer.usage.prompt_tokens} tokens")

    wish = {"instruction": INSTRUCTION} if card["default_instruction"] else {"input_type": "query"}
    query = np.array(client.embeddings.create(model=model, input=QUESTION, extra_body=wish).data[0].embedding)
    for score, text in sorted(zip(documents @ query, DOCUMENTS, strict=True), reverse=True):
        print(f"  {score:.3f}  {text}")

    size = card["min_dimensions"]
    small = client.embeddings.create(model=model, input=QUESTION, dimensions=size).data[0].embedding
    print(f"cut: {len(small)} dimensions, length {np.linalg.norm(small):.3f}")
    try:
        client.embeddings.create(model=model, input=QUESTION, dimensions=card["native_dimensions"] + 1)
    except BadRequestError as error:
        print(f"refused: {error.status_code} {error.code} in `{error.param}`")


if __name__ == "__main__":
    main()
