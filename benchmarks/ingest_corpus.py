"""Documents to ingest: English and Chinese sentences from a seed, no two the same."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

SECTIONS, PARAGRAPHS, SENTENCES = 12, 3, 6  # of a file, of a section, of a paragraph
CHUNKS_A_FILE = 50  # about, with the tokens of the tiny checkpoint, which are short
PARAGRAPHS_A_ROW = 8
MIB = 2**20
_SUBJECTS = ("The supplier", "Every department", "The project office", "An employee", "The auditor", "The warehouse")
_ACTIONS = ("confirms", "records", "reviews", "approves", "returns", "archives", "announces")
_OBJECTS = ("the delivery", "the travel claim", "the purchase order", "the security report", "the annual budget")
_LIMITS = ("within thirty days", "before the quarter ends", "in writing", "with a second signature", "on request")
_KNOWN_WORDS = (
    *("the", "employee", "handbook", "describes", "annual", "leave", "travel", "expenses", "and", "information"),
    *("security", "within", "thirty", "days", "late", "delivery", "costs", "one", "percent", "of", "contract"),
    *("value", "a", "week"),
)
_KNOWN_CHINESE = ("年假未休完的部分可以结转到下一年度第一季度", "逾期作废", "采购合同应当由法务部门审核")
_CHINESE = ("采购合同由法务部门审核", "年假可以结转到下一季度", "差旅费用在十日内支付", "供应商按时交货")


def write_folder(folder: Path, files: int, seed: int = 1) -> None:
    """Markdown files with a heading hierarchy."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(seed)  # noqa: S311 -- text, no secret
    for number in range(files):
        blocks = [f"# Handbook {number}"]
        for section in range(SECTIONS):
            blocks.append(f"## {number}.{section} {random.choice(_OBJECTS).capitalize()}")
            blocks += [_paragraph(random) for _ in range(PARAGRAPHS)]
        (folder / f"handbook-{number:04}.md").write_text("\n\n".join(blocks), encoding="utf-8")


def write_jsonl(path: Path, size_mib: float, seed: int = 1) -> None:
    """One JSON document a line, until the file has that size. A file that is there already is left as it is.

    It is a cheap generator for large files: a document is numbered paragraphs out of a pool. Their words are those that
    the tiny checkpoint's tokenizer knows whole, so that a token has as many bytes as one of a real vocabulary has.
    """
    size = int(size_mib * MIB)
    if path.exists() and path.stat().st_size >= size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    random = Random(seed)  # noqa: S311 -- text, no secret
    pool = [" ".join(_known_words(random) for _ in range(SENTENCES)) for _ in range(512)]
    with path.open("w", encoding="utf-8") as file:
        written = number = 0
        while written < size:
            text = "\n\n".join(f"{number}.{index} {random.choice(pool)}" for index in range(PARAGRAPHS_A_ROW))
            row = {"id": f"document-{number}", "title": f"Document {number}", "text": text}
            line = json.dumps(row, ensure_ascii=False) + "\n"
            file.write(line)
            written += len(line.encode())
            number += 1


def _paragraph(random: Random) -> str:
    return " ".join(_sentence(random) for _ in range(SENTENCES))


def _sentence(random: Random) -> str:
    number = random.randrange(10**7)
    words = (random.choice(part) for part in (_SUBJECTS, _ACTIONS, _OBJECTS, _LIMITS))
    return f"{' '.join(words)}, see record {number}. {random.choice(_CHINESE)}，编号{number}。"


def _known_words(random: Random) -> str:
    """Of tests.tiny_qwen3.CORPUS."""
    return f"{' '.join(random.choices(_KNOWN_WORDS, k=14))}. {random.choice(_KNOWN_CHINESE)}。"
