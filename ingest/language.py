"""What language a document is written in. The model is part of py3langid's package: nothing is downloaded."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped]

_WINDOWS = 4
_WINDOW = 500  # characters; more tell nothing new
_ENOUGH = 20  # letters; below that, a guess is as often wrong as right
_LETTERS_OF_AN_IDEOGRAPH = 3
_MIN_CONFIDENCE = 0.2
_NO_LANGUAGE = "zxx"  # the model's class for numbers, markup and the like

_LETTER = re.compile(r"[^\W\d_]")
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_ASCII_WORD = re.compile(r"[!-~]+")
_NOT_PROSE = frozenset("_/\\@")  # links, paths, addresses and names in code look English in every language


def detect(text: str) -> str:
    """ISO 639-1 of the language most of the text is in; empty for too little text, or text in none.

    Chinese is `zh` in either script. Of a long text, some passages spread over it are looked at.
    """
    sample = _ASCII_WORD.sub(_prose, _sample(text))
    ideographs = len(_IDEOGRAPH.findall(sample))
    letters = len(_LETTER.findall(sample)) + ideographs * (_LETTERS_OF_AN_IDEOGRAPH - 1)
    if letters < _ENOUGH:
        return ""
    language, confidence = _identifier().classify(sample)
    return "" if language == _NO_LANGUAGE or confidence < _MIN_CONFIDENCE else str(language)


def _prose(word: re.Match[str]) -> str:
    return " " if _NOT_PROSE.intersection(word[0]) else word[0]


def _sample(text: str) -> str:
    if len(text) <= _WINDOWS * _WINDOW:
        return text
    step = (len(text) - _WINDOW) // (_WINDOWS - 1)
    return "\n".join(text[start : start + _WINDOW] for start in range(0, _WINDOWS * step, step))


@cache
def _identifier() -> LanguageIdentifier:
    """Loading it takes most of a second, once a process; it is never changed afterwards."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Small neighbours of large languages, such as Wu beside Chinese, have no code of two letters.
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label == _NO_LANGUAGE])
    return identifier
