"""Several processes' metrics as one text to scrape. It knows Prometheus' text format and no particular metric."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROCESS_LABEL = "replica"
_COMMENT = re.compile(r"^# (.*)$\n?", re.MULTILINE)


@dataclass(slots=True)
class _Family:
    headers: dict[str, str] = field(default_factory=dict)  # HELP and TYPE
    samples: list[str] = field(default_factory=list)


def merge(parts: Mapping[str, bytes]) -> bytes:
    """One exposition from those of several processes, whose keys become the label `replica` of their samples.

    A part is UTF-8 text as prometheus_client writes it: samples follow the header of their family, and none has a label
    `replica` yet. Of a family's headers the first one found stands: releases may differ in it during an upgrade.
    """
    families: dict[str, _Family] = {}
    for key, text in parts.items():
        for name, word, header, samples in _sections(text.decode()):
            family = families.setdefault(name, _Family())
            if word:
                family.headers.setdefault(word, header)
            if samples:
                family.samples.append(_labelled(samples, key))
    lines = (line for family in families.values() for line in (*family.headers.values(), *family.samples))
    return "".join(lines).encode()


def _sections(text: str) -> Iterator[tuple[str, str, str, str]]:
    """(family, HELP or TYPE, that line, the sample lines after it); the last two may be empty."""
    first, *rest = _COMMENT.split(text)
    yield "", "", "", first
    name = ""
    for comment, samples in zip(rest[::2], rest[1::2], strict=True):
        word, _, described = comment.partition(" ")
        if word in {"HELP", "TYPE"}:
            name = described.split(" ", 1)[0]
            yield name, word, f"# {comment}\n", samples
        else:
            yield name, "", "", samples


def _labelled(samples: str, key: str) -> str:
    value = key.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    label = f'{PROCESS_LABEL}="{value}"'
    return "".join(_with_label(line, label) for line in samples.split("\n") if line)


def _with_label(line: str, label: str) -> str:
    name, brace, rest = line.partition("{")
    if brace:
        return f"{name}{{{label},{rest}\n"  # the format allows a comma after the last label
    name, rest = line.split(maxsplit=1)
    return f"{name}{{{label}}} {rest}\n"
