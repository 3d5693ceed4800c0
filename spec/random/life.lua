-- life: engines, connections, cursors, sessions and objects made, used, closed, collected and thrown from in whatever order
-- a source of bytes says. Every call must succeed or raise an error of Orrery's (or the one that was thrown on purpose);
-- what a crash would be, the sanitizers say.
local orm = require "orrery"
local library = require "spec.support.library"

local THROWN = setmetatable({}, { __tostring = function() return "thrown on purpose" end })
-- What Lua itself answers where a script yields or resumes at the wrong place.
local LUAS_OWN = { "attempt to yield", "cannot resume", "outside a coroutine" }

local function is_fair(err)
  if err == THROWN or orm.is_error(err) then
    return true
  end
  for _, words in ipairs(LUAS_OWN) do
    if type(err) == "string" and err:find(words, 1, true) then
      return true
    end
  end
  return false
end

local EVENTS = { "before_flush", "after_flush", "before_commit", "after_commit", "after_rollback" }
local MAPPER_EVENTS = { "before_insert", "after_insert", "before_update", "before_delete", "load" }

-- The world that the steps act on; lists keep at most eight of a kind, the oldest is dropped and may be collected.
local function new_world(byte)
  local lib = library.open()
  local world = { lib = lib, byte = byte, sessions = { lib.session }, objects = {}, cursors = {}, connections = {},
    routines = {}, depth = 0 }
  function world.keep(kind, value)
    local list = world[kind]
    list[#list + 1] = (kind ~= "objects" or type(value) == "userdata") and value or nil
    if #list > 8 then
      table.remove(list, 1)
    end
    return value
  end
  -- nil only where there is none.
  function world.pick(kind)
    local list = world[kind]
    return list[byte() % math.max(#list, 1) + 1]
  end
  return world
end

local STEPS

local function step(world)
  local fn = STEPS[world.byte() % #STEPS + 1]
  local ok, err = pcall(fn, world)
  if not ok and not is_fair(err) then
    world.wrong = world.wrong or ("an error that is none of ours: " .. tostring(err))
  end
end

-- What a listener does: nothing, throw, yield, or any step again.
local function misbehave(world)
  local what = world.byte() % 5
  if what == 0 then
    error(THROWN, 0)
  elseif what == 1 and coroutine.running() then
    coroutine.yield()
  elseif what < 4 and world.depth < 4 then
    world.depth = world.depth + 1
    step(world)
    world.depth = world.depth - 1
  end
end

local function session_of(world)
  return world.pick("sessions") or world.lib.session
end

local function object_of(world)
  return world.pick("objects") or world.keep("objects", world.lib.Author { name = "x" })
end

local function class_of(world)
  return ({ world.lib.Author, world.lib.Book, world.lib.Tag })[world.byte() % 3 + 1]
end

local function listen_to(world, target, events)
  local armed = true
  orm.event.listen(target, events[world.byte() % #events + 1], function()
    if armed then
      armed = world.byte() % 3 ~= 0
      misbehave(world)
    end
  end)
end

local function on_session(name, ...)
  local arguments = { ... }
  return function(world)
    local session = session_of(world)
    session[name](session, (table.unpack or unpack)(arguments))
  end
end

local function with_object(name)
  return function(world)
    local session = session_of(world)
    session[name](session, object_of(world))
  end
end

STEPS = {
  function(world) world.keep("sessions", orm.Session(world.lib.engine, { autoflush = world.byte() % 2 == 0 })) end,
  function(world) world.keep("objects", class_of(world) {}) end,
  function(world)
    local author = world.keep("objects", world.lib.Author { name = "n" .. world.byte() })
    author.books:add(world.lib.Book { title = "t" })
  end,
  function(world) world.keep("objects", session_of(world):get(class_of(world), world.byte() % 6)) end,
  function(world) world.keep("objects", session_of(world):query(class_of(world)):first()) end,
  with_object("add"), with_object("delete"), with_object("expunge"), with_object("refresh"), with_object("expire"),
  with_object("merge"),
  on_session("flush"), on_session("commit"), on_session("rollback"), on_session("close"), on_session("expire_all"),
  on_session("expunge_all"), on_session("begin"), on_session("begin_nested"),
  function(world) object_of(world).name = "changed" .. world.byte() end,
  function(world) object_of(world).title = nil end,
  function(world) object_of(world).id = world.byte() % 4 end,
  function(world)
    local object = object_of(world)
    world.keep("objects", object.author or object.books and object.books[1])
  end,
  function(world)
    for _, book in ipairs(object_of(world).books:to_table()) do
      world.keep("objects", book)
      step(world)
    end
  end,
  function(world) object_of(world).author = object_of(world) end,
  function(world) object_of(world).books:add(object_of(world)) end,
  function(world) object_of(world).books:remove(object_of(world)) end,
  function(world) object_of(world).tags:add(object_of(world)) end,
  function(world) world.keep("connections", world.lib.engine:connect()) end,
  function(world) (world.pick("connections") or world.lib.engine:connect()):close() end,
  function(world)
    local conn = world.pick("connections") or session_of(world):connection()
    world.keep("cursors", conn:execute(orm.text("SELECT id, name FROM author UNION ALL SELECT id, title FROM book")))
  end,
  function(world)
    local session = session_of(world)
    world.keep("cursors", session:execute(orm.select(class_of(world)):execution_options { yield_per = 1 }))
  end,
  function(world)
    local cursor = world.pick("cursors") or session_of(world):scalars(orm.select(world.lib.Tag))
    world.keep("objects", cursor:first())
  end,
  function(world)
    local cursor = world.pick("cursors")
    if cursor then
      local row = cursor:fetchone()
      world.keep("objects", row and row[1])
    end
  end,
  function(world)
    local cursor = world.pick("cursors")
    if cursor then
      cursor:close()
    end
  end,
  function(world) session_of(world):begin(function() step(world) misbehave(world) end) end,
  function(world) listen_to(world, session_of(world), EVENTS) end,
  function(world) listen_to(world, class_of(world), MAPPER_EVENTS) end,
  function(world)
    local routine = coroutine.create(function()
      for _ = 1, world.byte() % 6 do
        step(world)
        if world.byte() % 2 == 0 then
          coroutine.yield()
        end
      end
    end)
    coroutine.resume(world.keep("routines", routine))
  end,
  function(world)
    local routine = world.pick("routines")
    if routine then
      local ok, err = coroutine.resume(routine)
      if not ok then
        error(err, 0)
      end
    end
  end,
  function() collectgarbage() end,
  function(world) world.objects = {} collectgarbage("step", 50) end,
  function(world) world.cursors, world.routines = {}, {} collectgarbage() end,
  function(world) world.sessions = {} end,
  function(world)
    if world.byte() % 8 == 0 then
      world.lib.engine:dispose()
    end
  end,
  function(world)
    local session = session_of(world)
    session:execute(orm.update(world.lib.Book):values { year = world.byte() })
  end,
  function(world) orm.make_transient(object_of(world)) end,
}

--- Runs what the bytes say until they are used up. `byte()` gives 0 to 255, or nil at the end.
---@return string? wrong
return function(byte)
  local former, ended = orm.on_warning(function() end), false
  local world = new_world(function()
    local value = byte()
    ended = ended or value == nil
    return value or 0
  end)
  while not ended and not world.wrong do
    step(world)
  end
  orm.on_warning(former)
  return world.wrong
end
