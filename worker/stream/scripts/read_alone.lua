-- Read one own pending entry again, alone; it counts as delivered once more (design section 5).
--
-- KEYS: owners, ledger, watch, stream
-- ARGV: me, my directory id, my epoch, group, type, entry id
-- Returns {'OK', entries} (the entry, if it is still mine and there) or {'FENCED'}.
--
-- A plain XCLAIM takes an entry from whoever has it. Sent by a worker that was only slow, it would take back what was
-- taken over from it, and both would write the row. So the epoch is checked, and only what is still mine is claimed.

-- @part checks
-- @part count_lost

local me, directory, epoch, group, kind, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local owners, ledger, watch, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

check_type(owners, 'hash')
check_type(ledger, 'hash')
check_type(watch, 'hash')
check_type(stream, 'stream')
local lost = redis.call('HGET', ledger, kind .. ':lost')
if lost and not is_count(lost) then
  return redis.error_reply('WRONGVALUE ' .. kind .. ':lost in ' .. ledger .. ' is not a count')
end
if redis.call('HGET', owners, me) ~= epoch .. ' ' .. directory then
  return {'FENCED'}
end

if #redis.call('XPENDING', stream, group, id, id, 1, me) == 0 then
  return {'OK', {}}
end
local found = redis.call('XCLAIM', stream, group, me, 0, id)
if not found[1] then -- deleted: XCLAIM has taken it off the list; that of Redis 6.2 has not, and answers nil
  redis.call('XACK', stream, group, id)
  count_lost(ledger, watch, kind, stream, {id})
  found = {}
end
return {'OK', found}
