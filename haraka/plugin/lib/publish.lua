-- publish(producer, seq, given_up, [type, count, json]...): adds one batch of events once, whatever is retried.
--
-- KEYS  1 producers  2 ledger  3 stream of delivered  4 of deferred  5 of bounce (one hash tag, so one cluster node)
-- ARGV  1 producer   2 seq     3 given_up: '' or '<d> <df> <b>', events of lost batches that the producer cannot send again
--       then a triple for each type in the batch: delivered|deferred|bounce, number of events, their JSON array
--
-- Replies  {'OK'}               added, and the number is remembered
--          {'DUPLICATE', last}  seq <= last: a copy of it ran before, nothing is added
--          {'GAP', last}        seq > last + 1: the server lost batches that it had acknowledged, nothing is added
--          an error             nothing is written
--
-- An entry is  events: their JSON array  n: how many  at: running number of the last one  b: '<producer>:<seq>', its batch.
-- With its stream, b says which entry this is, whatever id it has: a server that lost it gets it again under another one.
--
-- A script is atomic but not transactional: an error in the middle leaves what was written before it. So everything that
-- this call touches and that can fail is looked at first, and the first write (HINCRBY) is one that a full server refuses:
-- such a batch is refused whole, and the producer keeps it. Every copy may run late, from a connection that its producer
-- gave up. What it does not touch is not looked at: that cost the server as much as the writing.

local TYPES = { 'delivered', 'deferred', 'bounce' }
local STREAM = { delivered = 3, deferred = 4, bounce = 5 }

local function check_type(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return 'ERR publish: ' .. key .. ' is a ' .. found .. ', not a ' .. wanted
  end
end

-- As HINCRBY takes it: no leading zero. Few enough digits for a double to hold it exactly.
local function is_count(text)
  return type(text) == 'string' and #text <= 15 and (text == '0' or string.find(text, '^[1-9]%d*$') ~= nil)
end

local function check_arguments()
  if #KEYS ~= 5 then return 'ERR publish: 5 keys expected' end
  if #ARGV < 6 or #ARGV % 3 ~= 0 then return 'ERR publish: producer, seq, given_up and triples expected' end
  if ARGV[1] == '' then return 'ERR publish: the producer has no name' end
  if not is_count(ARGV[2]) or tonumber(ARGV[2]) < 1 then return 'ERR publish: seq is not a positive number' end
  if ARGV[3] ~= '' then
    local d, df, b = string.match(ARGV[3], '^(%d+) (%d+) (%d+)$')
    if not (is_count(d) and is_count(df) and is_count(b)) then return 'ERR publish: given_up is not three counts' end
  end
  local seen = {}
  for i = 4, #ARGV, 3 do
    local kind, json = ARGV[i], ARGV[i + 2]
    if not STREAM[kind] or seen[kind] then return 'ERR publish: unknown or repeated type ' .. kind end
    seen[kind] = true
    if not is_count(ARGV[i + 1]) or tonumber(ARGV[i + 1]) < 1 then return 'ERR publish: count is not a positive number' end
    if string.sub(json, 1, 1) ~= '[' or string.sub(json, -1) ~= ']' then return 'ERR publish: events are not an array' end
  end
end

-- XADD fails on a key of another type, HGET and HINCRBY too. Streams of other types than the batch's are not touched.
local function check_keys()
  local wrong = check_type(KEYS[1], 'hash') or check_type(KEYS[2], 'hash')
  for i = 4, #ARGV, 3 do wrong = wrong or check_type(KEYS[STREAM[ARGV[i]]], 'stream') end
  return wrong
end

-- HINCRBY fails on what is no number.
local function check_counter(kind, counter)
  local value = redis.call('HGET', KEYS[2], kind .. counter)
  if value and not is_count(value) then return 'ERR publish: ledger ' .. kind .. counter .. ' is not a count' end
end

local function check_counters(counter)
  local wrong
  for i = 4, #ARGV, 3 do wrong = wrong or check_counter(ARGV[i], counter) end
  return wrong
end

-- A user who may do one of the writes and not the next would do the first again with every copy. Servers before Redis 7
-- cannot be asked.
local function check_rights()
  local may = redis.acl_check_cmd
  if not may then return end
  for i = 4, #ARGV, 3 do
    if not may('XADD', KEYS[STREAM[ARGV[i]]], '*', 'n', '1') then return 'NOPERM publish: no right to XADD' end
  end
  if not may('HINCRBY', KEYS[2], 'n', '1') then return 'NOPERM publish: no right to HINCRBY' end
  if not may('HSET', KEYS[1], 'n', '1') then return 'NOPERM publish: no right to HSET' end
  if not may('TIME') then return 'NOPERM publish: no right to TIME' end
end

local wrong = check_arguments() or check_keys() or check_rights()
if wrong then return redis.error_reply(wrong) end

local last = 0
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  last = tonumber(string.match(stored, '^(%d+):%d+$'))
  if not last then return redis.error_reply('ERR publish: unreadable number of producer ' .. ARGV[1]) end
end

local seq = tonumber(ARGV[2])
if seq <= last then
  wrong = check_counters(':duplicates')
  if wrong then return redis.error_reply(wrong) end
  for i = 4, #ARGV, 3 do redis.call('HINCRBY', KEYS[2], ARGV[i] .. ':duplicates', ARGV[i + 1]) end
  return { 'DUPLICATE', last }
end
local is_gap = seq > last + 1
if is_gap and ARGV[3] == '' then return { 'GAP', last } end
wrong = check_counters(':published')
if is_gap then
  for _, kind in ipairs(TYPES) do wrong = wrong or check_counter(kind, ':gap') end
end
if wrong then return redis.error_reply(wrong) end

if is_gap then
  local kind = 0
  for lost in string.gmatch(ARGV[3], '%d+') do
    kind = kind + 1
    if tonumber(lost) > 0 then redis.call('HINCRBY', KEYS[2], TYPES[kind] .. ':gap', lost) end
  end
end

local batch = ARGV[1] .. ':' .. ARGV[2]
for i = 4, #ARGV, 3 do
  local kind, count, json = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local at = redis.call('HINCRBY', KEYS[2], kind .. ':published', count)
  redis.call('XADD', KEYS[STREAM[kind]], '*', 'events', json, 'n', count, 'at', at, 'b', batch)
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. now[1] .. string.format('%03d', math.floor(now[2] / 1000)))
return { 'OK' }
