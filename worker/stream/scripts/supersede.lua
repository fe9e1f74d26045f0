-- Empty the record of a directory that its consumer has left for another one (design section 4, retire).
--
-- KEYS: owners, records
-- ARGV: consumer, directory id, the record as the caller saw it, the directory in which the consumer works now
-- Returns 1, or 0 where any of this has changed, and nothing is done. The caller has seen that the record names no file.

-- @part checks
-- @part stored_record
-- @part tombstone

local consumer, directory, seen, home = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local owners, records = KEYS[1], KEYS[2]

check_type(owners, 'hash')
check_type(records, 'hash')
local owner = redis.call('HGET', owners, consumer)
if home == directory or not owner or string.match(owner, '^%d+ (.*)$') ~= home then
  return 0
end
local field = consumer .. ' ' .. directory
if redis.call('HGET', records, field) ~= seen then
  return 0
end
redis.call('HDEL', records, '') -- allowed at maxmemory, and after it so is the rest
redis.call('HSET', records, field, tombstone_of(seen))
return 1
