"""What happens to a value: which policy its entity has, and how a masked value is written."""

from __future__ import annotations

from difflib import get_close_matches

from ingest.mask.recognizers import RULES
from ingest.mask.recognizers.rule import Rule, canonical_letters_and_digits
from ingest.mask.width import unify
from ingest.settings import MaskPolicy, MaskSettings
from serve_app.core.errors import SetupError


def effective_policies(settings: MaskSettings) -> dict[str, MaskPolicy]:
    """Policies other than `keep`, by entity. Raises SetupError for an entity that does not exist."""
    for entity in settings.entities:
        if entity not in RULES:
            nearest = get_close_matches(entity.upper(), RULES, n=1, cutoff=0)[0]
            every = ", ".join(sorted(RULES))
            raise SetupError(f"mask.entities has no entity {entity}; did you mean {nearest}? There are: {every}")
    chosen = {entity: settings.entities.get(entity, settings.default) for entity in RULES}
    return {entity: policy for entity, policy in chosen.items() if policy != "keep"}


def starred(rule: Rule, value: str) -> str:
    """Stars for letters and digits, but for the rule's first and last ones and a prefix that is not of the value."""
    common = unify(value).text
    if rule.mask is not None:
        return rule.mask(common)
    places = [place for place, letter in enumerate(value) if letter.isalnum()]
    spelled, canonical = canonical_letters_and_digits(common), rule.canonical(common)
    if spelled.endswith(canonical):
        places = places[-len(canonical) :]  # +86 may be read
    is_long = len(places) > rule.first + rule.last
    hidden = set(places[rule.first : len(places) - rule.last] if is_long else places)
    return "".join("*" if place in hidden else letter for place, letter in enumerate(value))


def dropped(_: str) -> str:
    return ""
