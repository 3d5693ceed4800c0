-- What the specs of the examples share: running a script as a process of its own, and checking what it printed.
local assert = require "luassert"

local support = {}

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Runs a script with the interpreter that runs the specs; gives what it printed (both streams) and its exit status.
---@param path string
---@param ... string arguments
---@return string output
---@return integer status
function support.run(path, ...)
  local words = { quote(os.getenv("LUA_PROGRAM") or "lua5.4"), quote(path) }
  for position = 1, select("#", ...) do
    words[#words + 1] = quote((select(position, ...)))
  end
  -- Not every Lua gives the status of a pipe.
  local pipe = assert(io.popen(table.concat(words, " ") .. " 2>&1; echo \"status $?\""))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*)status (%d+)\n$")
  return output, tonumber(status)
end

--- Asserts that the output has these whole lines in this order, with any others between them.
---@param lines string[]
---@param output string
function support.check_lines(lines, output)
  local text, at = "\n" .. output, 1
  for _, line in ipairs(lines) do
    local _, last = text:find("\n" .. line .. "\n", at, true)
    assert.truthy(last, "the line '" .. line .. "' is not where it should be in:\n" .. output)
    at = last
  end
end

--- All bytes of a file.
---@param path string
---@return string
function support.bytes_of(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

return support
