"""All entities that can be masked."""

from __future__ import annotations

from ingest.mask.recognizers import china, contact, money, payment
from ingest.mask.recognizers.rule import Rule

RULES: dict[str, Rule] = {rule.entity: rule for rule in (*china.RULES, *contact.RULES, *money.RULES, *payment.RULES)}
