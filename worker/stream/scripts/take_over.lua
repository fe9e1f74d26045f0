-- Take over the pending entries of a consumer that is dead or stalled (design section 4).
--
-- KEYS: epoch, owners, the owner's lease, ledger, watch, then one stream per type
-- ARGV: me, my directory id, my epoch, owner, group, entries per stream at most, then the type of each stream
-- Returns {'OK', entries claimed, entries lost}, {'FENCED'} (I am not who I was) or {'ALIVE'} (its lease lives).
--
-- The fence comes first: the owner gets a new epoch, so that whatever it still sends is refused. Its directory stays
-- stored; where none is, none is stored. Deleted entries cannot be claimed: they are taken off the list and counted.

-- @part checks
-- @part count_lost

local me, directory, mine, owner, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local limit = tonumber(ARGV[6])
local epoch_key, owners, lease, ledger, watch = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local CHUNK = 1000

check_type(epoch_key, 'string')
check_type(owners, 'hash')
check_type(ledger, 'hash')
check_type(watch, 'hash')
for index = 6, #KEYS do
  check_type(KEYS[index], 'stream')
  local counter = redis.call('HGET', ledger, ARGV[index + 1] .. ':lost')
  if counter and not is_count(counter) then
    return redis.error_reply('WRONGVALUE ' .. ARGV[index + 1] .. ':lost in ' .. ledger .. ' is not a count')
  end
end
local last = epoch_of(redis.call('GET', epoch_key) or '0')
if not last or not limit then
  return redis.error_reply('WRONGVALUE ' .. epoch_key .. ' does not count on, or the limit is no number')
end

if redis.call('HGET', owners, me) ~= mine .. ' ' .. directory then
  return {'FENCED'}
end
if redis.call('EXISTS', lease) == 1 then
  return {'ALIVE'}
end

local now = redis.call('TIME')
local epoch = string.format('%.0f', math.max(last + 1, tonumber(now[1]) * 1000000 + tonumber(now[2])))
local stored = redis.call('HGET', owners, owner)
redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
redis.call('SET', epoch_key, epoch)
redis.call('HSET', owners, owner, epoch .. ' ' .. (stored and string.match(stored, '^%d+ (.*)$') or ''))

local claimed, lost = 0, 0
for index = 6, #KEYS do
  local key, taken, gone = KEYS[index], 0, {}
  while taken < limit do
    local pending = redis.call('XPENDING', key, group, '-', '+', math.min(CHUNK, limit - taken), owner)
    if #pending == 0 then
      break
    end
    local ids, request = {}, {'XCLAIM', key, group, me, 0}
    for each = 1, #pending do
      ids[each], request[5 + each] = pending[each][1], pending[each][1]
    end
    request[#request + 1] = 'JUSTID' -- the delivery count stays what it was
    local here = redis.call(unpack(request))
    taken = taken + #pending
    claimed = claimed + #here
    for _, id in ipairs(not_claimed(ids, here)) do
      gone[#gone + 1] = id
    end
  end
  count_lost(ledger, watch, ARGV[index + 1], key, gone)
  lost = lost + #gone
end
return {'OK', claimed, lost}
