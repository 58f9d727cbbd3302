-- A lock with a fencing token.
--
-- KEYS  1 lock (string '<fence>:<holder>')  2 fence counter
-- ARGV  1 verb  2 ttl in ms  3 holder (acquire) or the whole value (renew, release)
-- Answer: the fence of an acquired lock or 0; 1 for a lock that was still held, else 0

local verb, ttl = ARGV[1], ARGV[2]
local value = redis.call('GET', KEYS[1])
if verb == 'acquire' then
  if value then return 0 end
  local fence = redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], fence .. ':' .. ARGV[3], 'PX', ttl)
  return fence
end
if value ~= ARGV[3] then return 0 end
if verb == 'renew' then redis.call('PEXPIRE', KEYS[1], ttl) else redis.call('DEL', KEYS[1]) end
return 1
