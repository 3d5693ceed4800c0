--- url: database URLs, taken apart and put together. Knows the form, not what a dialect makes of the parts.
--
--     dialect://user:password@host:port/database?option=value
local import = ...
local errors = import "errors"

local url = {}

---@class orrery.URL
---@field drivername string
---@field username? string
---@field password? string
---@field host? string
---@field port? integer
---@field database? string
---@field query table<string, string>
local URL = {}

local PARTS = { drivername = true, username = true, password = true, host = true, port = true, database = true, query = true }
local metatable = { __index = errors.guard(URL, "a URL", PARTS), __name = "orrery.URL" }

local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local function encode(text)
  return (text:gsub("[^%w%-._~]", function(char)
    return ("%%%02X"):format(char:byte())
  end))
end

local function malformed(text)
  text = #text <= 1000 and text:gsub(":[^:@/]*@", ":***@") or "..."
  errors.raise("ArgumentError",
    "'%s' is not a database URL; it looks like 'sqlite:///file.db' or 'sqlite://' (in memory)", text)
end

local function parse_query(text)
  local query = {}
  for pair in text:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=(.*)$")
    query[decode(name or pair)] = decode(value or "")
  end
  return query
end

local LAST_PORT, MOST_DIGITS = 65535, 5

-- "user:password@host:port"; an IPv6 address stands in brackets.
local function parse_authority(self, text)
  local user, place = text:match("^(.*)@(.*)$")
  place = place or text
  if user then
    local name, password = user:match("^([^:]*):(.*)$")
    self.username, self.password = decode(name or user), password and decode(password)
  end
  local host, port = place:match("^(%[[^%[%]]*%])(.*)$")
  if not host then
    host, port = place:match("^([^:%[%]]*)(.*)$")
  end
  local digits = port:match("^:(%d*)$")
  if port ~= "" and (not digits or #digits > MOST_DIGITS or (tonumber(digits) or 0) > LAST_PORT) then
    return false
  end
  self.host = host ~= "" and host or nil
  self.port = digits and tonumber(digits)
  return true
end

--- Takes a URL apart; a URL object is given back as it is.
---@param text string|orrery.URL
---@return orrery.URL
function url.parse(text)
  if getmetatable(text) == metatable then
    return text
  elseif type(text) ~= "string" then
    errors.raise("ArgumentError", "a database URL such as 'sqlite:///file.db' expected, got %s", errors.show(text))
  end
  local scheme, rest = text:match("^([%w+_.-]+)://(.*)$")
  if not scheme then
    malformed(text)
  end
  local before, query = rest:match("^([^?]*)%?(.*)$")
  local authority, database = (before or rest):match("^([^/]*)/?(.*)$")
  local self = setmetatable({ drivername = scheme, query = parse_query(query or "") }, metatable)
  self.database = database ~= "" and database or nil
  if not parse_authority(self, authority) then
    malformed(text)
  end
  return self
end

--- The dialect's name: "postgresql" of "postgresql+psycopg".
---@return string
function URL:get_backend_name()
  return self.drivername:match("^[^+]+")
end

local function render_authority(self, hide)
  local text = self.username and encode(self.username) or ""
  if self.password then
    text = text .. ":" .. (hide and "***" or encode(self.password))
  end
  if self.username or self.password then -- an empty name is a name
    text = text .. "@"
  end
  return text .. (self.host or "") .. (self.port and ":" .. self.port or "")
end

--- The URL as text.
---@param options? { hide_password: boolean } true unless given
---@return string
function URL:render_as_string(options)
  options = errors.check_options(options, { hide_password = true }, "url:render_as_string()")
  local text = self.drivername .. "://" .. render_authority(self, options.hide_password ~= false)
  local pairs_of_query = {}
  for _, name in ipairs(errors.sorted_keys(self.query)) do
    pairs_of_query[#pairs_of_query + 1] = encode(name) .. "=" .. encode(self.query[name])
  end
  return text .. (self.database and "/" .. self.database or "")
    .. (pairs_of_query[1] and "?" .. table.concat(pairs_of_query, "&") or "")
end

--- A copy with some of its parts replaced.
---@param parts table the parts by name; `query` is a table of names and values
---@return orrery.URL
function URL:set(parts)
  parts = errors.check_options(parts, PARTS, "url:set()")
  local copy = setmetatable({}, metatable)
  for name in pairs(PARTS) do
    copy[name] = self[name]
    if parts[name] ~= nil then
      copy[name] = parts[name]
    end
  end
  return copy
end

--- A URL of its parts: URL.create{ drivername = "sqlite", database = "shop.db" }.
---@param parts table drivername, username, password, host, port, database, query (a table of names and values)
---@return orrery.URL
function url.create(parts)
  parts = errors.check_options(parts, PARTS, "URL.create()")
  if type(parts.drivername) ~= "string" or not parts.drivername:find("^[%w+_.-]+$") then
    errors.raise("ArgumentError", "URL.create(): drivername must be a name such as \"sqlite\", got %s",
      errors.show(parts.drivername))
  end
  return URL.set(setmetatable({ query = {} }, metatable), parts)
end

function metatable.__eq(left, right)
  return left:render_as_string{ hide_password = false } == right:render_as_string{ hide_password = false }
end

function metatable.__tostring(self)
  return self:render_as_string()
end

return url
