-- The manual: its Lua blocks run as they stand, in order, and print what the text says; its links lead somewhere.
local orm = require "orrery"
local manual = require "spec.docs.manual"

local PAGES, FILES = {}, { "README.md", "CHANGELOG.md", "CONTRIBUTING.md" }
for path in io.popen("find docs -name '*.md' | LC_ALL=C sort"):lines() do
  PAGES[#PAGES + 1], FILES[#FILES + 1] = path, path
end

local function exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close() ~= nil
end

-- "Two words" is found as "#two-words".
local function anchors_of(text)
  local anchors = {}
  for title in ("\n" .. text):gmatch("\n#+ ([^\n]+)") do
    anchors[title:lower():gsub("[^%w%- _]", ""):gsub(" ", "-")] = true
  end
  return anchors
end

local function without_blocks(text)
  return (text:gsub("\n```.-\n```", "\n"))
end

local function without_code(text)
  return (without_blocks(text):gsub("`[^`\n]*`", ""))
end

-- Names of the library in running text, `orm.select` or `session:add(x)`: { owner, name, whether it is called }.
local function names_in(text)
  local names = {}
  for code in without_blocks(text):gmatch("`([^`\n]*)`") do
    for owner, name, after in code:gmatch("%f[%w/](%a+)[.:]([%a_]+)(%(?)") do
      names[#names + 1] = { owner, name, after == "(" }
    end
  end
  return names
end

local function owners()
  local engine = orm.create_engine("sqlite://")
  return { orm = orm, engine = engine, session = orm.Session(engine), conn = engine:connect() }
end

local function has(owner, name)
  local ok, value = pcall(function()
    return owner[name]
  end)
  return ok and value ~= nil
end

describe("the manual", function()
  for _, path in ipairs(FILES) do
    it(path .. " has links that lead somewhere", function()
      local folder = path:match("^(.*/)") or ""
      for link in without_code(manual.read(path)):gmatch("%]%(([^)]*)%)") do
        local target, anchor = link:match("^([^#]*)#?(.*)$")
        local file = target == "" and path or folder .. target
        if not link:find("^https?:") then
          assert.is_true(exists(file), path .. ": " .. link)
          assert.is_true(anchor == "" or anchors_of(manual.read(file))[anchor] == true, path .. ": " .. link)
        end
      end
    end)
  end

  it("names what exists, and under 'Not there' what does not", function()
    local known = owners()
    for _, path in ipairs(FILES) do
      local text, missing = manual.read(path):match("^(.-)\n## Not there\n(.*)$")
      for _, use in ipairs(names_in(text or manual.read(path))) do
        local owner = known[use[1]]
        assert.is_true(not owner or has(owner, use[2]), ("%s: there is no %s.%s"):format(path, use[1], use[2]))
      end
      for _, use in ipairs(names_in(missing or "")) do
        local owner = known[use[1]]
        assert.is_true(not owner or has(owner, use[2]) == use[3], ("%s: what of %s.%s?"):format(path, use[1], use[2]))
      end
    end
  end)

  it("is named page by page in the README", function()
    local readme = manual.read("README.md")
    for _, path in ipairs(PAGES) do
      assert.truthy(readme:find("](" .. path .. ")", 1, true), path)
    end
  end)

  for _, path in ipairs(PAGES) do
    local program = manual.program(manual.blocks(manual.read(path)))
    if #program > 0 then
      it(path .. " runs and prints what it says", function()
        local warnings = {}
        local former = orm.on_warning(function(message)
          warnings[#warnings + 1] = message
        end)
        local ok, printed = pcall(manual.run, program, path)
        orm.on_warning(former)
        assert(ok, printed)
        assert.same({}, warnings)
        for number, block in ipairs(program) do
          assert.equal(block.prints, printed[number], ("%s:%d"):format(path, block.line))
        end
      end)
    end
  end
end)

describe("the program of the README", function()
  local blocks = manual.program(manual.blocks(manual.read("README.md")))

  it("is about twenty lines long", function()
    assert.equal(1, #blocks)
    assert.is_true(#blocks[1].lines <= 26, #blocks[1].lines .. " lines")
  end)

  it("runs as a script of its own and prints what the README says", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(blocks[1].text, "\n")
    file:close()
    local pipe = assert(io.popen(("'%s' '%s' 2>&1"):format(os.getenv("LUA_PROGRAM") or "lua5.4", path)))
    local text = pipe:read("*a")
    pipe:close()
    os.remove(path)
    assert.equal(blocks[1].prints .. "\n", text)
  end)
end)
