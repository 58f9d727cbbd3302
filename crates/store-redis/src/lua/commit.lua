-- One transaction: judge every expectation, then write records, indexes, log and revision, then announce the keys as JSON.
-- Nothing is written before everything is judged, since a script that fails half-way is not undone.
--
-- KEYS  1 revision (hash)  2 change log (sorted set)  3 expiries (sorted set)
--       then for each change: index (set), record (hash), copy (string; of no meaning when there is none)
--       last, when there are entries for it: history (hash of number to '<epoch>:<n> <text>', and of 'first' and 'last')
-- ARGV  1 epoch of a store that has none  2 limit of the log  3 hint channel  4 number of changes
--       then for each change: verb, name in the log, id, expectation, n, n * (field, value), ttl in ms, n, n * (field, value),
--       what to do with the copy (none, set, delete), its text
--       then the number of entries for the history; with any: how many are kept, how many may be dropped now, the entries
-- Verbs: put, delete; expire: note that a record's time is over; forget: drop an index entry without a record.
-- Answer: {'ok', epoch, n} or {'conflict', place} or {'type', key}

local at = 4
local function take()
  at = at + 1
  return ARGV[at]
end

local function take_pairs()
  local pairs = {}
  for i = 1, 2 * tonumber(take()) do pairs[i] = take() end
  return pairs
end

local function has_type(key, wanted)
  local found = redis.call('TYPE', key).ok
  return found == 'none' or found == wanted
end

local function has_content(record, pairs)
  if 2 * redis.call('HLEN', record) ~= #pairs then return false end
  for i = 1, #pairs, 2 do
    if redis.call('HGET', record, pairs[i]) ~= pairs[i + 1] then return false end
  end
  return true
end

local function holds(change)
  local expect = change.expect
  if expect == 'any' then return true end
  local exists = redis.call('EXISTS', change.record) == 1
  if expect == 'absent' then return not exists end
  return exists and (expect == 'exists' or has_content(change.record, change.content))
end

for i, wanted in ipairs({'hash', 'zset', 'zset'}) do
  if not has_type(KEYS[i], wanted) then return {'type', KEYS[i]} end
end

local changes = {}
for i = 1, tonumber(ARGV[4]) do
  local change = {
    verb = take(), name = take(), id = take(), expect = take(), content = take_pairs(),
    ttl = tonumber(take()), fields = take_pairs(), copy = take(), text = take(),
    index = KEYS[1 + 3 * i], record = KEYS[2 + 3 * i], copy_key = KEYS[3 + 3 * i],
  }
  if not has_type(change.index, 'set') then return {'type', change.index} end
  if change.verb ~= 'delete' and not has_type(change.record, 'hash') then return {'type', change.record} end
  if not holds(change) then return {'conflict', tostring(i)} end
  changes[i] = change
end

local entries, keep, trim = {}, 0, 0
local entry_count = tonumber(take())
if entry_count > 0 then
  if not has_type(KEYS[#KEYS], 'hash') then return {'type', KEYS[#KEYS]} end
  keep, trim = tonumber(take()), tonumber(take())
  for i = 1, entry_count do entries[i] = take() end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function write_copy(change, due)
  if change.copy == 'set' then
    redis.call('SET', change.copy_key, change.text)
    if due then redis.call('PEXPIREAT', change.copy_key, due) end
  elseif change.copy == 'delete' then
    redis.call('DEL', change.copy_key)
  end
end

local function put(change)
  local due = change.ttl >= 0 and string.format('%.0f', now + change.ttl)
  redis.call('DEL', change.record)
  for i = 1, #change.fields, 2 do
    redis.call('HSET', change.record, change.fields[i], change.fields[i + 1])
  end
  redis.call('SADD', change.index, change.id)
  if due then
    redis.call('PEXPIREAT', change.record, due)
    redis.call('ZADD', KEYS[3], due, change.name)
  else
    redis.call('ZREM', KEYS[3], change.name)
  end
  write_copy(change, due)
  return true
end

local function delete(change)
  redis.call('DEL', change.record)
  redis.call('SREM', change.index, change.id)
  redis.call('ZREM', KEYS[3], change.name)
  write_copy(change)
  return true
end

-- Written again since it was seen to be over: leave it.
local function is_gone(change)
  return redis.call('EXISTS', change.record) == 0
end

local function expire(change)
  local due = tonumber(redis.call('ZSCORE', KEYS[3], change.name) or 'inf')
  return due <= now and is_gone(change) and delete(change)
end

local function forget(change)
  if is_gone(change) then redis.call('SREM', change.index, change.id) end
  return false
end

-- Numbers have no gaps, so what is too much is known without counting.
local function append(revision)
  local history = KEYS[#KEYS]
  local ends = redis.call('HMGET', history, 'first', 'last')
  local first, last = tonumber(ends[1] or '') or 1, tonumber(ends[2] or '') or 0
  for _, text in ipairs(entries) do
    last = last + 1
    redis.call('HSET', history, string.format('%.0f', last), revision .. ' ' .. text)
  end
  while last - first + 1 > keep and trim > 0 do
    redis.call('HDEL', history, string.format('%.0f', first))
    first, trim = first + 1, trim - 1
  end
  redis.call('HSET', history, 'first', string.format('%.0f', first), 'last', string.format('%.0f', last))
end

local verbs = {put = put, delete = delete, expire = expire, forget = forget}
local changed = {}
for _, change in ipairs(changes) do
  if verbs[change.verb](change) then changed[#changed + 1] = change.name end
end

if #changed > 0 then
  redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
  local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
  for _, name in ipairs(changed) do redis.call('ZADD', KEYS[2], n, name) end
  local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[2])
  if over > 0 then
    local dropped = redis.call('ZPOPMIN', KEYS[2], over)
    redis.call('HSET', KEYS[1], 'log_from', dropped[#dropped])
  end
  if #entries > 0 then append(redis.call('HGET', KEYS[1], 'epoch') .. ':' .. string.format('%.0f', n)) end
  redis.call('PUBLISH', ARGV[3], cjson.encode(changed))
end

local revision = redis.call('HMGET', KEYS[1], 'epoch', 'n')
return {'ok', revision[1] or '0', revision[2] or '0'}
