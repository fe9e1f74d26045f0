-- Say that a consumer is alive, or that others may take over from it at once (design section 4).
--
-- KEYS: owners, the consumer's lease, history, written
-- ARGV: consumer, directory id, epoch, lease in ms (0: it is given up), id of the history, what the lease says of its
--       holder
-- Returns 'OK' or 'FENCED': who lost its name must neither keep the other one's lease alive nor end it, and one who is
-- idle has to hear of another history.

-- @part checks
-- @part history

local consumer, directory, epoch, lease_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local owners, lease, history, written = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

check_type(owners, 'hash')
check_type(lease, 'string')
check_type(history, 'hash')
check_type(written, 'hash')
if not lease_ms then
  return redis.error_reply('WRONGVALUE the lease must be a number')
end
if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory then
  return 'FENCED'
end
if lease_ms > 0 and redis.call('HGET', history, 'id') ~= ARGV[5] then
  return 'FENCED'
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
stop_comparing(history, written)
if lease_ms > 0 then
  redis.call('SET', lease, ARGV[6], 'PX', lease_ms)
else
  redis.call('DEL', lease)
end
return 'OK'
