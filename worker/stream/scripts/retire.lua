-- Remove a consumer that will not come back (design section 4).
--
-- KEYS: owners, records, the consumer's lease, then one stream per type
-- ARGV: consumer, group, its owner as the caller saw it (optional; one that has registered since is alive)
-- Returns 'OK', or why not: 'UNKNOWN', 'ALIVE', 'PENDING <n>', 'FILE <name>' or
-- 'RECORD <field>' (no record). Deleting a consumer that has pending
-- entries would lose them; deleting a record that names a file would make its uncommitted tail count.
-- The epoch counter is never touched: an epoch must not be given out again.

-- @part stored_record
-- @part tombstone

local consumer, group, seen = ARGV[1], ARGV[2], ARGV[3]
local owners, records, lease = KEYS[1], KEYS[2], KEYS[3]

if redis.call('EXISTS', lease) == 1 or seen and (redis.call('HGET', owners, consumer) or '') ~= seen then
  return 'ALIVE'
end
local known = redis.call('HEXISTS', owners, consumer) == 1
for index = 4, #KEYS do
  for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[index], group)) do
    known = known or facts[2] == consumer
  end
  local pending = redis.call('XPENDING', KEYS[index], group, '-', '+', 1, consumer)
  if #pending > 0 then
    return 'PENDING ' .. KEYS[index]
  end
end
local function name_in(file)
  return tostring(type(file) == 'table' and file['name'])
end

local fields = {}
local all = redis.call('HGETALL', records)
for index = 1, #all, 2 do
  if string.match(all[index], '^(%S+) %S+$') == consumer then
    local record = record_of(all[index + 1])
    if not record then
      return 'RECORD ' .. all[index]
    end
    for _, file in pairs(record['files'] or {}) do
      return 'FILE ' .. name_in(file)
    end
    for _, closing in ipairs(record['closing'] or {}) do
      return 'FILE ' .. name_in(type(closing) == 'table' and closing['file'])
    end
    if record['committed_ms'] then -- else it is empty already
      fields[all[index]] = tombstone_of(all[index + 1])
      known = true
    end
  end
end
if not known then
  return 'UNKNOWN'
end

redis.call('HDEL', owners, consumer)
for field, tombstone in pairs(fields) do
  redis.call('HSET', records, field, tombstone)
end
for index = 4, #KEYS do
  redis.call('XGROUP', 'DELCONSUMER', KEYS[index], group, consumer)
end
return 'OK'
