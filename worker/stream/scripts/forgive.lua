-- Set back what the deliveries to a process counted, because it lives: they killed nobody (design section 5).
--
-- KEYS: owners, ledger, watch, stream
-- ARGV: me, my directory id, my epoch, group, type, entries at most, deliveries from which on an entry is suspected,
--       id that this process read alone (empty: none)
-- Returns 'OK' or 'FENCED'.
--
-- Own pending entries that are not suspected yet count as delivered once. Of suspects only the one that this process
-- has read alone is cleared, of that one delivery: what others died of still stands. It may belong to somebody else by
-- now; then it stays there, for XCLAIM names the consumer that has it. Where a lost reply lets this run twice, an entry
-- that does kill may kill once more.

-- @part checks
-- @part count_lost

local me, directory, epoch, group, kind = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local limit, suspected, alone = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local owners, ledger, watch, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHUNK = 1000

check_type(owners, 'hash')
check_type(ledger, 'hash')
check_type(watch, 'hash')
check_type(stream, 'stream')
local lost = redis.call('HGET', ledger, kind .. ':lost')
if lost and not is_count(lost) then
  return redis.error_reply('WRONGVALUE ' .. kind .. ':lost in ' .. ledger .. ' is not a count')
end
if redis.call('HGET', owners, me) ~= epoch .. ' ' .. directory then
  return 'FENCED'
end

-- Nothing is delivered by this, so the entries do not count as read.
local function count_as_delivered(times, consumer, ids)
  local request = {'XCLAIM', stream, group, consumer, 0}
  for _, id in ipairs(ids) do
    request[#request + 1] = id
  end
  request[#request + 1], request[#request + 2], request[#request + 3] = 'RETRYCOUNT', times, 'JUSTID'
  count_lost(ledger, watch, kind, stream, not_claimed(ids, redis.call(unpack(request))))
end

local found = alone ~= '' and redis.call('XPENDING', stream, group, alone, alone, 1)[1]
if found and found[4] > suspected then
  count_as_delivered(found[4] - 1, found[2], {alone})
end

local start, seen = '-', 0
while seen < limit do
  local pending = redis.call('XPENDING', stream, group, start, '+', math.min(CHUNK, limit - seen), me)
  if #pending == 0 then
    break
  end
  local ids = {}
  for _, entry in ipairs(pending) do
    if entry[4] > 1 and entry[4] < suspected then
      ids[#ids + 1] = entry[1]
    end
  end
  if #ids > 0 then
    count_as_delivered(1, me, ids)
  end
  start = '(' .. pending[#pending][1]
  seen = seen + #pending
end
return 'OK'
