-- Arrive in a history: hand in what stands in the files of a directory, and ask whether to read on (design section 7).
--
-- KEYS: owners, records, history, written, watch, the consumer's lease
-- ARGV: consumer, directory id, epoch, id of the history, all is handed in (0 or 1), ms for which the caller has waited,
--       lease in ms, what the lease says of its holder, consumers of the directory that are not at work (separated by
--       blanks: what they wrote is handed in too), then keys of events (type and key, separated by a blank)
-- Returns {'OK', open (0 or 1), keys of these that another directory has written since}, or {'FENCED'}.

-- @part checks
-- @part history
-- @part gate

local consumer, directory, epoch, id, is_last = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local waited, lease_ms, holder = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local owners, records, history, written, watch, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

check_type(owners, 'hash')
check_type(records, 'hash')
check_type(history, 'hash')
check_type(written, 'hash')
check_type(watch, 'hash')
check_type(lease, 'string')
if not waited or not lease_ms then
  return redis.error_reply('WRONGVALUE the time waited and the lease must be numbers')
end
if redis.call('HGET', owners, consumer) ~= epoch .. ' ' .. directory or redis.call('HGET', history, 'id') ~= id then
  return {'FENCED'}
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
redis.call('SET', lease, holder, 'PX', lease_ms)
local twice = {}
if #ARGV > 9 and is_compared(history) then
  for index = 10, #ARGV do
    local by = redis.call('HGET', written, ARGV[index])
    if not by then
      redis.call('HSET', written, ARGV[index], directory)
    elseif by ~= directory then
      twice[#twice + 1] = ARGV[index]
    end
  end
  compare(history, written) -- for longer
end
if is_last then
  for name in string.gmatch(consumer .. ' ' .. ARGV[9], '%S+') do
    redis.call('HSET', history, 'arrived:' .. id .. ' ' .. name .. ' ' .. directory, 1)
  end
end
return {'OK', open_gate(owners, records, history, watch, waited), twice}
