#!/usr/bin/env bash
# Make the environment of a peer: setup.sh infinity|ray_serve_llm
set -euo pipefail
cd "$(dirname "$0")/../.."
case ${1:-} in
infinity) ;;
ray_serve_llm)
  echo "Ray Serve LLM runs in the environment of this project: it needs no other."
  exit 0 ;;
*)
  echo "Usage: $0 infinity|ray_serve_llm" >&2
  exit 2 ;;
esac
venv=.cache/peers/$1
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
rm -f "$venv/.ready"
"$venv/bin/python" -m pip install --no-deps --disable-pip-version-check -q -r "benchmarks/peers/$1.txt"
touch "$venv/.ready"
echo "Ready: $venv"
