#!/usr/bin/env bash
# Make a virtual environment from pinned lists: install.sh VENV LIST…
set -euo pipefail
venv=$1; shift
python=${PYTHON:-python3}
fits='import sys; sys.exit(not (3, 11, 5) <= sys.version_info < (3, 14))'
"$python" -c "$fits" || {
  echo "This needs Python 3.11.5 to 3.13; $python is $("$python" -V 2>&1). Try: make setup PYTHON=python3.12" >&2; exit 2; }
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -c "$fits" || {
  echo "$venv was made with $("$venv/bin/python" -V 2>&1), which does not fit any more: make clean, then try again." >&2; exit 2; }
mkdir -p .cache
log=.cache/setup.log
: >"$log"
step=0
for list in "$@"; do
  step=$((step + 1))
  total=$(grep -c '==' "$list")
  printf '[%d/%d] %s (%d packages)\n' "$step" "$#" "$list" "$total"
  # --no-deps: the lists are complete, and vLLM's metadata asks for builds that do not fit (see requirements/cpu.txt)
  if ! "$venv/bin/python" -m pip install --no-deps --disable-pip-version-check -r "$list" 2>>"$log" | tee -a "$log" |
    awk -v total="$total" '
      /^(Collecting|Requirement already)/ { n++; if (n % 10 == 0 || n == total) { printf "      %d of %d\n", n, total; fflush() } }
      /^Installing collected/ { print "      installing"; fflush() }'; then
    tail -n 5 "$log" >&2
    if grep -q 'torch==.*+cpu' "$log"; then
      echo "torch's CPU build was not found: point PIP_EXTRA_INDEX_URL at PyTorch's CPU wheel index and try again." >&2
    fi
    echo "Set-up failed; the whole log is in $log." >&2
    exit 1
  fi
done
if ! "$venv/bin/python" -m pip install --no-deps --no-build-isolation --disable-pip-version-check -q -e . >>"$log" 2>&1; then
  tail -n 5 "$log" >&2
  echo "Installing this project failed; the whole log is in $log." >&2
  exit 1
fi
echo "Ready: $venv; \`source $venv/bin/activate\` puts embedctl on the PATH"
