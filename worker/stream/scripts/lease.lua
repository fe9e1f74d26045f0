-- Say that a consumer is alive, or that others may take over from it at once (design section 4).
--
-- KEYS: owners, the consumer's lease
-- ARGV: consumer, directory id, epoch, lease in ms (0: it is given up)
-- Returns 'OK' or 'FENCED': who lost its name must neither keep the other one's lease alive nor end it.

-- @part checks

local consumer, directory, epoch, lease_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local owners, lease = KEYS[1], KEYS[2]

check_type(owners, 'hash')
check_type(lease, 'string')
if not lease_ms then
  return redis.error_reply('WRONGVALUE the lease must be a number')
end
if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory then
  return 'FENCED'
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
if lease_ms > 0 then
  redis.call('SET', lease, epoch, 'PX', lease_ms)
else
  redis.call('DEL', lease)
end
return 'OK'
