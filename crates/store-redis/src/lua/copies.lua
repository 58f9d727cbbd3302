-- What others wrote for certificates.
--
-- KEYS  for each: record (hash), copy (string)
-- ARGV  1 'all', or 'alone': only where there is no record
-- Answer: for each the copy, or nil

local alone = ARGV[1] == 'alone'
local copies = {}
for i = 1, #KEYS, 2 do
  local wanted = not (alone and redis.call('EXISTS', KEYS[i]) == 1)
  wanted = wanted and redis.call('TYPE', KEYS[i + 1]).ok == 'string'
  copies[#copies + 1] = wanted and redis.call('GET', KEYS[i + 1])
end
return copies
