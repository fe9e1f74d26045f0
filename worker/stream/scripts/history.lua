-- A history is what the server has remembered since it last forgot something, or may have (design section 7).
--
-- The hash `history`: id; run, the server's process as it was last seen; open, 1 once workers may read on; opens_ms and
-- limit_ms, not before and at the latest; gate_ms, how long that may be; until_ms, so long commits are compared with the
-- hash `written`, since what the server forgot may come again; `arrived:<id> <consumer> <directory id>`.

local OPENS_AFTER_MS = 5000 -- those of whom the server forgot that they are at work need so long to come back
local GATE_MS = 30000 -- unless a worker has said how long a lease is
local COMPARED_MS = 600000 -- after the last loss, or the last arrival

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A time in ms, nil for what is none: few enough digits for a double to hold it exactly.
local function ms_of(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end

-- Begin another history, in which nobody reads on before all that are at work have arrived.
local function begin_history(history, run, gate_ms)
  local known, time, now = redis.call('HMGET', history, 'id', 'run', 'gate_ms', 'until_ms'), redis.call('TIME'), now_ms()
  local last = known[1] and epoch_of(known[1]) or 0
  local id = string.format('%.0f', math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2])))
  gate_ms = gate_ms or ms_of(known[3]) or GATE_MS
  redis.call('DEL', history)
  redis.call('HSET', history, 'id', id, 'run', run or known[2] or '', 'open', 0, 'gate_ms', string.format('%.0f', gate_ms),
    'opens_ms', string.format('%.0f', now + OPENS_AFTER_MS), 'limit_ms', string.format('%.0f', now + gate_ms),
    'until_ms', ms_of(known[4]) and known[4] or '0')
  return id
end

-- Whether commits are compared with what was written.
local function is_compared(history)
  return now_ms() < (ms_of(redis.call('HGET', history, 'until_ms')) or 0)
end

local function clear(written)
  redis.call('DEL', written)
  redis.call('HSET', written, '-', '') -- the key stays: scripts name it
end

-- From now on, commits are compared with what was written.
local function compare(history, written)
  if not is_compared(history) then
    clear(written)
  end
  redis.call('HSET', history, 'until_ms', string.format('%.0f', now_ms() + COMPARED_MS))
end

-- Give up what is not compared with any more; something must have been written before.
local function stop_comparing(history, written)
  local until_ms = ms_of(redis.call('HGET', history, 'until_ms')) or 0
  if until_ms > 0 and now_ms() >= until_ms then
    clear(written)
    redis.call('HSET', history, 'until_ms', 0)
  end
end
