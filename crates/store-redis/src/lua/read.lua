-- Several records at once, packed: one value costs the client, and Redis too, far less than one per field.
--
-- KEYS  records (hashes)
-- Answer: in MessagePack, for each [field, value, ...], or false for a key of another type

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
return cmsgpack.pack(records)
