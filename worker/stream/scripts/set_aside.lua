-- Make an entry a dead letter without its bytes leaving the server: it has killed whoever read it (design section 5).
--
-- KEYS: owners, ledger, dead, stream
-- ARGV: consumer, directory id, epoch, group, type, entry id, error
-- Returns 'OK' or 'FENCED'. An entry that was deleted meanwhile is counted as lost.

local consumer, directory, epoch, group, kind, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local owners, ledger, dead, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function check_type(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= wanted then
    error({err = 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted})
  end
end

check_type(owners, 'hash')
check_type(ledger, 'hash')
check_type(dead, 'stream')
check_type(stream, 'stream')
for _, counter in ipairs({':dead', ':lost'}) do
  local value = redis.call('HGET', ledger, kind .. counter)
  if value and not tonumber(value) then
    return redis.error_reply('WRONGVALUE ' .. kind .. counter .. ' in ' .. ledger .. ' is not a number')
  end
end
if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory then
  return 'FENCED'
end

local found = redis.call('XRANGE', stream, id, id)[1]
if redis.call('XACK', stream, group, id) == 0 then -- allowed at maxmemory, and after it so is the rest
  return 'OK' -- somebody else has it
end
if not found then
  redis.call('HINCRBY', ledger, kind .. ':lost', 1)
  return 'OK'
end
local bytes = ''
for index = 1, #found[2], 2 do
  if found[2][index] == 'events' then
    bytes = found[2][index + 1]
  end
end
redis.call('XADD', dead, '*', 'type', kind, 'id', id, 'index', -1, 'bytes', bytes, 'error', ARGV[7])
redis.call('HINCRBY', ledger, kind .. ':dead', 1)
return 'OK'
