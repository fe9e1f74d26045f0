-- Hand in what stands in the files of a directory, by one who has lost its name and is about to end (design section 7).
--
-- KEYS: records, history, written
-- ARGV: consumer, directory id, batch of the last record that the caller knows, then keys of events (type and key,
--       separated by a blank)
-- Returns 1, or 0 where the server has forgotten nothing, and nothing is done. Where it has, and nobody knew of it yet,
-- another history begins.

-- @part checks
-- @part history
-- @part stored_record

local consumer, directory, batch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local records, history, written = KEYS[1], KEYS[2], KEYS[3]

check_type(records, 'hash')
check_type(history, 'hash')
check_type(written, 'hash')
if not batch then
  return redis.error_reply('WRONGVALUE the batch must be a number')
end
if not is_compared(history) then
  local stored = redis.call('HGET', records, consumer .. ' ' .. directory)
  local known = record_of(stored or '{}')
  if not known or (known['batch'] or 0) >= batch then
    return 0
  end
  redis.call('HDEL', records, '') -- allowed at maxmemory, and after it so is the rest
  begin_history(history)
end
redis.call('HDEL', records, '')
compare(history, written)
for index = 4, #ARGV do
  redis.call('HSETNX', written, ARGV[index], directory)
end
return 1
