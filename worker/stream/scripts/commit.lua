-- The commit point: acknowledge a batch and record how long the files are, in one step (design section 4).
--
-- KEYS: owners, records, lease, ledger, dead, watch, then one stream per type
-- ARGV: consumer, directory id, epoch, restore (0 or 1), batch, record (JSON), lease in ms, group,
--       per stream: type, events, rows, dead, ids of lost entries, foreign, ids of all entries (separated by blanks)
--       number of dead letters, each: type, entry id, index, bytes, error, events that it stands for
-- Returns OK, FENCED, ALREADY or BEHIND; only OK has changed anything.
--
-- Everything is checked before the first write, and that one is allowed at maxmemory: after it no error can come.

-- @part checks
-- @part count_lost

local consumer, directory, epoch, restore = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local batch, record, lease_ms, group = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), ARGV[8]
local owners, records, lease, ledger, dead, watch = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local CHUNK = 4000 -- unpack fails near 8 000

check_type(owners, 'hash')
check_type(records, 'hash')
check_type(lease, 'string')
check_type(ledger, 'hash')
check_type(dead, 'stream')
check_type(watch, 'hash')
for index = 7, #KEYS do
  check_type(KEYS[index], 'stream')
end
if not batch or not lease_ms then
  return redis.error_reply('WRONGVALUE batch and lease must be numbers')
end

if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory then
  return 'FENCED'
end
local field = consumer .. ' ' .. directory
local stored = redis.call('HGET', records, field)
local stored_batch = stored and cjson.decode(stored)['batch'] or 0
if stored and stored_batch >= batch then
  return 'ALREADY'
end
if restore ~= '1' and stored_batch < batch - 1 then
  return 'BEHIND'
end

-- HINCRBY must not fail once something is written: look at every counter first.
local position = 9
for index = 7, #KEYS do
  local name = ARGV[position]
  local counters = redis.call('HMGET', ledger, name .. ':events', name .. ':rows', name .. ':rows:' .. directory,
    name .. ':dead', name .. ':lost', name .. ':foreign')
  for each = 1, 6 do
    if counters[each] and not is_count(counters[each]) then
      return redis.error_reply('WRONGVALUE a counter of ' .. name .. ' in ' .. ledger .. ' is not a count')
    end
  end
  position = position + 7
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest

local function count(name, amount)
  if amount ~= '0' then
    redis.call('HINCRBY', ledger, name, amount)
  end
end

local function ids_in(text)
  local ids = {}
  for id in string.gmatch(text, '%S+') do
    ids[#ids + 1] = id
  end
  return ids
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
local letters = 9 + 7 * (#KEYS - 6)
for letter = 0, tonumber(ARGV[letters]) - 1 do
  local at = letters + 1 + letter * 6
  redis.call('XADD', dead, '*', 'type', ARGV[at], 'id', ARGV[at + 1], 'index', ARGV[at + 2],
    'bytes', ARGV[at + 3], 'error', ARGV[at + 4], 'n', ARGV[at + 5])
end

position = 9
for index = 7, #KEYS do
  local name = ARGV[position]
  acknowledge(KEYS[index], ARGV[position + 6])
  count(name .. ':events', ARGV[position + 1])
  count(name .. ':rows', ARGV[position + 2])
  count(name .. ':rows:' .. directory, ARGV[position + 2])
  count(name .. ':dead', ARGV[position + 3])
  count_lost(ledger, watch, name, KEYS[index], ids_in(ARGV[position + 4]))
  count(name .. ':foreign', ARGV[position + 5])
  position = position + 7
end

redis.call('HSET', records, field, record)
redis.call('SET', lease, epoch, 'PX', lease_ms)
return 'OK'
