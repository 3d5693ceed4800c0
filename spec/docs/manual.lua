-- manual: reads the fenced blocks of a Markdown file and runs its Lua as one program.
local manual = {}

local setfenv = setfenv -- luacheck: ignore

function manual.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\n?$", "\n")):gmatch("(.-)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

--- The fenced blocks of a Markdown text, in order: { language =, line = of its fence, lines =, text = }.
function manual.blocks(text)
  local blocks, current = {}, nil
  for number, line in ipairs(lines_of(text)) do
    local language = line:match("^```(.*)$")
    if language and current then
      current.text = table.concat(current.lines, "\n")
      blocks[#blocks + 1], current = current, nil
    elseif language then
      current = { language = language, line = number, lines = {} }
    elseif current then
      current.lines[#current.lines + 1] = line
    end
  end
  assert(not current, "a fenced block is not closed")
  return blocks
end

-- "-- prints: 3" stands behind or below the code that prints it.
local function said_in_comments(block)
  local said = {}
  for _, line in ipairs(block.lines) do
    said[#said + 1] = line:match("%-%- prints: (.*)$")
  end
  return said[1] and table.concat(said, "\n")
end

--- The Lua blocks, each with what the manual says that it prints: in a text block right after it, or in comments.
function manual.program(blocks)
  local program = {}
  for position, block in ipairs(blocks) do
    local following = blocks[position + 1]
    if block.language == "lua" then
      local beside = following and following.language == "text"
      block.prints = beside and following.text or said_in_comments(block) or ""
      program[#program + 1] = block
    end
  end
  return program
end

-- One chunk, so that locals of a block are seen by the next; its lines are those of the Markdown file.
local function source_of(program)
  local lines = {}
  for number, block in ipairs(program) do
    while #lines < block.line - 1 do
      lines[#lines + 1] = ""
    end
    lines[#lines + 1] = ("__block(%d)"):format(number)
    for _, line in ipairs(block.lines) do
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n")
end

local function load_in(source, name, environment)
  if setfenv then
    return setfenv(assert(loadstring(source, name)), environment) -- luacheck: ignore
  end
  return assert(load(source, name, "t", environment))
end

--- Runs the blocks of one file in their order and returns what each printed. An error carries the file's line.
function manual.run(program, name)
  local printed, current = {}, nil
  local function print(...)
    local parts = {}
    for position = 1, select("#", ...) do
      parts[position] = tostring((select(position, ...)))
    end
    current[#current + 1] = table.concat(parts, "\t")
  end
  local environment = setmetatable({
    print = print,
    __block = function(number)
      current = {}
      printed[number] = current
    end,
  }, { __index = _G })
  load_in(source_of(program), "@" .. name, environment)()
  for number, lines in ipairs(printed) do
    printed[number] = table.concat(lines, "\n")
  end
  return printed
end

return manual
