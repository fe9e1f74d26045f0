-- A commit record as it is stored, or nil for what no worker wrote: anybody who can write to the server can write one.
local function record_of(stored)
  local readable, record = pcall(cjson.decode, stored)
  if not readable or type(record) ~= 'table' or type(record['batch'] or 0) ~= 'number' then
    return nil
  end
  for _, part in ipairs({'files', 'closing', 'total'}) do
    if type(record[part] or {}) ~= 'table' then
      return nil
    end
  end
  return record
end

-- How many rows of a type it counts.
local function total_in(record, name)
  local rows = (record['total'] or {})[name]
  return type(rows) == 'number' and rows or 0
end
