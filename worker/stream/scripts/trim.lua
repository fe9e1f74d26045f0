-- Trim the streams of a partition: what is older than the retention, and sooner while they hold too much memory.
--
-- KEYS: ledger, watch, settled, then one stream per type
-- ARGV: group of the workers, bytes that the streams may have together (0: any number), entries of a stream that one
--       call may trim, two fields of `watch` each with what it is to hold (empty: what it holds), then for each stream
--       its type and an id below which everything is older than the retention (0-0: nothing)
-- Returns {entries trimmed, blocked}, the latter as JSON: objects of type, group, why (age or memory), since (the id of
-- the first entry held back), events held back. Call it again until it has trimmed nothing: then `blocked` is meant.
--
-- No entry goes that some group has not acknowledged, whosever group it is. The workers' own group is missing where
-- somebody removed it: it will be made again, so everything stays. Whole nodes of a stream go first (~, which LIMIT can
-- bound); what is left of a node is less than one, and goes by age only: no memory would come free.
--
-- `settled` has notes on dead letters that left. One that is older than the first entry of every stream is on an entry
-- that is gone: but not while ids are ahead of the clock, and an entry has a higher one than the later note on it.
--
-- Types and counters are checked before the first write, and HDEL and XTRIM are allowed at maxmemory.

-- @part checks

local group, most, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local ledger, watch, settled = KEYS[1], KEYS[2], KEYS[3]
local FIELDS, BY_TYPE = {4, 6}, 8 -- where they begin in ARGV
local TOLERATED = 60000 -- ms by which an id can be ahead of the clock: that of a server before a failover

-- Ids are compared as text: their halves may have more digits than a double holds.
local function is_before(one, other)
  local a, b = {string.match(one, '^(%d+)-(%d+)$')}, {string.match(other, '^(%d+)-(%d+)$')}
  for half = 1, 2 do
    if a[half] ~= b[half] then
      if #a[half] ~= #b[half] then
        return #a[half] < #b[half]
      end
      return a[half] < b[half]
    end
  end
  return false
end

local function after(id)
  local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
  if #sequence > 15 then
    return id -- one entry more stays
  end
  return milliseconds .. '-' .. string.format('%.0f', tonumber(sequence) + 1)
end

-- Where each group of a stream stands: the first id that it still needs.
local function floors(key)
  local found = {}
  for _, reply in ipairs(redis.call('EXISTS', key) == 1 and redis.call('XINFO', 'GROUPS', key) or {}) do
    local facts = {}
    for index = 1, #reply, 2 do
      facts[reply[index]] = reply[index + 1]
    end
    local floor = after(facts['last-delivered-id'])
    local pending = redis.call('XPENDING', key, facts['name'])
    if pending[1] > 0 and is_before(pending[2], floor) then
      floor = pending[2]
    end
    found[facts['name']] = floor
  end
  found[group] = found[group] or '0-0'
  return found
end

local function first(key, from, to)
  return redis.call('XRANGE', key, from, to, 'COUNT', 1)[1]
end

local function number(entry, name)
  for index = 1, #entry[2] - 1, 2 do
    local value = entry[2][index + 1]
    if entry[2][index] == name and #value <= 15 and string.find(value, '^%d+$') then
      return tonumber(value)
    end
  end
  return 0
end

check_type(ledger, 'hash')
check_type(watch, 'hash')
check_type(settled, 'stream')
local streams = {}
for index = 4, #KEYS do
  check_type(KEYS[index], 'stream')
  local kind, cutoff = ARGV[BY_TYPE + 2 * (index - 4)], ARGV[BY_TYPE + 2 * (index - 4) + 1]
  local counter = redis.call('HGET', ledger, kind .. ':trimmed')
  if counter and not is_count(counter) then
    return redis.error_reply('WRONGVALUE ' .. kind .. ':trimmed in ' .. ledger .. ' is not a count')
  end
  if not (cutoff and string.find(cutoff, '^%d+%-%d+$')) then
    return redis.error_reply('WRONGVALUE the id of ' .. tostring(kind) .. ' must be one')
  end
  local stream = {key = KEYS[index], kind = kind, floors = floors(KEYS[index]), cutoff = cutoff}
  for _, floor in pairs(stream.floors) do
    if not stream.floor or is_before(floor, stream.floor) then
      stream.floor = floor
    end
  end
  streams[#streams + 1] = stream
end
if not (most and limit) then
  return redis.error_reply('WRONGVALUE bytes and entries must be numbers')
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(time[2] / 1000)

redis.call('HDEL', watch, '') -- allowed at maxmemory, and after it so is the rest
for _, index in ipairs(FIELDS) do
  if ARGV[index + 1] ~= '' then
    redis.call('HSET', watch, ARGV[index], ARGV[index + 1])
  end
end
local trimmed, blocked = 0, {}

local function trimmed_below(stream, id, count)
  if count > 0 then
    local left = first(stream.key, '-', '+')
    redis.call('HINCRBY', ledger, stream.kind .. ':trimmed', count)
    redis.call('HSET', watch, stream.kind .. ':trimmed_below', left and left[1] or id)
    trimmed = trimmed + count
  end
  return count
end

-- What is due goes whole nodes first, as far as one call may; then what is left of a node.
local function trim_below(key, id)
  local count = redis.call('XTRIM', key, 'MINID', '~', id, 'LIMIT', limit)
  return count > 0 and count or redis.call('XTRIM', key, 'MINID', id)
end

local function hold_back(stream, name, why, to)
  local held = first(stream.key, stream.floors[name], to)
  if held then
    local last = redis.call('XREVRANGE', stream.key, to, held[1], 'COUNT', 1)[1]
    local events = number(last, 'at') - number(held, 'at') + number(held, 'n')
    blocked[#blocked + 1] = {
      type = stream.kind, group = name, why = why, since = held[1], events = string.format('%.0f', math.max(0, events)),
    }
  end
end

-- By age
for _, stream in ipairs(streams) do
  local below = is_before(stream.floor, stream.cutoff) and stream.floor or stream.cutoff
  trimmed_below(stream, below, trim_below(stream.key, below))
  for name, floor in pairs(stream.floors) do
    if is_before(floor, stream.cutoff) then
      hold_back(stream, name, 'age', '(' .. stream.cutoff)
    end
  end
end

-- By memory: a part of the stream that begins first, no more than is needed
local used, by_age = 0, {}
for _, stream in ipairs(most > 0 and streams or {}) do
  local begin = first(stream.key, '-', '+')
  if begin then
    stream.begin, stream.bytes = begin[1], redis.call('MEMORY', 'USAGE', stream.key) or 0
    used = used + stream.bytes
    by_age[#by_age + 1] = stream
  end
end
table.sort(by_age, function(one, other) return is_before(one.begin, other.begin) end)
if most > 0 and used > most then
  local count = 0
  for _, stream in ipairs(by_age) do
    if count == 0 and is_before(stream.begin, stream.floor) then
      local share = math.ceil((used - most) / (stream.bytes / redis.call('XLEN', stream.key)))
      local entries = math.min(limit, math.max(100, share)) -- a node holds so many, by default
      count = trimmed_below(stream, stream.floor,
        redis.call('XTRIM', stream.key, 'MINID', '~', stream.floor, 'LIMIT', entries))
    end
  end
  for _, stream in ipairs(count == 0 and by_age or {}) do
    for name, floor in pairs(stream.floors) do
      if floor == stream.floor then
        hold_back(stream, name, 'memory', '+')
      end
    end
  end
end

local oldest, ahead = string.format('%.0f-0', now), string.format('%.0f-0', now + TOLERATED)
for _, stream in ipairs(streams) do
  local begin, last = first(stream.key, '-', '+'), redis.call('XREVRANGE', stream.key, '+', '-', 'COUNT', 1)[1]
  if last and is_before(ahead, last[1]) then
    oldest = '0-0'
  elseif begin and is_before(begin[1], oldest) then
    oldest = begin[1]
  end
end
trim_below(settled, oldest)

local found = #blocked > 0 and cjson.encode(blocked) or '[]'
redis.call('HSET', watch, 'blocked', found)
return {trimmed, found}
