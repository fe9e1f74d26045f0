-- Put a dead letter back into its stream, as a new entry; the letter is gone then.
--
-- KEYS: ledger, dead, settled, the stream of the letter's type
-- ARGV: type, id of the letter, number of events that the new entry will be counted as, notes that `settled` may hold
-- Returns OK, or GONE where the letter is not there (any more): nothing is done, so a second run adds nothing.
--
-- The field `letter` comes first: the events are known by the ids that they had, and so must not be taken for those that
-- were published under them (design section 7).
--
-- The note says which event of which entry is wanted in no file, since it is in the new one; as in dead_drop.lua.
--
-- Everything is checked before the first write, and that one is allowed at maxmemory. XADD comes next: should the
-- stream take no more ids, the letter and every counter are as they were.

-- @part checks

local kind, id, events, notes = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ledger, dead, settled, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

check_type(ledger, 'hash')
check_type(dead, 'stream')
check_type(settled, 'stream')
check_type(stream, 'stream')
for _, counter in ipairs({':published', ':retried'}) do
  local value = redis.call('HGET', ledger, kind .. counter)
  if value and not is_count(value) then
    return redis.error_reply('WRONGVALUE ' .. kind .. counter .. ' in ' .. ledger .. ' is not a count')
  end
end

local found = redis.call('XRANGE', dead, id, id)[1]
if not found then
  return 'GONE'
end
local letter = {}
for index = 1, #found[2], 2 do
  letter[found[2][index]] = found[2][index + 1]
end
local position = tonumber(letter['index'] or '')
if letter['type'] ~= kind or not position or not letter['bytes'] or not is_count(events) or not is_count(notes) then
  return redis.error_reply('WRONGVALUE ' .. id .. ' in ' .. dead .. ' is not a dead letter of ' .. kind)
end
local counted = letter['n'] and is_count(letter['n']) and letter['n'] or '1'
local bytes = position >= 0 and '[' .. letter['bytes'] .. ']' or letter['bytes']
local at = tonumber(redis.call('HGET', ledger, kind .. ':published') or '0') + tonumber(events)

redis.call('HDEL', ledger, '') -- allowed at maxmemory, and after it so is the rest
redis.call('XADD', stream, '*', 'letter', id, 'events', bytes, 'n', events, 'at', string.format('%.0f', at))
redis.call('HINCRBY', ledger, kind .. ':published', events)
redis.call('HINCRBY', ledger, kind .. ':retried', counted)
redis.call('XDEL', dead, id)
local entry, index = letter['id'] or '', letter['index']
if #entry <= 41 and string.find(entry, '^%d+%-%d+$') and #index <= 9 and string.find(index, '^%-?%d+$') then
  redis.pcall('XADD', settled, 'MAXLEN', '~', notes, '*', 'type', kind, 'id', entry, 'index', index,
    'n', counted)
end
return 'OK'
