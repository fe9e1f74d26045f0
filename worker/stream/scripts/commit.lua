-- The commit point: acknowledge a batch and record how long the files are, in one step (design section 4).
--
-- KEYS: owners, records, lease, ledger, dead, watch, history, written, then one stream per type
-- ARGV: consumer, directory id, epoch, restore (0 or 1), batch, record (JSON), lease in ms, group, id of the history, what
--       the lease says of its holder,
--       per stream: type, events, rows, dead, ids of lost entries, foreign, ids of all entries (separated by blanks),
--         entries that the consumer has in hand, keys of those with rows (separated by blanks; empty where nobody forgot)
--       number of dead letters, each: type, entry id, index, bytes, error, events that it stands for
-- Returns {'OK', id of the history}, or why nothing has changed:
--   {'FENCED'}: the name is another's, or the history is another one;
--   {'ALREADY'}: a copy of this commit ran; {'BEHIND'}: the server has forgotten the commit before it;
--   {'TAKEN'}: some of the entries are not the consumer's any more: whoever has them writes their rows;
--   {'WRITTEN', keys by stream}: these entries have rows, and came again because the server forgot.
--
-- Everything is checked before the first write, and that one is allowed at maxmemory: after it no error can come.

-- @part checks
-- @part count_lost
-- @part history
-- @part stored_record

local consumer, directory, epoch, restore = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local batch, record, lease_ms, group = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), ARGV[8]
local owners, records, lease, ledger, dead, watch = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local history, written = KEYS[7], KEYS[8]
local FIRST_STREAM, FIRST_FACT, FACTS = 9, 11, 9
local CHUNK = 4000 -- unpack fails near 8 000

check_type(owners, 'hash')
check_type(records, 'hash')
check_type(lease, 'string')
check_type(ledger, 'hash')
check_type(dead, 'stream')
check_type(watch, 'hash')
check_type(history, 'hash')
check_type(written, 'hash')
for index = FIRST_STREAM, #KEYS do
  check_type(KEYS[index], 'stream')
end
if not batch or not lease_ms then
  return redis.error_reply('WRONGVALUE batch and lease must be numbers')
end

if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory or redis.call('HGET', history, 'id') ~= ARGV[9] then
  return {'FENCED'}
end
local field = consumer .. ' ' .. directory
local stored = redis.call('HGET', records, field)
local stored_batch = stored and tonumber(string.match(stored, '^{"batch":(%d+)')) or 0
if stored and not string.find(stored, '^{"batch":%d') then
  local known = record_of(stored)
  if not known then
    return redis.error_reply('WRONGVALUE the record of ' .. field .. ' in ' .. records .. ' is no record')
  end
  stored_batch = known['batch'] or 0
end
if stored and stored_batch >= batch then
  return {'ALREADY'}
end
if restore ~= '1' and stored_batch < batch - 1 then
  return {'BEHIND'}
end

local function words_in(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do
    words[#words + 1] = word
  end
  return words
end

local function pending_of(key)
  for _, each in ipairs(redis.call('XPENDING', key, group)[4] or {}) do
    if each[1] == consumer then
      return tonumber(each[2])
    end
  end
  return 0
end

-- Whether each of these ids is pending for the consumer. Their number tells it, but for what a late request brings: that
-- can come as long after the registration as a lease lasts.
local function are_mine(key, text, in_hand)
  local mine = pending_of(key)
  if mine < in_hand then
    return false
  end
  local time = redis.call('TIME')
  local age_us = tonumber(time[1]) * 1000000 + tonumber(time[2]) - (tonumber(epoch) or 0)
  if mine == in_hand and age_us > lease_ms * 1000 then
    return true
  end
  local ids, is_mine = words_in(text), {}
  for _, each in ipairs(redis.call('XPENDING', key, group, ids[1], ids[#ids], mine, consumer)) do
    is_mine[each[1]] = true
  end
  for _, id in ipairs(ids) do
    if not is_mine[id] then
      return false
    end
  end
  return true
end

-- Which of these keys have rows already.
local function written_of(name, keys)
  local found = {}
  for start = 1, #keys, CHUNK do
    local chunk = {}
    for index = start, math.min(start + CHUNK - 1, #keys) do
      chunk[#chunk + 1] = name .. ' ' .. keys[index]
    end
    for index, by in ipairs(redis.call('HMGET', written, unpack(chunk))) do
      if by then
        found[#found + 1] = keys[start + index - 1]
      end
    end
  end
  return table.concat(found, ' ')
end

-- HINCRBY must not fail once something is written: look at every counter first.
local compares = is_compared(history)
local again, some_again, position = {'WRITTEN'}, false, FIRST_FACT
for index = FIRST_STREAM, #KEYS do
  local name = ARGV[position]
  local names = {name .. ':events', name .. ':rows', name .. ':rows:' .. directory, name .. ':dead', name .. ':lost',
    name .. ':foreign'}
  for each, value in ipairs(redis.call('HMGET', ledger, unpack(names))) do
    if value and not is_count(value) then
      return redis.error_reply('WRONGVALUE ' .. names[each] .. ' in ' .. ledger .. ' is not a count')
    end
  end
  if ARGV[position + 6] ~= '' and not are_mine(KEYS[index], ARGV[position + 6], tonumber(ARGV[position + 7]) or 0) then
    return {'TAKEN'}
  end
  local found = compares and written_of(name, words_in(ARGV[position + 8])) or ''
  again[#again + 1], some_again = found, some_again or found ~= ''
  position = position + FACTS
end
if some_again then
  return again
end

-- What a record that is put back counts, and the server has forgotten.
local function forgotten(name)
  local was = stored and record_of(stored)
  return string.format('%.0f', math.max(0, total_in(cjson.decode(record), name) - (was and total_in(was, name) or 0)))
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest

local function count(name, amount)
  if amount ~= '0' then
    redis.call('HINCRBY', ledger, name, amount)
  end
end

local function acknowledge(key, ids)
  local chunk = {}
  for id in string.gmatch(ids, '%S+') do
    chunk[#chunk + 1] = id
    if #chunk == CHUNK then
      redis.call('XACK', key, group, unpack(chunk))
      chunk = {}
    end
  end
  if #chunk > 0 then
    redis.call('XACK', key, group, unpack(chunk))
  end
end

-- The letters come first: where their stream takes no more ids, nothing is acknowledged.
local letters = FIRST_FACT + FACTS * (#KEYS - FIRST_STREAM + 1)
for letter = 0, tonumber(ARGV[letters]) - 1 do
  local at = letters + 1 + letter * 6
  redis.call('XADD', dead, '*', 'type', ARGV[at], 'id', ARGV[at + 1], 'index', ARGV[at + 2],
    'bytes', ARGV[at + 3], 'error', ARGV[at + 4], 'n', ARGV[at + 5])
end

position = FIRST_FACT
for index = FIRST_STREAM, #KEYS do
  local name = ARGV[position]
  local rows = restore == '1' and forgotten(name) or ARGV[position + 2]
  acknowledge(KEYS[index], ARGV[position + 6])
  count(name .. ':events', ARGV[position + 1])
  count(name .. ':rows', rows)
  count(name .. ':rows:' .. directory, rows)
  count(name .. ':dead', ARGV[position + 3])
  count_lost(ledger, watch, name, KEYS[index], words_in(ARGV[position + 4]))
  count(name .. ':foreign', ARGV[position + 5])
  if compares then
    for _, key in ipairs(words_in(ARGV[position + 8])) do
      redis.call('HSET', written, name .. ' ' .. key, directory)
    end
  end
  position = position + FACTS
end

redis.call('HSET', records, field, record)
redis.call('SET', lease, ARGV[10], 'PX', lease_ms)
if restore == '1' and not compares then -- the first who says that the server forgot
  begin_history(history)
  compare(history, written)
end
return {'OK', redis.call('HGET', history, 'id')}
