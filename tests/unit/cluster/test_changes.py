"""Which keys a deployment says it has changed."""

from __future__ import annotations

from cluster.running.changes import changed_keys
from serve_app.settings import AppSettings

TINY = {"path": "m", "name": "tiny"}


def settings(**values: object) -> AppSettings:
    return AppSettings.model_validate({"models": [TINY], **values})


def test_the_same_settings_differ_in_nothing() -> None:
    assert changed_keys(settings(), settings()) == ()


def test_limits_and_presets_are_named_as_the_configuration_spells_them() -> None:
    before = settings(live={"presets": {"faq": "Find it", "law": "Find the law"}, "limits": {"max_inputs": 4}})
    after = settings(live={"presets": {"faq": "Find this", "tax": "Find the tax"}, "limits": {"max_inputs": 5}})
    assert set(changed_keys(before, after)) == {"presets.faq", "presets.law", "presets.tax", "limits.max_inputs"}


def test_keys_of_a_model_are_named_with_its_place() -> None:
    after = settings(models=[{**TINY, "replicas": 2, "aliases": ["other"]}])
    assert set(changed_keys(settings(), after)) == {"models.0.replicas", "models.0.aliases.0"}


def test_no_value_is_told() -> None:
    told = changed_keys(settings(), settings(live={"presets": {"faq": "a secret instruction"}}))
    assert told == ("presets.faq",)
