"""Ray Serve LLM as its documentation deploys an embedding model: `python -m benchmarks.peers.ray_serve_llm DIR PORT`.

What differs: no GPU is asked for, and dtype, context and step sizes are those of the other contestants.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.llm import LLMConfig, build_openai_app

from benchmarks.launch import RAY_SERVE_LLM_READY

LOGICAL_CPUS = 4  # its placement group takes two and its ingress one: more than a small machine admits to
ENGINE_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB


def main(model: str, port: str) -> None:
    config = LLMConfig(
        model_loading_config={"model_id": Path(model).name, "model_source": model},
        accelerator_config={"kind": "cpu"},
        runtime_env={"env_vars": ENGINE_ENVIRONMENT},
        engine_kwargs={
            "runner": "pooling",
            "convert": "embed",
            "dtype": "bfloat16",
            "max_model_len": 2048,
            "max_num_batched_tokens": 4096,
            "max_num_seqs": 256,
        },
    )
    ray.init(address="local", num_cpus=LOGICAL_CPUS, include_dashboard=False, log_to_driver=False)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=int(port)))
    serve.run(build_openai_app({"llm_configs": [config]}))
    print(RAY_SERVE_LLM_READY, flush=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
