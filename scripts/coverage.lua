-- coverage.lua: as a helper of busted, notes every line of lua/orrery that runs; called with the notes, compares them with
-- the lines that luac lists. scripts/coverage uses both.
local notes = ...

local function name_of(source)
  return source:match("^=orrery/(.*%.lua)$")
end

local function record(path)
  local seen = {}
  local function note(_, line)
    local source = debug.getinfo(2, "S").source
    local lines = seen[source] or {}
    seen[source], lines[line] = lines, true
  end
  debug.sethook(note, "l")
  local create, wrap = coroutine.create, coroutine.wrap
  local function hooked(fn)
    return function(...)
      debug.sethook(note, "l")
      return fn(...)
    end
  end
  coroutine.create = function(fn) return create(hooked(fn)) end -- luacheck: ignore
  coroutine.wrap = function(fn) return wrap(hooked(fn)) end -- luacheck: ignore
  local exit = os.exit
  os.exit = function(...) -- luacheck: ignore
    debug.sethook()
    local file = assert(io.open(path, "w"))
    for source, lines in pairs(seen) do
      for line in pairs(name_of(source) and lines or {}) do
        file:write(name_of(source), " ", line, "\n")
      end
    end
    file:close()
    exit(...)
  end
end

-- The lines of a file that have instructions; a function's last, "end", has one that only functions without return reach.
local function active_lines(path)
  local lines, pipe = {}, assert(io.popen("luac5.4 -p -l " .. path))
  for text in pipe:lines() do
    local line, code = text:match("^%s+%d+%s+%[(%d+)%]%s+(%u+)")
    if line and code ~= "RETURN" and code ~= "RETURN0" and code ~= "VARARGPREP" then
      lines[tonumber(line)] = true
    end
  end
  pipe:close()
  return lines
end

local function compare(path)
  local run = {}
  for text in io.lines(path) do
    local name, line = text:match("^(%S+) (%d+)$")
    run[name] = run[name] or {}
    run[name][tonumber(line)] = true
  end
  for name in io.lines("lua/orrery/ORDER") do
    local file, all, hit, missed = name .. ".lua", 0, 0, {}
    for line in pairs(active_lines("lua/orrery/" .. file)) do
      local was_run = run[file] and run[file][line]
      all, hit = all + 1, hit + (was_run and 1 or 0)
      missed[#missed + 1] = not was_run and line or nil
    end
    table.sort(missed)
    print(("%6.2f %% of %5d lua lines  %s  %s"):format(100 * hit / math.max(all, 1), all, file,
      table.concat(missed, " ", 1, math.min(#missed, 12))))
  end
end

if os.getenv("COVERAGE_OUT") then
  record(os.getenv("COVERAGE_OUT"))
else
  compare(notes)
end
