function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('JSON {"requests":%d,"rps":%.1f,"p50":%d,"p99":%d,"p999":%d,"errors":%d}\n',
    summary.requests, summary.requests / (summary.duration / 1e6),
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect + e.read + e.write + e.status + e.timeout))
end
