-- What a script looks at before its first write, so that no error can come after it.
local function check_type(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= wanted then
    error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', expected a ' .. wanted, 0)
  end
end

-- As HINCRBY takes it, which is stricter than tonumber; few enough digits for a double to hold it exactly.
local function is_count(text)
  return #text <= 15 and (text == '0' or string.find(text, '^[1-9]%d*$') ~= nil)
end

-- Counts on only while a double holds it exactly.
local function epoch_of(text)
  local epoch = string.find(text, '^%d+$') and tonumber(text)
  return epoch and epoch < 2 ^ 53 - 1 and epoch or nil
end
