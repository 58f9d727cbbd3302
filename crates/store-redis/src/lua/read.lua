-- Several records at once: one answer costs the client far less than one per record.
--
-- KEYS  records (hashes)
-- Answer: for each {field, value, ...}, or nil for a key of another type

local records = {}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('HGETALL', key)
  if not found.err then
    records[i] = found
  elseif found.err:find('WRONGTYPE', 1, true) then
    records[i] = false
  else
    return found
  end
end
return records
