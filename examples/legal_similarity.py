"""Do Chinese and English ask the same? Four legal questions in both languages, and the cosine of every pair.

Prints the matrix, and how often a question's nearest neighbour in the other language is its own translation. With
`--heat-map FILE.png` it draws the matrix (needs matplotlib). A model that aligns the languages shows a bright diagonal.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openai import OpenAI

INSTRUCTION = "Given a legal question, retrieve questions that ask for the same rule"
QUESTIONS = [
    ("How long does the buyer have to report a defect?", "买方应当在多长时间内通知标的物存在瑕疵？"),
    ("When may a party terminate the contract without notice?", "当事人在什么情况下可以不经通知解除合同？"),
    ("Who owns a work that an employee created at work?", "员工在职务中创作的作品，著作权归谁所有？"),
    ("What penalty is due if the goods arrive late?", "货物逾期交付应当支付多少违约金？"),
]
Matrix = NDArray[np.float64]


def embed(client: OpenAI, model: str, texts: list[str]) -> Matrix:
    """(n, D) unit-length rows; every text as a query, with the instruction if the model takes one."""
    takes_instruction = client.models.retrieve(model).model_dump()["default_instruction"]
    wish = {"instruction": INSTRUCTION} if takes_instruction else {"input_type": "query"}
    answer = client.embeddings.create(model=model, input=texts, extra_body=wish)
    return np.array([item.embedding for item in answer.data])


def similarity(client: OpenAI, model: str) -> Matrix:
    """(English, Chinese) cosines; the diagonal holds the translations."""
    english, chinese = zip(*QUESTIONS, strict=True)
    vectors = embed(client, model, [*english, *chinese])
    matrix: Matrix = vectors[: len(english)] @ vectors[len(english) :].T
    return matrix


def table(matrix: Matrix) -> str:
    header = "      " + "  ".join(f"Q{column + 1}zh " for column in range(matrix.shape[1]))
    rows = [f"Q{row + 1}en " + "  ".join(f"{cosine:5.2f}" for cosine in line) for row, line in enumerate(matrix)]
    return "\n".join([header, *rows])


def own_translations(matrix: Matrix) -> int:
    """How many English questions are nearest to their own translation."""
    return int((matrix.argmax(axis=1) == np.arange(len(matrix))).sum())


def draw(matrix: Matrix, path: Path) -> None:
    """Labels are Q1en and the like: matplotlib's own font has no Chinese."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="viridis")
    axes.set_xticks(range(len(matrix)), [f"Q{number + 1}zh" for number in range(len(matrix))])
    axes.set_yticks(range(len(matrix)), [f"Q{number + 1}en" for number in range(len(matrix))])
    for (row, column), cosine in np.ndenumerate(matrix):
        axes.text(column, row, f"{cosine:.2f}", ha="center", va="center", color="white")
    figure.colorbar(image, label="cosine similarity")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="", help="served name; default: the first one")
    parser.add_argument("--heat-map", type=Path, help="PNG file to draw the matrix into")
    arguments = parser.parse_args()
    client = OpenAI(base_url=f"{arguments.endpoint}/v1", api_key=os.environ.get("EMBED_API_KEY", "EMPTY"))
    model = arguments.model or client.models.list().data[0].id
    for number, (english, chinese) in enumerate(QUESTIONS, start=1):
        print(f"Q{number}  {english}  {chinese}")
    matrix = similarity(client, model)
    print(table(matrix))
    print(f"nearest to their own translation: {own_translations(matrix)} of {len(matrix)}")
    if arguments.heat_map:
        draw(matrix, arguments.heat_map)
        print(f"heat map: {arguments.heat_map}")


if __name__ == "__main__":
    main()
