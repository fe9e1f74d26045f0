-- Clear a seized file from its record, unless the record has changed since (design section 4).
--
-- KEYS: records
-- ARGV: consumer, directory id, the record as `seize` returned it, the record without the file
-- Returns 1 where it was cleared, 0 where it was not: the consumer is back and has written another.

if redis.call('TYPE', KEYS[1])['ok'] ~= 'hash' then
  return 0
end
local field = ARGV[1] .. ' ' .. ARGV[2]
if redis.call('HGET', KEYS[1], field) ~= ARGV[3] then
  return 0
end
redis.call('HDEL', KEYS[1], '') -- allowed at maxmemory, and after it so is the rest
redis.call('HSET', KEYS[1], field, ARGV[4])
return 1
