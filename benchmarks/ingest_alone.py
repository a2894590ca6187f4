"""The stages of an ingestion alone, as a process: `python -m benchmarks.ingest_alone ADDRESS MODEL CORPUS FOLDER`.

Each line on stdin is one round, answered with a line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cluster.running.local import connect


def main(address: str, model: str, corpus: str, folder: str) -> None:
    connect(address)
    from benchmarks.ingest_stages import Stages  # only now: Ray reads how to join when it is first imported

    stages = Stages(model, Path(corpus), Path(folder))
    print('{"ready": true}', flush=True)
    for _ in sys.stdin:
        print(json.dumps(stages.round()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
