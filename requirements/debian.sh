#!/usr/bin/env bash
# Install what requirements/debian.txt names and this machine lacks, where it can be done: debian.sh
set -euo pipefail
cd "$(dirname "$0")"
mapfile -t wanted < <(grep -v '^#' debian.txt)
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed, so that their tests are skipped: ${missing[*]}"
  exit 0
fi
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # a run level in which no service is started
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 ||
  echo "They could not be installed, so that their tests are skipped."
