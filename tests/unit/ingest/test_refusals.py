"""What a job says of an answer that refuses it."""

from __future__ import annotations

import httpx
import pytest

from ingest.embedding.refusals import refusal
from serve_app.core.errors import SetupError


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_where_keys_are_taken_from(status: int) -> None:
    error = refusal(httpx.Response(status, json={"error": {"message": "Not this key."}}))
    assert isinstance(error, SetupError)
    assert "Not this key." in error.message
    assert "EMBED_API_KEY" in error.message
    assert "--key-env" in error.message


def test_another_refusal_does_not_speak_of_keys() -> None:
    assert "key" not in refusal(httpx.Response(404, json={"error": {"message": "No such model."}})).message
