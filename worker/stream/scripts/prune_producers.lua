-- Forget producers that have been silent for long, and their notes: one page of the scan.
--
-- KEYS: producers, nodes
-- ARGV: which of the two to scan (1 or 2), cursor, how many fields a page should have, silence in ms
-- Returns {next cursor ('0': done), producers or notes removed}
--
-- 1: producers whose last batch is older than that by the server's clock. One whose process still writes notes is not
--    silent, only idle: its next batch would be taken for a gap, and reported as a loss that never was.
-- 2: notes that no producer stands for, as those of processes that never published.
-- A note's time is the node's clock. Far from the server's, in either direction, it proves nothing.
--
-- Types are checked before the first write, and HDEL is allowed at maxmemory. What cannot be read is left as it is.

-- @part checks

local producers, nodes = KEYS[1], KEYS[2]
local scanned, cursor, page, silence = KEYS[tonumber(ARGV[1])], ARGV[2], ARGV[3], tonumber(ARGV[4])

check_type(producers, 'hash')
check_type(nodes, 'hash')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Whether a note says when it was written, and whether that is lately.
local function dated(note)
  local readable, content = pcall(cjson.decode, note)
  local at = readable and type(content) == 'table' and content['at']
  return type(at) == 'number', type(at) == 'number' and math.abs(now - at) <= silence
end

local function is_silent(name, number)
  local last = tonumber(string.match(number, '^%d+:(%d+)$') or '')
  if not last or now - last <= silence then
    return false
  end
  local _, is_fresh = dated(redis.call('HGET', nodes, name) or '')
  return not is_fresh
end

local function is_orphaned(name, note)
  local is_dated, is_fresh = dated(note)
  return is_dated and not is_fresh and redis.call('HEXISTS', producers, name) == 0
end

local due = scanned == producers and is_silent or is_orphaned
local found = redis.call('HSCAN', scanned, cursor, 'COUNT', page)
local removed = 0
for index = 1, #found[2], 2 do
  local name = found[2][index]
  if due(name, found[2][index + 1]) then
    redis.call('HDEL', producers, name)
    redis.call('HDEL', nodes, name)
    removed = removed + 1
  end
end
return {found[1], removed}
