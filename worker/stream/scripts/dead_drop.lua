-- Remove a dead letter for good, and count it.
--
-- KEYS: ledger, dead, settled
-- ARGV: id of the letter, notes that `settled` may hold, then the types that the ledger counts
-- Returns OK, or GONE where the letter is not there (any more): nothing is done.
--
-- The note says which event of which entry is wanted in no file, for the audit. Where it cannot be written, such as to a
-- stream that takes no more ids, the letter goes all the same.
--
-- Everything is checked before the first write, and that one is allowed at maxmemory: after it no error can come.

-- @part checks

local id, notes, ledger, dead, settled = ARGV[1], ARGV[2], KEYS[1], KEYS[2], KEYS[3]

check_type(ledger, 'hash')
check_type(dead, 'stream')
check_type(settled, 'stream')
if not is_count(notes) then
  return redis.error_reply('WRONGVALUE the number of notes must be a number')
end
local found = redis.call('XRANGE', dead, id, id)[1]
if not found then
  return 'GONE'
end
local letter = {}
for index = 1, #found[2], 2 do
  letter[found[2][index]] = found[2][index + 1]
end

-- A letter of no known type is none of ours: no commit counted it, so its removal is not counted either.
local counter = nil
for index = 3, #ARGV do
  if letter['type'] == ARGV[index] then
    counter = ARGV[index] .. ':dropped'
  end
end
if counter and not is_count(redis.call('HGET', ledger, counter) or '0') then
  return redis.error_reply('WRONGVALUE ' .. counter .. ' in ' .. ledger .. ' is not a count')
end
local counted = letter['n'] and is_count(letter['n']) and letter['n'] or '1'

redis.call('XDEL', dead, id) -- allowed at maxmemory, and after it so is the rest
if counter then
  redis.call('HINCRBY', ledger, counter, counted)
  local entry, index = letter['id'] or '', letter['index'] or ''
  if #entry <= 41 and string.find(entry, '^%d+%-%d+$') and #index <= 9 and string.find(index, '^%-?%d+$') then
    redis.pcall('XADD', settled, 'MAXLEN', '~', notes, '*', 'type', letter['type'], 'id', entry, 'index', index,
    'n', counted)
  end
end
return 'OK'
