#!/usr/bin/env bash
# The endpoint with nothing but curl: curl.sh [ENDPOINT] [MODEL]. A key, if one is needed, is in EMBED_API_KEY.
set -euo pipefail
endpoint=${1:-http://127.0.0.1:8000}
key=${EMBED_API_KEY:-EMPTY}

call() { curl -sS --max-time 60 -H "Authorization: Bearer $key" -H "Content-Type: application/json" "$@"; echo; }

echo "# models"
models=$(call "$endpoint/v1/models")
echo "$models"
model=${2:-$(sed -E 's/.*"data":\[\{"id":"([^"]*)".*/\1/' <<<"$models")}

echo "# two texts"
call "$endpoint/v1/embeddings" -d '{"model": "'"$model"'", "input": ["late delivery", "逾期交货"]}' | cut -c1-200

echo "# a query, base64"
call "$endpoint/v1/embeddings" \
  -d '{"model": "'"$model"'", "input": "late delivery", "input_type": "query", "encoding_format": "base64"}' | cut -c1-200

echo "# an error"
call -w '\nstatus %{http_code}' "$endpoint/v1/embeddings" -d '{"model": "'"$model"'", "input": []}'
