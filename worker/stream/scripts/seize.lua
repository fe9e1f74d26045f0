-- Seize a file that a dead worker left in this directory: fence its consumer, return its record (design section 4).
--
-- KEYS: epoch, owners, records
-- ARGV: directory id, type, file name, me, my epoch
-- Returns {consumer, record}, {} where no record of the directory names the file, or {'FENCED'} (I am not who I was).
-- What is no record names no file: the caller looks for such before it takes a file for one that nobody knows.
--
-- Called with the file's lock held, or where the file is sealed and nobody has the lock on its consumer's name. So its
-- writer is dead; what it sent may still run, and is refused by the new epoch.

-- @part checks

local directory, kind, name, me, mine = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local epoch_key, owners, records = KEYS[1], KEYS[2], KEYS[3]

check_type(epoch_key, 'string')
check_type(owners, 'hash')
check_type(records, 'hash')
local last = epoch_of(redis.call('GET', epoch_key) or '0')
if not last then
  return redis.error_reply('WRONGVALUE ' .. epoch_key .. ' does not count on')
end

if redis.call('HGET', owners, me) ~= mine .. ' ' .. directory then
  return {'FENCED'}
end

local function names_file(record)
  local open = record['files'] and record['files'][kind]
  if open and open['name'] == name then
    return true
  end
  for _, closing in ipairs(record['closing'] or {}) do
    if closing['event_type'] == kind and closing['file']['name'] == name then
      return true
    end
  end
  return false
end

local function is_named_in(stored)
  local readable, found = pcall(function() return names_file(cjson.decode(stored)) end)
  return readable and found
end

local all = redis.call('HGETALL', records)
for index = 1, #all, 2 do
  local consumer, of = string.match(all[index], '^(%S+) (%S+)$')
  if consumer and of == directory and is_named_in(all[index + 1]) then
    local now = redis.call('TIME')
    local epoch = string.format('%.0f', math.max(last + 1, tonumber(now[1]) * 1000000 + tonumber(now[2])))
    local stored = redis.call('HGET', owners, consumer)
    redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
    redis.call('SET', epoch_key, epoch)
    redis.call('HSET', owners, consumer, epoch .. ' ' .. (stored and string.match(stored, '^%d+ (.*)$') or ''))
    return {consumer, all[index + 1]}
  end
end
return {}
