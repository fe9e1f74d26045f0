-- What an audit compares, of one partition and of one moment (docs/audit.md). Reads only.
--
-- KEYS: ledger, records, dead, settled, directories, watch, then one stream per type
-- ARGV: group, bytes of entries that may be read
-- Returns {ledger, records, last dead letter ('': none), last note in `settled` (likewise), directories, who came too
--          late (fields of `watch`), then for each stream
--          {last delivered id, pending, delivered, first unread, last unread, events counted one by one (false: not
--          needed, or too many), last entry (false where it, or the one behind it, was deleted)}}
--         pending is a list of {id, n}, with n = -1 where the entry is gone, -2 where it was not read, since the bytes
--         were used up; the others are entries as {id, n, at}, or false. Entries that were added by hand count as
--         foreign once they are worked on: 0 as n, and passed over.
--
-- Bounded: an entry can only be read whole, and everybody waits meanwhile. So what is read is counted in bytes, and goes
-- beyond them by a page at most; pending ids are as many as the workers' batches in hand hold.

local group, left = ARGV[1], tonumber(ARGV[2])
local PAGE, PASSED_OVER, COUNTED = 100, 100, 100 -- entries; pages of those without a number, of unread ones counted
local PENDING = 500 -- ids of pending entries at once

-- As worker/numbers.py has it: a number that is too long, or none, is none.
local function number(fields, name, digits)
  for index = 1, #fields - 1, 2 do
    local value = fields[index + 1]
    if fields[index] == name then
      return #value <= digits and string.find(value, '^%d+$') and tonumber(value) or nil
    end
  end
end

-- An entry as {id, n, at}, or nil where it was added by hand.
local function numbered(entry)
  local n, at = number(entry[2], 'n', 9), number(entry[2], 'at', 15)
  return n and n > 0 and at and {entry[1], n, at} or nil
end

local function read(command, ...)
  local page = redis.call(command, ...)
  for _, entry in ipairs(page) do
    for _, text in ipairs(entry[2]) do
      left = left - #text
    end
  end
  return page
end

-- The last entry of a stream, where it is the last one that there was.
local function newest(key)
  local found = redis.call('EXISTS', key) == 1 and read('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  local given_out = found and redis.call('XINFO', 'STREAM', key)
  for index = 1, given_out and #given_out - 1 or 0, 2 do
    if given_out[index] == 'last-generated-id' and given_out[index + 1] == found[1] then
      return numbered(found) or false
    end
  end
  return false
end

-- The first entry that has a number, looking from one end of a range to the other.
local function nearest(command, key, from, to)
  local count = 1
  for _ = 1, PASSED_OVER do
    local page = read(command, key, from, to, 'COUNT', count)
    for _, entry in ipairs(page) do
      local found = numbered(entry)
      if found then
        return found
      end
    end
    if #page < count or left < 0 then
      return false
    end
    from, count = '(' .. page[#page][1], PAGE
  end
  return false
end

local function last_delivered(key)
  if redis.call('EXISTS', key) == 0 then
    return '0-0', nil, false
  end
  for _, facts in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local found = {}
    for index = 1, #facts, 2 do
      found[facts[index]] = facts[index + 1]
    end
    if found['name'] == group then
      return found['last-delivered-id'], found['lag'], true
    end
  end
  return '0-0', nil, false
end

local function pending_entries(key)
  local found, start = {}, '-'
  while true do
    local page = redis.call('XPENDING', key, group, start, '+', PENDING)
    for _, each in ipairs(page) do
      local events = -2
      if left >= 0 then
        local entry = read('XRANGE', key, each[1], each[1])[1]
        local facts = entry and numbered(entry)
        events = facts and facts[2] or entry and 0 or -1
      end
      found[#found + 1] = {each[1], events}
    end
    if #page < PENDING then
      return found
    end
    start = '(' .. page[#page][1]
  end
end

-- The events of all unread entries, one by one; false where they are too many.
local function count_unread(key, after)
  local events, start = 0, '(' .. after
  for _ = 1, COUNTED do
    local page = read('XRANGE', key, start, '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      local found = numbered(entry)
      events = events + (found and found[2] or 0)
    end
    if #page < PAGE then
      return events
    elseif left < 0 then
      return false
    end
    start = '(' .. page[#page][1]
  end
  return false
end

-- The last delivered entry, where it is still there; before it only such as have no number are passed over.
local function delivered_entry(key, id)
  local found = read('XRANGE', key, id, id)[1]
  return found and (numbered(found) or nearest('XREVRANGE', key, '(' .. id, '-')) or false
end

local reply = {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
for index = 3, 4 do
  local last = redis.call('XREVRANGE', KEYS[index], '+', '-', 'COUNT', 1)[1]
  reply[index] = last and last[1] or ''
end
reply[5], reply[6] = redis.call('HGETALL', KEYS[5]), {}
local watched = redis.call('HGETALL', KEYS[6])
for index = 1, #watched, 2 do
  if string.sub(watched[index], 1, 5) == 'late:' then
    reply[6][#reply[6] + 1] = watched[index]
  end
end
for index = 7, #KEYS do
  local key = KEYS[index]
  local id, lag, is_read = last_delivered(key)
  local first = nearest('XRANGE', key, '(' .. id, '+')
  reply[index] = {
    id,
    is_read,
    delivered_entry(key, id),
    first,
    first and nearest('XREVRANGE', key, '+', '(' .. id),
    -- no lag: an older server, or entries were deleted
    first and not lag and count_unread(key, id),
    newest(key),
  }
end
for index = 7, #KEYS do -- last, since what is left over of these can be read later
  reply[index][2] = reply[index][2] and pending_entries(KEYS[index]) or {}
end
return reply
