-- The map of the sources names every source file once, nothing else, and the Lua files in the order in which they load.
local manual = require "spec.docs.manual"

local function names_in(command)
  local names, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do
    names[#names + 1] = line
  end
  pipe:close()
  return names
end

-- A list item of the map begins with the files that it is about: "- `src/core/error.h`, `.c`: ..."
local function files_on(line)
  local head, files = line:match("^%- (.-): "), {}
  for name in (head or ""):gmatch("`([^`]+)`") do
    local ending = name:match("^%.%w+$")
    files[#files + 1] = ending and files[#files]:gsub("%.%w+$", ending) or name
  end
  return files
end

local function files_of_map()
  local files = {}
  for line in manual.read("docs/source-map.md"):gmatch("[^\n]+") do
    for _, name in ipairs(files_on(line)) do
      files[#files + 1] = name
    end
  end
  return files
end

local function sorted(list)
  local copy = { (table.unpack or unpack)(list) }
  table.sort(copy)
  return copy
end

describe("the map of the sources", function()
  it("names every source file once, and no other", function()
    local sources = names_in("find src lua/orrery -name '*.c' -o -name '*.h' -o -name '*.lua'")
    assert.same(sorted(sources), sorted(files_of_map()))
  end)

  it("has the Lua files in the order in which they load", function()
    local order, listed = names_in("cat lua/orrery/ORDER"), {}
    for _, path in ipairs(files_of_map()) do
      listed[#listed + 1] = path:match("^lua/orrery/(.*)%.lua$")
    end
    assert.same(order, listed)
  end)
end)
