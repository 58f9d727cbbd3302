-- What changed after a revision.
--
-- KEYS  1 revision (hash)  2 change log (sorted set)
-- ARGV  1 epoch  2 n
-- Answer: {'keys', epoch, n, names} or {'reset', epoch, n}

local found = redis.call('HMGET', KEYS[1], 'epoch', 'n', 'log_from')
local epoch, n, from = found[1] or '0', found[2] or '0', tonumber(found[3] or '0')
local since = tonumber(ARGV[2])
if epoch ~= ARGV[1] or tonumber(n) < since or since < from then return {'reset', epoch, n} end
return {'keys', epoch, n, redis.call('ZRANGE', KEYS[2], '(' .. ARGV[2], '+inf', 'BYSCORE')}
