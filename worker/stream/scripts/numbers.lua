-- How many events entries of a stream hold, each by its own `n`, without their bytes leaving the server. Reads only.
--
-- KEYS: stream
-- ARGV: bytes of entries that may be read, then ids
-- Returns {n of the first id, of the second, …}: of fewer ids than were asked for where the bytes are used up, of one at
-- least. -1: the entry is gone; 0: it was added by hand, as in snapshot.lua.

local stream, left = KEYS[1], tonumber(ARGV[1])

-- As worker/numbers.py has it: a number that is too long, or none, is none.
local function number(fields, name, digits)
  for index = 1, #fields - 1, 2 do
    local value = fields[index + 1]
    if fields[index] == name then
      return #value <= digits and string.find(value, '^%d+$') and tonumber(value) or nil
    end
  end
end

local found = {}
for index = 2, #ARGV do
  local entry = redis.call('XRANGE', stream, ARGV[index], ARGV[index])[1]
  local n = entry and number(entry[2], 'at', 15) and number(entry[2], 'n', 9)
  found[#found + 1] = n or entry and 0 or -1
  for _, text in ipairs(entry and entry[2] or {}) do
    left = left - #text
  end
  if left < 0 then
    break
  end
end
return found
