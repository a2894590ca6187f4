"""The embed stage as a process: `python -m benchmarks.gpu.embed_process ADDRESS MODEL`.

A line of JSON on stdin, `{"lengths": […], "seconds": …}`, is answered with one: texts, tokens and the time they took.
"""

from __future__ import annotations

import json
import sys

from cluster.running.local import connect


def main(address: str, model: str) -> None:
    connect(address)
    from benchmarks.gpu.embed_stage import Stage  # only now: Ray reads how to join when it is first imported

    stage = Stage(model)
    print('{"ready": true}', flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(stage.run(wanted["lengths"], wanted["seconds"])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
