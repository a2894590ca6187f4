-- One short text a request, each different. Arguments after `--`: served model, first serial number, text formats.
local model, serial
local formats = {}
local headers = { ["Content-Type"] = "application/json" }

function init(args)
  model, serial = args[1], tonumber(args[2])
  for index = 3, #args do
    formats[index - 3] = args[index]
  end
  formats.count = #args - 2
end

function request()
  local text = string.format(formats[serial % formats.count], serial)
  serial = serial + 1
  local body = string.format('{"model":"%s","input":"%s","encoding_format":"base64"}', model, text)
  return wrk.format("POST", "/v1/embeddings", headers, body)
end

-- wrk's own report rounds; this line does not. `status` counts answers of 400 and above, times are microseconds.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.status, e.connect, e.read, e.write, e.timeout))
end
