-- Look whether entries of a stream are gone that no consumer ever had, and count their events as lost.
--
-- KEYS: ledger, watch, stream
-- ARGV: group, type, ms between the two looks that must agree, bytes of pending entries that one look may read
-- Returns 'SOUND' (nothing is missing), 'UNKNOWN' or 'BUSY' (not to be told now), 'MISSING' (for the first time), or
-- 'LOST' (counted, and noted in `watch`).
--
-- Each event that was published before the first unread entry was committed, became a dead letter, was lost, or is in
-- a pending entry. What that leaves over is gone. The first unread entry tells itself how many came before it, by its
-- running number; where nothing is unread, all did. A pending entry without its data tells nothing: a worker counts it.
--
-- Everything is checked before the first write, and that one is allowed at maxmemory.

-- @part checks

local group, kind, settle, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ledger, watch, stream = KEYS[1], KEYS[2], KEYS[3]

-- Few enough digits for a double to hold it exactly.
local function count_of(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end

local function counter(name)
  local value = redis.call('HGET', ledger, kind .. ':' .. name)
  if value and not is_count(value) then
    error('WRONGVALUE ' .. kind .. ':' .. name .. ' in ' .. ledger .. ' is not a count', 0)
  end
  return count_of(value or '0')
end

local function number(entry, name)
  for index = 1, #entry[2] - 1, 2 do
    if entry[2][index] == name then
      return count_of(entry[2][index + 1])
    end
  end
end

local function facts_of(reply)
  local facts = {}
  for index = 1, #reply, 2 do
    facts[reply[index]] = reply[index + 1]
  end
  return facts
end

check_type(ledger, 'hash')
check_type(watch, 'hash')
check_type(stream, 'stream')
local published = counter('published')
local accounted = counter('events') + counter('dead') + counter('lost') - counter('foreign') - counter('replayed')
if not settle or not most then
  return redis.error_reply('WRONGVALUE time and bytes must be numbers')
end
local delivered = nil -- through this id
for _, reply in ipairs(redis.call('EXISTS', stream) == 1 and redis.call('XINFO', 'GROUPS', stream) or {}) do
  local facts = facts_of(reply)
  delivered = facts['name'] == group and facts['last-delivered-id'] or delivered
end
if not delivered then
  return 'UNKNOWN' -- a worker makes the group
end

local before, behind = nil, nil -- events before the first unread entry that tells, and its id
local unread = redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', 10)
for _, entry in ipairs(unread) do
  local at, n = number(entry, 'at'), number(entry, 'n')
  if at and n and n <= at and at <= published then
    before, behind = at - n, entry[1]
    break
  end
end
if #unread == 0 then
  before = published
elseif not before then
  return 'UNKNOWN' -- only what somebody added by hand
end

local summary = redis.call('XPENDING', stream, group)
local missing = before - accounted
if missing > summary[1] then -- each pending entry holds an event at least: else there is nothing to look for
  local start, read = '-', 0
  while summary[1] > 0 do
    local page = redis.call('XPENDING', stream, group, start, '+', 500)
    if #page == 0 then
      break
    end
    for _, pending in ipairs(page) do
      local entry = redis.call('XRANGE', stream, pending[1], pending[1])[1]
      if not entry then
        return 'UNKNOWN'
      end
      missing = missing - (number(entry, 'n') or 0)
      for _, text in ipairs(entry[2]) do
        read = read + #text
      end
      if read > most then
        return 'BUSY'
      end
    end
    start = '(' .. page[#page][1]
  end
else
  missing = 0
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local field, sound = kind .. ':missing', kind .. ':sound'
local seen, since = string.match(redis.call('HGET', watch, field) or '', '^(%d+):(%d+)$')
redis.call('HDEL', watch, missing > 0 and '' or field) -- allowed at maxmemory, and after it so is the rest

if missing <= 0 then
  redis.call('HSET', watch, sound, summary[2] or delivered) -- from here on something could be missing later
  return 'SOUND'
end
missing = math.min(missing, count_of(seen) or missing)
since = count_of(since) or now
if now - since < settle or not seen then
  redis.call('HSET', watch, field, string.format('%.0f:%.0f', missing, since))
  return 'MISSING'
end
local from = redis.call('HGET', watch, sound) or '0-0'
local to = behind or facts_of(redis.call('XINFO', 'STREAM', stream))['last-generated-id']
redis.call('HDEL', watch, field)
redis.call('HINCRBY', ledger, kind .. ':lost', string.format('%.0f', missing))
redis.call('HSET', watch, string.format('loss:%s:%.0f', kind, now), cjson.encode({
  type = kind, stream = stream, from = from, to = to,
  events = string.format('%.0f', missing), noticed_ms = string.format('%.0f', now),
}))
return 'LOST'
