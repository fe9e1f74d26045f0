-- publish(producer, seq, given_up, [type, count, json]...): adds one batch of events once, whatever is retried.
--
-- KEYS  1 producers  2 ledger  3 stream of delivered  4 of deferred  5 of bounce  6 history (one hash tag, so one cluster
--       node)
-- ARGV  1 producer   2 seq     3 given_up: '' or '<d> <df> <b>', events of lost batches that the producer cannot send again
--       (zeros where there are none): said of batches that the server had acknowledged, and has lost
--       then a triple for each type in the batch: delivered|deferred|bounce, number of events, their JSON array
--
-- Replies  {'OK'}               added, and the number is remembered
--          {'DUPLICATE', last}  seq <= last: a copy of it ran before, nothing is added
--          {'GAP', last}        seq > last + 1: the server lost batches that it had acknowledged, nothing is added
--          an error             nothing is written
--
-- A script is atomic but not transactional: an error in the middle leaves what was written before it. So everything that
-- this call touches and that can fail is looked at first, and the first write (HINCRBY) is one that a full server refuses:
-- such a batch is refused whole, and the producer keeps it. Every copy may run late, from a connection that its producer
-- gave up. What it does not touch is not looked at: that cost the server as much as the writing.

-- A GAP proves that the server forgot, and what it forgot is about to come again. So does `given_up`: who finds out by
-- the number that the server has sends all of it again from the first on, and leaves no gap. So another history begins in
-- the same step: workers read on once all of them have said what they wrote (design section 7). A user without the right
-- to that publishes all the same: such events may then stand twice.

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
  if #KEYS ~= 6 then return 'ERR publish: 6 keys expected' end
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

-- As worker/stream/scripts/history.lua has it; where a loss is known already, it goes on for longer. Returns an error, or
-- nothing: also where the user has no right to it.
local function begin_history(history)
  local may = redis.acl_check_cmd
  if may and not (may('HMGET', history, 'n') and may('HSET', history, 'n', '1')) then return end
  local known = redis.pcall('HMGET', history, 'id', 'run', 'gate_ms', 'until_ms')
  if known.err then return check_type(history, 'hash') end
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local facts = { 'until_ms', string.format('%.0f', now + 600000) }
  if now >= (tonumber(known[4] or '') or 0) then
    local id = math.max((tonumber(known[1] or '') or 0) + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
    local gate_ms = tonumber(known[3] or '') or 30000
    facts = { 'id', string.format('%.0f', id), 'run', known[2] or '', 'open', 0,
      'gate_ms', string.format('%.0f', gate_ms), 'opens_ms', string.format('%.0f', now + 5000),
      'limit_ms', string.format('%.0f', now + gate_ms), unpack(facts) }
  end
  local done = redis.pcall('HSET', history, unpack(facts))
  if type(done) == 'table' and done.err and not string.find(done.err, 'NOPERM', 1, true) then return done.err end
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
if is_gap and ARGV[3] == '' then
  wrong = begin_history(KEYS[6])
  if wrong then return redis.error_reply(wrong) end
  return { 'GAP', last }
end
wrong = check_counters(':published')
if is_gap then
  for _, kind in ipairs(TYPES) do wrong = wrong or check_counter(kind, ':gap') end
end
if not wrong and ARGV[3] ~= '' then wrong = begin_history(KEYS[6]) end
if wrong then return redis.error_reply(wrong) end

if is_gap then
  local kind = 0
  for lost in string.gmatch(ARGV[3], '%d+') do
    kind = kind + 1
    if tonumber(lost) > 0 then redis.call('HINCRBY', KEYS[2], TYPES[kind] .. ':gap', lost) end
  end
end

for i = 4, #ARGV, 3 do
  local kind, count, json = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local at = redis.call('HINCRBY', KEYS[2], kind .. ':published', count)
  redis.call('XADD', KEYS[STREAM[kind]], '*', 'events', json, 'n', count, 'at', at)
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. now[1] .. string.format('%03d', math.floor(now[2] / 1000)))
return { 'OK' }
