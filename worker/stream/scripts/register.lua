-- Take a consumer's name: give out a new epoch, the fencing token of every later commit (design section 4).
--
-- KEYS: epoch, owners, records
-- ARGV: consumer, directory id, renew (0 or 1)
-- Returns {'OK', epoch, record or false}, or {'REFUSED', directory id of the owner}.
--
-- Epochs never repeat, not even on a server that lost its tail: each is at least the server's clock in microseconds.

-- @part checks

local consumer, directory, renew = ARGV[1], ARGV[2], ARGV[3]

check_type(KEYS[1], 'string')
check_type(KEYS[2], 'hash')
check_type(KEYS[3], 'hash')

local owner = redis.call('HGET', KEYS[2], consumer)
if renew == '1' and owner then
  local holder = string.match(owner, '^%d+ (.+)$')
  if holder and holder ~= directory then
    return {'REFUSED', holder}
  end
end

local last = epoch_of(redis.call('GET', KEYS[1]) or '0')
if not last then
  return redis.error_reply('WRONGVALUE ' .. KEYS[1] .. ' does not count on')
end
local now = redis.call('TIME')
local clock = tonumber(now[1]) * 1000000 + tonumber(now[2])
local epoch = string.format('%.0f', math.max(last + 1, clock))
local record = redis.call('HGET', KEYS[3], consumer .. ' ' .. directory)

redis.call('HDEL', KEYS[2], '') -- allowed at maxmemory, and after it so is the rest
redis.call('SET', KEYS[1], epoch)
redis.call('HSET', KEYS[2], consumer, epoch .. ' ' .. directory)
return {'OK', epoch, record}
