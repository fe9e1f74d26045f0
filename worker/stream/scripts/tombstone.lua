-- What is left of a record once nobody works under its name: how many commits and rows there were. Without it, the journal
-- of the consumer would say that the server forgot, if it ever came back.
local function tombstone_of(record)
  local known = record_of(record) or {}
  local total = known['total'] or {}
  return '{"batch":' .. string.format('%.0f', known['batch'] or 0)
    .. ',"total":' .. (next(total) and cjson.encode(total) or '{}') .. '}'
end
