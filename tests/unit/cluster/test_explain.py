"""What pydantic finds wrong, in words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cluster.config import ClusterConfig
from cluster.explain import explain


def explained(content: object) -> str:
    with pytest.raises(ValidationError) as caught:
        ClusterConfig.model_validate(content)
    return explain(caught.value, ClusterConfig)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"http": {"port": 65_536}}, "`http.port`: Input should be less than or equal to 65535, not 65536."),
        ({"hardware": {"nodes": 0}}, "`hardware.nodes`: Input should be greater than or equal to 1, not 0."),
        ({"hardware": {"gpuu": 1}}, "there is no key `hardware.gpuu`; did you mean `gpu`?"),
        (
            {"models": [{"path": "a/b", "autoscaling": {"max_replica": 3}}]},
            "`models.0.autoscaling.max_replicas`: Field required.",
        ),
        (
            {"models": [{"path": "a/b", "autoscaling": {"max_replicas": 3, "min_replica": 3}}]},
            "there is no key `models.0.autoscaling.min_replica`; did you mean `min_replicas`?",
        ),
        (
            {"models": [{"path": "a/b", "autoscaling": {"max_replicas": 3, "min_replicas": 4}}]},
            "`models.0.autoscaling`: `min_replicas` (4) is above `max_replicas` (3).",
        ),
        (
            {"models": [{"path": "a/b", "engine": {"dtype": "bfloat"}}]},
            "`models.0.engine.dtype`: Input should be 'bfloat16' or 'float32'; the nearest is `bfloat16`.",
        ),
    ],
)
def test_key_value_rule_and_the_nearest_word_are_named(content: object, expected: str) -> None:
    assert explained(content) == expected


def test_texts_are_never_repeated_since_they_may_be_secret() -> None:
    assert "hunter2" not in explained({"limits": {"max_inputs": "hunter2"}})
    assert "hunter2" not in explained({"auth": ["hunter2"]})
