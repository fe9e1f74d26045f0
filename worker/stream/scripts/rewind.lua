-- Put the group back, so that workers write a part of the streams again (`haraka-accounting replay --live`).
--
-- KEYS: epoch, owners, ledger, then one stream per type, then the lease of every consumer that the caller saw
-- ARGV: group, number of types, per type: type, last delivered id that the caller saw, id to go back to,
--       id of the first entry behind that, number of events from there to the last delivered id, and of pending
--       entries among them; then the consumers, in the order of their leases
-- Returns {'ALIVE', consumer…} (a worker is at work), {'CHANGED', what} (not what the caller counted), or
-- {'OK', events that are written again, pending entries that are taken off their lists}, the last two for each type.
--
-- Pending entries in the range are taken off their consumers' lists: they come with the others, and once. Left there,
-- their consumer would write them, and the group deliver them once more. Those that are deleted stay: nobody gets
-- them again, and whoever reads its list counts them as lost. Every owner is fenced, its directory stays stored: a
-- worker that was only slow must not commit what is delivered again.

-- @part checks

local group, types = ARGV[1], tonumber(ARGV[2])
local epoch_key, owners, ledger = KEYS[1], KEYS[2], KEYS[3]
local CHUNK = 1000

if not types then
  return redis.error_reply('WRONGVALUE the number of types must be a number')
end
check_type(epoch_key, 'string')
check_type(owners, 'hash')
check_type(ledger, 'hash')
local ranges = {}
for index = 1, types do
  local at = 3 + (index - 1) * 6
  local range = {key = KEYS[3 + index], type = ARGV[at], delivered = ARGV[at + 1], back_to = ARGV[at + 2],
    first = ARGV[at + 3], events = ARGV[at + 4], seen = tonumber(ARGV[at + 5]), pending = {}, pending_events = 0}
  check_type(range.key, 'stream')
  if not is_count(redis.call('HGET', ledger, range.type .. ':replayed') or '0') or not is_count(range.events) then
    return redis.error_reply('WRONGVALUE ' .. range.type .. ':replayed in ' .. ledger .. ' is not a count')
  end
  ranges[index] = range
end
local last = epoch_of(redis.call('GET', epoch_key) or '')
if not last then
  return redis.error_reply('WRONGVALUE ' .. epoch_key .. ' does not count on')
end

local alive, seen = {'ALIVE'}, {}
for index = 1, #KEYS - 3 - types do
  local consumer = ARGV[2 + types * 6 + index]
  seen[consumer] = true
  if redis.call('EXISTS', KEYS[3 + types + index]) == 1 then
    alive[#alive + 1] = consumer
  end
end
if #alive > 1 then
  return alive
end

local known = redis.call('HGETALL', owners)
for index = 1, #known, 2 do
  if known[index] ~= '-' and not seen[known[index]] then
    return {'CHANGED', 'consumer ' .. known[index]}
  end
end

-- What XINFO says of the group, as the id it has delivered last; nil where it is gone.
local function delivered(key)
  for _, facts in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local found = {}
    for each = 1, #facts, 2 do
      found[facts[each]] = facts[each + 1]
    end
    if found['name'] == group then
      return found['last-delivered-id']
    end
  end
end

local function events_of(fields)
  for each = 1, #fields, 2 do
    if fields[each] == 'n' then
      return is_count(fields[each + 1]) and tonumber(fields[each + 1]) or 0
    end
  end
  return 0
end

local function find_pending(range)
  local start = '(' .. range.back_to
  while true do
    local page = redis.call('XPENDING', range.key, group, start, range.delivered, CHUNK)
    for _, entry in ipairs(page) do
      local found = redis.call('XRANGE', range.key, entry[1], entry[1])[1]
      if found then
        range.pending[#range.pending + 1] = entry[1]
        range.pending_events = range.pending_events + events_of(found[2])
      end
    end
    if #page < CHUNK then
      return
    end
    start = '(' .. page[#page][1]
  end
end

for _, range in ipairs(ranges) do
  local first = redis.call('XRANGE', range.key, '(' .. range.back_to, range.delivered, 'COUNT', 1)[1]
  if delivered(range.key) ~= range.delivered or not first or first[1] ~= range.first then
    return {'CHANGED', 'stream ' .. range.key}
  end
  find_pending(range)
  if #range.pending ~= range.seen then -- a worker that was only slow has committed since, or an entry was deleted
    return {'CHANGED', 'stream ' .. range.key}
  end
end

local now = redis.call('TIME')
local epoch = math.max(last + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
for index = 1, #known, 2 do
  if known[index] ~= '-' then
    local fenced = string.format('%.0f', epoch)
    redis.call('SET', epoch_key, fenced)
    redis.call('HSET', owners, known[index], fenced .. ' ' .. (string.match(known[index + 1], '^%d+ (.*)$') or ''))
    epoch = epoch + 1
  end
end

local answer = {'OK'}
for _, range in ipairs(ranges) do
  redis.call('XGROUP', 'SETID', range.key, group, range.back_to)
  for start = 1, #range.pending, CHUNK do
    local stop = math.min(start + CHUNK - 1, #range.pending)
    redis.call('XACK', range.key, group, unpack(range.pending, start, stop))
  end
  local again = math.max(0, tonumber(range.events) - range.pending_events)
  redis.call('HINCRBY', ledger, range.type .. ':replayed', string.format('%.0f', again))
  answer[#answer + 1] = again
  answer[#answer + 1] = #range.pending
end
return answer
