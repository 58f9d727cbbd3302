-- What an older data plane does for each request: the host's record from Redis by its exact name, else the answer of the
-- lookup socket, else 406; then the next of the record's targets in turn.

local target = {}
local turn = 0

local function bulk(socket)
  local length = tonumber(assert(socket:receive("*l")):match("^%$(%d+)$"))
  local text = assert(socket:receive(length))
  assert(socket:receive(2))
  return text
end

-- A hash, empty when there is none.
local function hash(port, key)
  local socket = ngx.socket.tcp()
  socket:settimeout(1000)
  assert(socket:connect("127.0.0.1", port))
  assert(socket:send("*2\r\n$7\r\nHGETALL\r\n$" .. #key .. "\r\n" .. key .. "\r\n"))
  local count = tonumber(assert(socket:receive("*l")):match("^%*(%d+)$"))
  local record = {}
  for _ = 1, count, 2 do
    local name = bulk(socket)
    record[name] = bulk(socket)
  end
  socket:setkeepalive(10000, 100)
  return record
end

-- The record of whatever host answers the name; any trouble is as none.
local function ask(path, host)
  local socket = ngx.socket.tcp()
  socket:settimeout(100)
  if not socket:connect(path) then return {} end
  if not socket:send('{"domain":"' .. host .. '"}') then return {} end
  local line = socket:receive("*l") or ""
  socket:close()
  return {
    ip = line:match('"ip":"([^"]*)"'),
    targetPort = line:match('"targetPort":(%d+)'),
    targets = line:match('"targets":(%b[])'),
  }
end

function target.choose(port, path)
  local host = ngx.var.host
  local known, record = pcall(hash, port, "proxy_Host_" .. host)
  if not known then
    ngx.log(ngx.ERR, record)
    return ngx.exit(598)
  end
  if not record.ip then record = ask(path, host) end
  if not record.ip then return ngx.exit(406) end
  local pool = {record.ip .. ":" .. record.targetPort}
  for other in (record.targets or ""):gmatch('"([^"]+)"') do pool[#pool + 1] = other end
  turn = turn + 1
  ngx.var.target = pool[turn % #pool + 1]
end

return target
