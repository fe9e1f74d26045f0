-- Count pending entries that somebody deleted as lost, and note which: a chore brings the note to `lost/`.
-- They leave their list in the same step, so that each is counted once. Ids in their order; the first one names the
-- note. `ledger` and `watch` must be hashes, and something must have been written before (maxmemory).
local function count_lost(ledger, watch, kind, stream, ids)
  if #ids == 0 then
    return
  end
  local time, count = redis.call('TIME'), string.format('%.0f', #ids)
  redis.call('HINCRBY', ledger, kind .. ':lost', count)
  redis.call('HSET', watch, 'loss:' .. kind .. ':' .. ids[1], cjson.encode({
    type = kind, stream = stream, from = ids[1], to = ids[#ids], events = count, entries = count,
    noticed_ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)),
  }))
end

-- Which of these ids XCLAIM did not claim, though they were pending: it takes deleted entries off the list. That of Redis
-- 6.2 claims them, and whoever reads its list counts them.
local function not_claimed(ids, claimed)
  local is_claimed, rest = {}, {}
  for _, id in ipairs(claimed) do
    is_claimed[id] = true
  end
  for _, id in ipairs(ids) do
    if not is_claimed[id] then
      rest[#rest + 1] = id
    end
  end
  return rest
end
