"""Requests whose every field holds a text that nobody may find again: not in an answer, a log or a metric."""

from __future__ import annotations

import httpx

from tests.canary import files_with, ray_logs
from tests.clusters import RunningCluster

CANARY = "Kanarienvogel-5c1e"
WRONG_KEY = f"ek_{CANARY}"
BODIES: tuple[dict[str, object], ...] = (
    {"input": CANARY},
    {"input": [CANARY, ""]},
    {"input": f"{CANARY} " * 3000},
    {"input": CANARY, "instruction": CANARY},
    {"input": CANARY, "model": CANARY},
    {"input": CANARY, CANARY: 1},
    {"input": CANARY, "dimensions": CANARY},
    {"input": CANARY, "instruction": f"@{CANARY}"},
)


def send_canaries(http: httpx.Client, model: str, key: str) -> list[httpx.Response]:
    """The answers to good and bad requests of that text, sent with that key."""
    headers = bearer(key)
    answers = [http.post("/v1/embeddings", json={"model": model, **body}, headers=headers) for body in BODIES]
    answers.append(http.post("/v1/embeddings", content=f'{{"input": "{CANARY}'.encode(), headers=headers))
    return answers


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def assert_hidden(secret: str, cluster: RunningCluster, answers: list[httpx.Response]) -> None:
    """It is in none of the answers, and in nothing that the cluster's processes have written."""
    shown = [answer.text.replace(f'"param":"{CANARY}"', "") for answer in answers]  # a field's own name is named
    assert not any(secret in text for text in shown)
    logs = ray_logs(cluster)
    assert {"raylet.out", "serve"} <= {path.name for path in logs.iterdir()}
    assert all(path.stat().st_size for path in logs.glob("serve/replica_*")), "Serve keeps lines of log back"
    found = files_with(secret, [cluster.log, logs])
    assert not found, f"it is in {found}"
