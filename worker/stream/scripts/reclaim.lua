-- Claim own pending entries again: one, to read it alone, or all, to set their delivery counts back to one.
--
-- KEYS: owners, ledger, stream
-- ARGV: me, my directory id, my epoch, group, type, entries at most, id (empty: all, without reading them)
-- Returns {'OK', entries} (with an id: the entry, if it is still there) or {'FENCED'}.
--
-- A plain XCLAIM takes an entry from whoever has it. Sent by a worker that was only slow, it would take back what was
-- taken over from it, and both would write the row. So the epoch is checked, and only what is still mine is claimed.

local me, directory, epoch, group, kind = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local limit, id = tonumber(ARGV[6]), ARGV[7]
local owners, ledger, stream = KEYS[1], KEYS[2], KEYS[3]
local CHUNK = 1000

local function check_type(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= wanted then
    error({err = 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted})
  end
end

check_type(owners, 'hash')
check_type(ledger, 'hash')
check_type(stream, 'stream')
local lost = redis.call('HGET', ledger, kind .. ':lost')
if lost and not tonumber(lost) then
  return redis.error_reply('WRONGVALUE ' .. kind .. ':lost in ' .. ledger .. ' is not a number')
end
if redis.call('HGET', owners, me) ~= epoch .. ' ' .. directory then
  return {'FENCED'}
end

if id ~= '' then
  if #redis.call('XPENDING', stream, group, id, id, 1, me) == 0 then
    return {'OK', {}}
  end
  local found = redis.call('XCLAIM', stream, group, me, 0, id)
  if #found == 0 then -- deleted: XCLAIM takes it off the list
    redis.call('HINCRBY', ledger, kind .. ':lost', 1)
  end
  return {'OK', found}
end

local start, claimed = '-', 0
while claimed < limit do
  local pending = redis.call('XPENDING', stream, group, start, '+', math.min(CHUNK, limit - claimed), me)
  if #pending == 0 then
    break
  end
  local ids = {}
  for each = 1, #pending do
    ids[each] = pending[each][1]
  end
  start = '(' .. ids[#ids]
  claimed = claimed + #ids
  ids[#ids + 1], ids[#ids + 2], ids[#ids + 3] = 'RETRYCOUNT', 1, 'JUSTID'
  local there = #redis.call('XCLAIM', stream, group, me, 0, unpack(ids))
  if there < #pending then -- XCLAIM takes deleted entries off the list
    redis.call('HINCRBY', ledger, kind .. ':lost', #pending - there)
  end
end
return {'OK', claimed}
