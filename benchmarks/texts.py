"""The texts of every load. None is ever sent twice, so that no cache on either side can answer for the model."""

from __future__ import annotations

import json

# Each has one %d, near its start: texts that share a first block could share a prefix cache.
SHORT_TEXTS = (
    "Region %d: which contracts describe late delivery?",
    "Employee %d asks how many days of annual leave are left.",
    "Case %d: 采购合同应当由哪个部门审核？",
    "Supplier %d delivers within thirty days.",
)
SERIALS_A_LOAD = 1_000_000
_LONG_TEXT = (
    "%d. The employee handbook describes annual leave, travel expenses and information security. "
    "Suppliers deliver within thirty days; late delivery costs one percent of the contract value a week. "
    "年假未休完的部分可以结转到下一年度第一季度，逾期作废。采购合同应当由法务部门审核。 "
    "Travel expenses are paid within ten days when the form names the project, the route and the hotel; "
    "information security asks for a locked screen and a second factor at every login."
)


def short(serial: int) -> str:
    """One short text; the Lua script of wrk makes the same one from the same serial number."""
    return SHORT_TEXTS[serial % len(SHORT_TEXTS)] % serial


def batch(texts: int, serial: int) -> list[str]:
    """The inputs of one request: a single short text, or several of 100 to 150 tokens."""
    return [short(serial)] if texts == 1 else [_LONG_TEXT % (serial + index) for index in range(texts)]


def body(model: str, texts: int, serial: int, priority: str = "") -> bytes:
    """The request that carries `batch(texts, serial)`; without a priority it names none."""
    inputs = batch(texts, serial)
    request = {"model": model, "input": inputs[0] if texts == 1 else inputs, "encoding_format": "base64"}
    if priority:
        request["priority"] = priority
    return json.dumps(request, ensure_ascii=False).encode()
