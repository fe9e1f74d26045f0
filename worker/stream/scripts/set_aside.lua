-- Make an entry a dead letter without its bytes leaving the server: it has killed whoever read it (design section 5).
--
-- KEYS: owners, ledger, dead, watch, stream
-- ARGV: consumer, directory id, epoch, group, type, entry id, error
-- Returns 'OK' or 'FENCED'. An entry that was deleted meanwhile is counted as lost.

-- @part checks
-- @part count_lost

local consumer, directory, epoch, group, kind, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local owners, ledger, dead, watch, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

check_type(owners, 'hash')
check_type(ledger, 'hash')
check_type(dead, 'stream')
check_type(watch, 'hash')
check_type(stream, 'stream')
for _, counter in ipairs({':dead', ':lost', ':foreign'}) do
  local value = redis.call('HGET', ledger, kind .. counter)
  if value and not is_count(value) then
    return redis.error_reply('WRONGVALUE ' .. kind .. counter .. ' in ' .. ledger .. ' is not a count')
  end
end
if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory then
  return 'FENCED'
end

local found = redis.call('XRANGE', stream, id, id)[1]
if #redis.call('XPENDING', stream, group, id, id, 1) == 0 then
  return 'OK' -- somebody else had it
end
redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
if not found then
  redis.call('XACK', stream, group, id)
  count_lost(ledger, watch, kind, stream, {id})
  return 'OK'
end
local fields = {}
for index = #found[2] - 1, 1, -2 do -- the first of a name counts
  fields[found[2][index]] = found[2][index + 1]
end

-- As worker/numbers.py has it: a number that is too long, or none, is none.
local function number(name, digits)
  local value = fields[name]
  return value and #value <= digits and string.find(value, '^%d+$') and tonumber(value) or nil
end

local n, at = number('n', 9), number('at', 15)
n = n ~= 0 and n or nil
local events = n or 1
redis.call('XADD', dead, '*', 'type', kind, 'id', id, 'index', -1, 'bytes', fields['events'] or '', 'error', ARGV[7],
  'n', events) -- first: where the stream takes no more ids, nothing is acknowledged
redis.call('XACK', stream, group, id)
redis.call('HINCRBY', ledger, kind .. ':dead', events)
if not n or not at then
  redis.call('HINCRBY', ledger, kind .. ':foreign', events)
end
return 'OK'
