-- What others wrote for the certificates of hosts: at a host's own name, or at that of its `wildcard_parent`. Where there is
-- a record it is not looked for here. The keys of copies are not known before, which is no matter without a cluster.
--
-- KEYS  hosts (hashes)
-- ARGV  1 what the keys of certificates begin with, then the hosts' ids
-- Answer: {name, copy, name, copy, ...}

local found = {}
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    if answer.err:find('WRONGTYPE', 1, true) then
      return false
    end
    error(answer)
  end
  return answer
end
for i, key in ipairs(KEYS) do
  local name = ARGV[i + 1]
  local parent = try('HGET', key, 'wildcard_parent')
  if parent and parent ~= '' then
    name = parent
  end
  local copy = try('GET', name .. ':latest')
  if copy and redis.call('EXISTS', key) == 1 and redis.call('EXISTS', ARGV[1] .. name) == 0 then
    found[#found + 1] = name
    found[#found + 1] = copy
  end
end
return found
