from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from ingest.dry_run import Estimate
from ingest.embedding.rate import rate_in

METRICS = """# TYPE embed_engine_tokens_total counter
embed_engine_tokens_total{replica="a",class="bulk",model="m"} 900.0
embed_engine_tokens_total{replica="a",class="interactive",model="m"} 100.0
embed_engine_tokens_total{replica="b",class="bulk",model="m"} 400.0
embed_engine_tokens_total{replica="b",class="bulk",model="other"} 1e9
# TYPE embed_engine_step_seconds histogram
embed_engine_step_seconds_bucket{replica="a",le="+Inf",model="m"} 9.0
embed_engine_step_seconds_sum{replica="a",model="m"} 2.0
embed_engine_step_seconds_sum{replica="b",model="m"} 4.0
"""


def test_the_rate_is_the_sum_of_what_each_replica_computes_while_it_computes() -> None:
    assert rate_in(METRICS, "m") == pytest.approx(1000 / 2 + 400 / 4)
    assert rate_in(METRICS, "unknown") == 0


def test_the_time_is_the_tokens_over_the_measured_rate() -> None:
    assert Estimate(1, 8, 200.0, tokens=1000).seconds == 5.0


def test_without_a_measured_rate_no_time_is_made_up() -> None:
    out = StringIO()
    Estimate(1, 8, None, tokens=1000).show(Console(file=out, width=120))
    assert "unknown" in out.getvalue()


def test_the_index_is_as_large_as_its_vectors_and_links() -> None:
    estimate = Estimate(1, 1024, None, chunks=1000)
    assert estimate.index_bytes("float32") == 1000 * (4096 + 128)
    assert estimate.index_bytes("binary") == 1000 * (128 + 128)
