"""The labels that Word counts by itself (`第三条`, `2.1`, `a)`): they are not part of a paragraph's text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from docx.document import Document as WordDocument
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn
from docx.oxml.parser import parse_xml
from docx.oxml.xmlchemy import BaseOxmlElement

_DIGITS = "零一二三四五六七八九"
_CHINESE = ("chineseCounting", "chineseCountingThousand", "japaneseCounting", "taiwaneseCountingThousand")
_MAX_COUNTED = 9999  # beyond, numerals other than figures grow without end
BULLET = "- "
_TIGHT = ("、", "）", "．", "：", "。")  # Chinese marks bring their own space
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)


@dataclass(frozen=True, slots=True)
class _Level:
    format: str
    template: str  # "%1.%2": each figure names the level whose number stands there
    start: int


@dataclass(slots=True)
class Numbering:
    """Counts through one document; ask for labels in document order, once a paragraph."""

    lists: dict[str, tuple[str, dict[int, _Level]]] = field(default_factory=dict)  # w:num → what counts, its levels
    counters: defaultdict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def of(cls, word: WordDocument) -> Numbering:
        try:
            part = word.part.part_related_by(RELATIONSHIP_TYPE.NUMBERING)
        except KeyError:
            return cls()
        root = parse_xml(part.blob)
        levels = {item.get(qn("w:abstractNumId")): _levels(item) for item in root.iterchildren(qn("w:abstractNum"))}
        lists = {}
        for item in root.iterchildren(qn("w:num")):
            definition = value_at(item, "w:abstractNumId")
            restarts = item.find(qn("w:lvlOverride")) is not None
            number_id = str(item.get(qn("w:numId")))
            lists[number_id] = (number_id if restarts else f"abstract {definition}", levels.get(definition, {}))
        return cls(lists)

    def label(self, sources: Sequence[BaseOxmlElement]) -> str:
        """The label of a paragraph, with the space after it; empty if it has none.

        `sources` are the paragraph and its styles, nearest first; the first with a number decides.
        """
        properties = (source.find(f"{qn('w:pPr')}/{qn('w:numPr')}") for source in sources)
        numbered = next((found for found in properties if found is not None), None)
        if numbered is None:
            return ""
        counter, levels = self.lists.get(value_at(numbered, "w:numId"), ("", {}))
        index = int(value_at(numbered, "w:ilvl") or 0)
        if index not in levels:
            return ""
        if levels[index].format == "bullet":
            return BULLET
        text = _filled(levels, index, self._count(counter, levels, index))
        return text if text.endswith(_TIGHT) or not text else f"{text} "

    def _count(self, counter: str, levels: dict[int, _Level], index: int) -> dict[int, int]:
        counts = self.counters[counter]
        counts[index] = counts.get(index, levels[index].start - 1) + 1
        for deeper in [level for level in counts if level > index]:
            del counts[deeper]
        return counts


def _levels(definition: BaseOxmlElement) -> dict[int, _Level]:
    return {
        int(item.get(qn("w:ilvl"))): _Level(
            value_at(item, "w:numFmt") or "decimal", value_at(item, "w:lvlText"), int(value_at(item, "w:start") or 0)
        )
        for item in definition.iterchildren(qn("w:lvl"))
    }


def _filled(levels: dict[int, _Level], index: int, counts: dict[int, int]) -> str:
    def number(match: re.Match[str]) -> str:
        level = int(match[1]) - 1
        if level not in levels:
            return ""
        return _formatted(counts.get(level, levels[level].start), levels[level].format)

    return re.sub(r"%([1-9])", number, levels[index].template).strip()


def _formatted(number: int, style: str) -> str:
    if not 0 < number <= _MAX_COUNTED:
        return str(number)
    if style in _CHINESE:
        return chinese_numeral(number)
    if style in ("upperLetter", "lowerLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter.upper() if style == "upperLetter" else letter
    if style in ("upperRoman", "lowerRoman"):
        return roman_numeral(number).upper() if style == "upperRoman" else roman_numeral(number)
    return "" if style == "none" else str(number)


def chinese_numeral(number: int) -> str:
    """1 to 9,999 as a reader counts: 十二, 二十, 一百零三."""
    text = ""
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit:
            text += _DIGITS[digit] + name
        elif text and not text.endswith("零") and number % unit:
            text += "零"
    return text[1:] if 10 <= number < 20 else text


def roman_numeral(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text


def value_at(element: BaseOxmlElement, path: str) -> str:
    """The attribute w:val of the element at `path`; empty if there is none."""
    found = element.find("/".join(qn(name) for name in path.split("/")))
    return "" if found is None else str(found.get(qn("w:val"), ""))
