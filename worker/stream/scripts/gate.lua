-- The gate of a history: closed until all that are at work have arrived, or for as long as a lease (design section 7).

-- Which consumers have files, and have not arrived: what they know of events that may come again is not here yet.
local function not_arrived(owners, records, history)
  local missing, all, id = {}, redis.call('HGETALL', records), redis.call('HGET', history, 'id')
  for index = 1, #all, 2 do
    local consumer, directory = string.match(all[index], '^(%S+) (%S+)$')
    local owner = consumer and redis.call('HGET', owners, consumer)
    local home = owner and string.match(owner, '^%d+ (.*)$')
    if home == directory and string.find(all[index + 1], '"inode":', 1, true)
      and redis.call('HEXISTS', history, 'arrived:' .. id .. ' ' .. all[index]) == 0 then
      missing[#missing + 1] = all[index]
    end
  end
  return missing
end

-- Open the gate where that is due; who came too late is noted. `waited` says how long the caller has stood before it,
-- in ms: a server whose clock was set back must not keep it closed. Returns 1 where it is open.
local function open_gate(owners, records, history, watch, waited)
  local facts = redis.call('HMGET', history, 'open', 'opens_ms', 'limit_ms', 'gate_ms', 'id')
  if facts[1] == '1' then
    return 1
  end
  local now, gate_ms = now_ms(), ms_of(facts[4]) or GATE_MS
  local is_due = now >= (ms_of(facts[2]) or 0) or waited >= OPENS_AFTER_MS
  local is_over = now >= (ms_of(facts[3]) or 0) or waited >= gate_ms
  local missing = not_arrived(owners, records, history)
  if not is_over and (not is_due or #missing > 0) then
    return 0
  end
  redis.call('HSET', history, 'open', 1)
  for _, who in ipairs(missing) do
    redis.call('HSET', watch, 'late:' .. facts[5] .. ' ' .. who, string.format('%.0f', now))
  end
  return 1
end
