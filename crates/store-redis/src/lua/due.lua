-- The names of records whose time is over, oldest first.
--
-- KEYS  1 expiries (sorted set)
-- ARGV  1 how many at most

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
