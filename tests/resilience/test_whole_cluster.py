"""The whole cluster is killed under a job. The last file of this folder: other tests use the same cluster."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import psutil

from tests.clusters import RunningCluster
from tests.resilience.place import (
    LEASE_S,
    SETTINGS,
    Place,
    expected_texts,
    has_run,
    started,
    wait_until,
)

GIVES_UP_SOON = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}  # Ray looks for its head for a minute otherwise


def test_a_cluster_that_is_killed_under_the_job_ends_it_and_the_next_one_completes_it(
    place: Place, pair: RunningCluster
) -> None:
    config = place.folder.parent / "cluster.yaml"
    chunks = SETTINGS.chunks.model_dump()
    config.write_text(json.dumps({"ingest": {"lease_s": LEASE_S, "chunks": chunks}}), encoding="utf-8")
    command = ["ingest", str(place.folder), "--sink", place.sink, "--model", pair.model, "--config", str(config)]
    with started([*command, "--address", pair.address], GIVES_UP_SOON) as job:
        wait_until(lambda: job.poll() is not None or has_run(place))
        for process in [psutil.Process(pair.process.pid), *psutil.Process(pair.process.pid).children(True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, problem = job.communicate(timeout=180)
    time.sleep(LEASE_S)
    report = place.run()

    assert job.returncode == 1, problem.decode()
    assert "Traceback" not in problem.decode()
    assert report.exit_code == 0
    assert place.texts() == expected_texts()
