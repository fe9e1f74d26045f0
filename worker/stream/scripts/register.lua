-- Take a consumer's name: give out a new epoch, the fencing token of every later commit (design sections 4 and 6).
--
-- KEYS: epoch, owners, records, history, directories, what the keys of leases begin with
-- ARGV: consumer, directory id, renew (0 or 1), the directory's token and its next one, names of the consumers that are
--       known to work in the caller's place, names of such whose processes are known to be gone (both separated by
--       blanks), id of the server's process (or empty), lease in ms, host, path
-- Returns {'OK', epoch, record or false, id of the history, open (0 or 1), commits are compared with `written` (0 or 1)},
--         {'REFUSED', directory id of the owner}: renewed by one who has lost the name,
--         {'ALIVE', consumer, its lease}: a consumer of this directory is at work, perhaps in another place,
--         {'RETRY'}: the next token has been claimed already, a reply was lost: draw another one,
--         {'SUPERSEDED', token, ms, host, path}: another copy of the directory was started since.
--
-- Epochs never repeat, not even on a server that lost its tail: each is at least the server's clock in microseconds.
-- A start claims the directory: its token becomes the next one, and every consumer that is not known to work in the same
-- place gets a new epoch, so that of two copies of a directory only one goes on. The caller's own name is no exception:
-- that its lock could be had tells nothing of a copy.

-- @part checks
-- @part history

local consumer, directory, renew, current, next_one = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5]
local run, lease_ms, host, path = ARGV[8], tonumber(ARGV[9]), ARGV[10], ARGV[11]
local epoch_key, owners, records, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local directories, lease_prefix = KEYS[5], KEYS[6]

check_type(epoch_key, 'string')
check_type(owners, 'hash')
check_type(records, 'hash')
check_type(history, 'hash')
check_type(directories, 'hash')
local last = epoch_of(redis.call('GET', epoch_key) or '0')
if not last or not lease_ms then
  return redis.error_reply('WRONGVALUE ' .. epoch_key .. ' does not count on, or the lease is no number')
end

local function names_in(text)
  local found = {}
  for name in string.gmatch(text, '%S+') do
    found[name] = true
  end
  return found
end

local function home_of(owner)
  return owner and string.match(owner, '^%d+ (.+)$')
end

local held, gone = names_in(ARGV[6]), names_in(ARGV[7])
local strangers, all = {}, redis.call('HGETALL', owners)
for index = 1, #all, 2 do
  if all[index] ~= consumer and home_of(all[index + 1]) == directory and not held[all[index]] then
    strangers[#strangers + 1] = all[index]
  end
end
local owner = redis.call('HGET', owners, consumer)
if not renew then
  if home_of(owner) == directory and not held[consumer] then
    strangers[#strangers + 1] = consumer
  end
end

-- A token is `<n> <random>`; the server stores it with when and where it was claimed.
local claimed = redis.call('HGET', directories, directory)
local n, random, at, where, place = string.match(claimed or '', '^(%d+) (%S+) (%d+) (%S+) (.*)$')
local token = n and n .. ' ' .. random
local is_older = n and tonumber(n) < tonumber(string.match(current, '^(%d+)') or '0')
if not renew and token == next_one and token ~= current then
  return {'RETRY'}
end
if token and token ~= current and token ~= next_one and not is_older then
  return {'SUPERSEDED', token, at, where, place}
end
if not renew then
  for _, name in ipairs(strangers) do
    local lease = not gone[name] and redis.call('GET', lease_prefix .. name)
    if lease then
      return {'ALIVE', name, lease}
    end
  end
end
if renew and home_of(owner) and home_of(owner) ~= directory then
  return {'REFUSED', home_of(owner)}
end

local function next_epoch()
  local time = redis.call('TIME')
  last = math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
  return string.format('%.0f', last)
end

redis.call('HDEL', owners, '') -- allowed at maxmemory, and after it so is the rest
if not renew then
  for _, name in ipairs(strangers) do
    redis.call('HSET', owners, name, next_epoch() .. ' ' .. directory)
  end
end
local mine = not renew and next_one or token == next_one and next_one or current
if mine ~= token then
  redis.call('HSET', directories, directory, mine .. ' ' .. string.format('%.0f', now_ms()) .. ' ' .. host .. ' ' .. path)
end

-- Where nothing is known of a history, nobody can have read in it: what was written before comes with a GAP, or is put
-- back. Where the server's process is another one, it may have lost its tail, and whoever lost commits will say so.
local known, id = redis.call('HGET', history, 'run'), redis.call('HGET', history, 'id')
if not known then
  begin_history(history, run, lease_ms)
  redis.call('HSET', history, 'open', 1)
elseif not id or not string.find(id, '^%d+$') then -- somebody else wrote there
  begin_history(history, run, lease_ms)
elseif run ~= '' and known ~= '' and known ~= run then
  begin_history(history, run, lease_ms)
elseif run ~= '' then
  redis.call('HSET', history, 'run', run, 'gate_ms', string.format('%.0f', lease_ms))
end

local epoch = next_epoch()
redis.call('SET', epoch_key, epoch)
redis.call('HSET', owners, consumer, epoch .. ' ' .. directory)
local facts = redis.call('HMGET', history, 'id', 'open')
return {
  'OK', epoch, redis.call('HGET', records, consumer .. ' ' .. directory), facts[1], facts[2] == '1' and 1 or 0,
  is_compared(history) and 1 or 0,
}
