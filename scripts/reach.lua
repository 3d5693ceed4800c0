-- reach.lua: which lines and branches of the C files a run has reached, and the sum over runs. scripts/coverage notes them,
-- scripts/mutation asks which specs reach a line.
-- usage: reach.lua note FILE < `gcov -t -b -c`;  reach.lua sum FOLDER SUMMARY MISSED
-- A note has a line for each source: its name, a checksum of it (what was noted of another version of it does not count), lines
-- with code, lines that ran, branches, branches taken (as line.number). A line whose comment says "out of reach: why" has guards
-- against what no run can bring about; those of its branches that nothing takes do not count.
local reach = {}

local function checksums()
  local sums, pipe = {}, assert(io.popen("cksum src/*/*.c"))
  for text in pipe:lines() do
    local sum, source = text:match("^(%d+) %d+ (.*)$")
    sums[source] = sum
  end
  pipe:close()
  return sums
end

local function read_line(text, of)
  local count, line = text:match("^%s*([%d#=%-]+)%*?:%s*(%d+):")
  if not count or line == "0" then
    return
  end
  of.line, of.taken = line, 0
  if count ~= "-" then
    of.lines[#of.lines + 1] = line
    of.run[#of.run + 1] = count:find("%d") and line or nil
  end
end

local function read_branch(text, of)
  local number, what = text:match("^branch%s+(%d+) (.*)")
  if number then
    local name = of.line .. "." .. number
    of.branches[#of.branches + 1] = name
    of.went[#of.went + 1] = what:find("^taken [1-9]") and name or nil
  end
end

local FIELDS = { "lines", "run", "branches", "went" }

--- { [source] = { lines, run, branches, went } }, of the output of gcov.
local function read_gcov(input)
  local sources, of = {}, nil
  for text in input:lines() do
    local source = text:match("^%s*%-:%s*0:Source:(.*)$")
    if source then
      of = { lines = {}, run = {}, branches = {}, went = {} }
      sources[source:find("^src/.*%.c$") and source or ""] = of
    elseif of then
      read_line(text, of)
      read_branch(text, of)
    end
  end
  sources[""] = nil
  return sources
end

local function note(path)
  local file, sums = assert(io.open(path, "w")), checksums()
  for source, of in pairs(read_gcov(io.stdin)) do
    file:write(source, "|", sums[source])
    for _, field in ipairs(FIELDS) do
      file:write("|", table.concat(of[field], " "))
    end
    file:write("\n")
  end
  file:close()
end

local function set(words)
  local all = {}
  for word in words:gmatch("%S+") do
    all[word] = true
  end
  return all
end

-- { [source] = { lines = set, run = set, branches = set, went = set } } of a note.
local function read(path, sums)
  local sources = {}
  for text in io.lines(path) do
    local source, sum, lines, run, branches, went = text:match("^(.-)|(.-)|(.-)|(.-)|(.-)|(.*)$")
    if sums[source] == sum then
      sources[source] = { lines = set(lines), run = set(run), branches = set(branches), went = set(went) }
    end
  end
  return sources
end

--- The notes of a folder: { [name] = note }, and their names in order.
function reach.read_all(folder)
  local notes, names, sums = {}, {}, checksums()
  local pipe = assert(io.popen("cd " .. folder .. " && find . -type f | sed 's,^./,,' | LC_ALL=C sort"))
  for name in pipe:lines() do
    notes[name], names[#names + 1] = read(folder .. "/" .. name, sums), name
  end
  pipe:close()
  return notes, names
end

local function size(s)
  local n = 0
  for _ in pairs(s) do
    n = n + 1
  end
  return n
end

local function add(all, some)
  for key in pairs(some) do
    all[key] = true
  end
end

local function by_line(branches)
  local names = {}
  for name in pairs(branches) do
    local line = name:match("^%d+")
    names[line] = names[line] or {}
    table.insert(names[line], name)
  end
  for line, all in pairs(names) do
    table.sort(all)
    names[line] = table.concat(all, " ")
  end
  return names
end

-- A line can have other branches on Lua 5.1, whose macros are others: there, 5.4's alone count, as one cannot be told by the
-- number of the other.
function reach.drop_other_branches(notes)
  local lines = {}
  for name, sources in pairs(notes) do
    for source, of in pairs(name ~= "5.1" and sources or {}) do
      lines[source] = lines[source] or by_line(of.branches)
    end
  end
  for source, of in pairs(notes["5.1"] or {}) do
    local there, here = lines[source] or {}, by_line(of.branches)
    for name in pairs(of.branches) do
      local line = name:match("^%d+")
      if there[line] and there[line] ~= here[line] then
        of.branches[name], of.went[name] = nil, nil
      end
    end
  end
end

--- All runs together; those that `wanted` says.
local function merge(notes, wanted)
  local sum = {}
  for name, sources in pairs(notes) do
    for source, of in pairs(sources) do
      sum[source] = sum[source] or { lines = {}, run = {}, branches = {}, went = {} }
      for _, field in ipairs(wanted(name) and FIELDS or { "lines", "branches" }) do
        add(sum[source][field], of[field])
      end
    end
  end
  return sum
end

local function by_branch(a, b)
  local line_a, number_a = a:match("(%d+)%.(%d+)")
  local line_b, number_b = b:match("(%d+)%.(%d+)")
  return line_a * 1000 + number_a < line_b * 1000 + number_b
end

local function source_lines(path)
  local all = {}
  for text in io.lines(path) do
    all[#all + 1] = text
  end
  return all
end

-- Macros of Lua that ask for the result of a function which does not return, or never gives NULL: so many branches each.
local MACROS = { luaL_argcheck = 2, luaL_addchar = 2, luaL_argexpected = 2 }

-- How many of the branches of a line nothing can take.
local function out_of_reach(text)
  if text:find("out of reach: ", 1, true) then
    return math.huge
  end
  return MACROS[text:match("(luaL_%w+)%(")] or 0
end

local function drop_out_of_reach(of, lines)
  local dropped, left = 0, {}
  local names = {}
  for name in pairs(of.branches) do
    names[#names + 1] = not of.went[name] and name or nil
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local line = tonumber(name:match("^%d+"))
    left[line] = left[line] or out_of_reach(lines[line])
    if left[line] > 0 then
      of.branches[name], dropped, left[line] = nil, dropped + 1, left[line] - 1
    end
  end
  return dropped
end

-- Branches that nothing takes, as file:line, how many there, and the line itself.
local function write_missed(out, source, of, lines)
  local missed, counts = {}, {}
  for name in pairs(of.branches) do
    missed[#missed + 1] = not of.went[name] and name or nil
  end
  table.sort(missed, by_branch)
  for i, name in ipairs(missed) do
    local line = name:match("^%d+")
    counts[line] = (counts[line] or 0) + 1
    if (missed[i + 1] or ""):match("^%d+") ~= line then
      out:write(("%s:%s %s%d  %s\n"):format(source, line, of.run[line] and "" or "not run, ", counts[line],
        lines[tonumber(line)]:match("^%s*(.*)")))
    end
  end
end

local function share(some, all)
  return 100 * some / math.max(all, 1)
end

local function sum(folder, summary_path, missed_path)
  local notes = reach.read_all(folder)
  reach.drop_other_branches(notes)
  local specs = merge(notes, function(name) return not name:find("^fault/") end)
  local all = merge(notes, function() return true end)
  local rows, total = {}, { branches = 0, specs = 0, all = 0, dropped = 0 }
  local missed = assert(io.open(missed_path, "w"))
  local names = {}
  for source in pairs(all) do
    names[#names + 1] = source
  end
  table.sort(names)
  for _, source in ipairs(names) do
    local of, lines = all[source], source_lines(source)
    total.dropped = total.dropped + drop_out_of_reach(of, lines)
    local count = size(of.branches)
    local by_specs, by_any = size(specs[source].went), size(of.went)
    total.branches, total.specs, total.all = total.branches + count, total.specs + by_specs, total.all + by_any
    rows[#rows + 1] = ("%6.2f %% (%6.2f %% with fault runs) of %5d branches, %6.2f %% of %4d lines  %s"):format(
      share(by_specs, count), share(by_any, count), count, share(size(specs[source].run), size(of.lines)), size(of.lines),
      source)
    write_missed(missed, source, of, lines)
  end
  missed:close()
  table.sort(rows)
  rows[#rows + 1] = ("C branches: %.1f %% of %d taken by specs, %.1f %% by specs or fault runs; %d more out of reach"):format(
    share(total.specs, total.branches), total.branches, share(total.all, total.branches), total.dropped)
  local summary = assert(io.open(summary_path, "w"))
  summary:write(table.concat(rows, "\n"), "\n")
  summary:close()
end

local tasks = { note = note, sum = sum }
local task = arg and tasks[arg[1]]
if task and (arg[0] or ""):find("reach%.lua$") then
  task(arg[2], arg[3], arg[4])
end
return reach
