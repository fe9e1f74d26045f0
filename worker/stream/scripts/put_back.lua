-- Put back the record of a dead consumer of this directory, out of its journal: the server has forgotten it.
--
-- KEYS: epoch, owners, records, ledger, history, written
-- ARGV: me, directory id, my epoch, the consumer, its record (JSON), its batch, then the types
-- Returns 1, 0 where the server has that record or a newer one, -1 where what it has is no record (nothing is done then),
-- or 'FENCED'.
--
-- Called with the lock on the consumer's name held, so nobody works under it here. What it sent may still run, and is
-- refused by the new epoch.

-- @part checks
-- @part stored_record
-- @part history

local me, directory, mine, consumer, record, batch = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local epoch_key, owners, records, ledger, history, written = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

check_type(epoch_key, 'string')
check_type(owners, 'hash')
check_type(records, 'hash')
check_type(ledger, 'hash')
check_type(history, 'hash')
check_type(written, 'hash')
local last = epoch_of(redis.call('GET', epoch_key) or '0')
if not last or not batch then
  return redis.error_reply('WRONGVALUE ' .. epoch_key .. ' does not count on, or the batch is no number')
end
if redis.call('HGET', owners, me) ~= mine .. ' ' .. directory then
  return 'FENCED'
end
local field = consumer .. ' ' .. directory
local stored = redis.call('HGET', records, field)
local was, now = record_of(stored or '{}'), cjson.decode(record)
if not was then
  return -1
end
if (was['batch'] or 0) >= batch then
  return 0
end
local rows = {}
for index = 7, #ARGV do
  local name = ARGV[index]
  rows[name] = math.max(0, total_in(now, name) - total_in(was, name))
  for _, counter in ipairs({name .. ':rows', name .. ':rows:' .. directory}) do
    local value = redis.call('HGET', ledger, counter)
    if value and not is_count(value) then
      return redis.error_reply('WRONGVALUE ' .. counter .. ' in ' .. ledger .. ' is not a count')
    end
  end
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
local owner = redis.call('HGET', owners, consumer)
if owner and string.match(owner, '^%d+ (.*)$') == directory then
  local time = redis.call('TIME')
  local epoch = string.format('%.0f', math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2])))
  redis.call('SET', epoch_key, epoch)
  redis.call('HSET', owners, consumer, epoch .. ' ' .. directory)
end
redis.call('HSET', records, field, record)
for name, count in pairs(rows) do
  if count > 0 then
    redis.call('HINCRBY', ledger, name .. ':rows', string.format('%.0f', count))
    redis.call('HINCRBY', ledger, name .. ':rows:' .. directory, string.format('%.0f', count))
  end
end
if not is_compared(history) then
  begin_history(history)
end
compare(history, written)
return 1
