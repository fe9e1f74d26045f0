-- Remove a dead letter for good, and count it.
--
-- KEYS: ledger, dead
-- ARGV: id of the letter, then the types that the ledger counts
-- Returns OK, or GONE where the letter is not there (any more): nothing is done.
--
-- Everything is checked before the first write, and that one is allowed at maxmemory: after it no error can come.

local id, ledger, dead = ARGV[1], KEYS[1], KEYS[2]

local function check_type(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= wanted then
    error({err = 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted})
  end
end

local function is_count(text)
  return #text <= 15 and string.find(text, '^%d+$') ~= nil
end

check_type(ledger, 'hash')
check_type(dead, 'stream')
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
for index = 2, #ARGV do
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
end
return 'OK'
