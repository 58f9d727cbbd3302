-- Entries of the history, newest first.
--
-- KEYS  1 history (hash of number to '<epoch>:<n> <text>', and of 'first' and 'last')
-- ARGV  1 only numbers below this; empty: all  2 how many at most
-- Answer: {number, value, ...}

local ends = redis.call('HMGET', KEYS[1], 'first', 'last')
local first, last = tonumber(ends[1] or '') or 1, tonumber(ends[2] or '') or 0
local at = math.min(last, (tonumber(ARGV[1]) or math.huge) - 1)
local found = {}
while at >= first and #found < 2 * tonumber(ARGV[2]) do
  local number = string.format('%.0f', at)
  local value = redis.call('HGET', KEYS[1], number)
  if value then
    found[#found + 1] = number
    found[#found + 1] = value
  end
  at = at - 1
end
return found
