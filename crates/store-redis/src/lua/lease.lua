-- A record that vanishes unless written again, outside the revision.
--
-- KEYS  1 index (set)  2 record (hash)
-- ARGV  1 id  2 ttl in ms  3... field, value; without fields: remove it

redis.call('DEL', KEYS[2])
if #ARGV == 2 then
  redis.call('SREM', KEYS[1], ARGV[1])
  return 0
end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[1], ARGV[1])
return 1
