-- shared: reads the lists of hostile inputs that may lie beside the checkout; empty where there are none.
local json = require "orrery".json

local shared = {}

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

--- The entries of ../shared/hostile/NAME.json, below `field` where one is given.
function shared.list(name, field)
  local text = read("../shared/hostile/" .. name .. ".json")
  local found = text and json.decode(text)
  return found and (field and found[field] or found) or {}
end

--- The bytes that an entry of strings.json stands for.
function shared.bytes(entry)
  local function decode(digits)
    return (digits:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end))
  end
  return entry.hex and decode(entry.hex) or decode(entry.gen.repeat_hex):rep(entry.gen.count)
end

return shared
