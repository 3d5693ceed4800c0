-- exchange: a random history of rows whose unique values are swapped, rotated, handed on and taken over, beside a plain
-- model: with savepoints in savepoints, flushes that fail, expiry, merges and changing keys. Returns a function of a seed
-- and a number of steps that gives nil, or what went wrong and the steps that led there.
local orm = require "orrery"
local database = require "spec.support.database"

return function(seed, rounds)
  local state = seed * 7919 + 13
  local function rand(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
  for _ = 1, 5 do rand(2) end
  local function chance(p) return rand(100) <= p end
  local function pick(list) return list[rand(#list)] end

  local trace = {}
  local function log(...) trace[#trace + 1] = table.concat({ ... }, " ") end

  -- Rows refer to rows of their own table in some histories, to none in others; NULL is allowed in some.
  local tree, nullable, versioned = chance(50), chance(50), chance(40)
  local base = orm.declarative_base()
  local Item = base:model("Item", { __tablename__ = "item", id = orm.Column(orm.Integer, { primary_key = true }),
    code = orm.Column(orm.Text, { unique = true, nullable = nullable }),
    x = orm.Column(orm.Integer), y = orm.Column(orm.Integer), v = orm.Column(orm.Integer),
    parent_id = tree and orm.Column(orm.Integer, orm.ForeignKey("item.id", { onupdate = "CASCADE" })) or nil,
    parent = tree and orm.relationship("Item", { back_populates = "children", remote_side = "id" }) or nil,
    children = tree and orm.relationship("Item", { back_populates = "parent" }) or nil,
    __table_args__ = { orm.UniqueConstraint("x", "y") },
    __mapper_args__ = versioned and { version_id_col = "v" } or nil })
  local engine = database.create(base)
  local session = orm.Session(engine, { autoflush = chance(50), expire_on_commit = chance(60) })

  local failing = 0
  orm.event.listen(engine, "before_cursor_execute", function(_, sql)
    if failing > 0 and not sql:find("^SELECT") then
      failing = failing - 1
      if failing == 0 then error("injected", 0) end
    end
  end)

  local M, counter, saved = {}, 0, {}   -- entries { obj, code, x, y }, those that are deleted taken out at once
  local committed
  local function copy(list)
    local out = {}
    for i, e in ipairs(list) do
      out[i] = { obj = e.obj, code = e.code, x = e.x, y = e.y }
    end
    return out
  end
  committed = copy(M)

  local function fresh()
    counter = counter + 1
    return "c" .. counter
  end

  local function flush()
    session:flush()
  end

  local function check()
    flush()
    local want = {}
    for i, e in ipairs(M) do
      assert(e.obj.code == e.code, ("code: want %s, got %s"):format(tostring(e.code), tostring(e.obj.code)))
      assert(e.obj.x == e.x and e.obj.y == e.y, "x, y")
      want[i] = ("%s|%s|%s"):format(e.code or "NULL", e.x or "NULL", e.y or "NULL")
      assert(session:get(Item, e.obj.id) == e.obj, "identity")
    end
    local got = database.rows(session, "SELECT code, x, y FROM item")
    table.sort(want)
    table.sort(got)
    want, got = table.concat(want, " "), table.concat(got, " ")
    assert(want == got, ("rows:\n want %s\n got  %s"):format(want, got))
    assert(#database.rows(session, "PRAGMA foreign_key_check") == 0, "foreign keys")
  end

  local function add(code, x, y)
    local e = { obj = Item { code = code, x = x, y = y }, code = code, x = x, y = y }
    if tree and M[1] and chance(40) then
      e.obj.parent = pick(M).obj
    end
    session:add(e.obj)
    M[#M + 1] = e
    return e
  end

  local function is_stored(e)
    return orm.inspect(e.obj).persistent
  end

  local function some(count)
    local list, left = {}, copy(M)
    for i, e in ipairs(M) do left[i] = e end
    while #list < count and #left > 0 do
      list[#list + 1] = table.remove(left, rand(#left))
    end
    return list
  end

  local function rotate(list, field)
    local first = list[1][field]
    for i, e in ipairs(list) do
      local value = first
      if list[i + 1] then value = list[i + 1][field] end
      e[field], e.obj[field] = value, value
    end
  end

  local function remove(e)
    for i, other in ipairs(M) do
      if other == e then table.remove(M, i) end
    end
    if tree then
      for _, child in ipairs(e.obj.children:to_table()) do
        child.parent = nil
      end
    end
    session:delete(e.obj)
  end

  local ops = {
    function() add(fresh(), rand(50) * 1000 + counter, counter) log("new", M[#M].code) end,
    function()
      if not M[1] then return end
      local e = pick(M)
      e.code = nullable and chance(20) and nil or fresh()
      e.obj.code = e.code
      log("code", tostring(e.code))
    end,
    function()
      if #M < 2 then return end
      local list, names = some(rand(4) + 1), {}
      for i, e in ipairs(list) do names[i] = tostring(e.code) end
      log("rotate", table.concat(names, " "))
      rotate(list, "code")
    end,
    function()
      if #M < 2 then return end
      local list = some(rand(3) + 1)
      log("rotate pairs", tostring(#list))
      rotate(list, "x")
      rotate(list, "y")
    end,
    function()
      local list = {}
      for _, e in ipairs(M) do if is_stored(e) then list[#list + 1] = e end end
      if #list < 2 then return end
      local one, two = pick(list), pick(list)
      if one == two then return end
      log("exchange keys of", tostring(one.code), tostring(two.code))
      flush()
      local a, b = one.obj.id, two.obj.id
      one.obj.id, two.obj.id = b, a
    end,
    function()
      local list = {}
      for _, e in ipairs(M) do if is_stored(e) then list[#list + 1] = e end end
      if #list == 0 then return end
      local e = pick(list)
      log("delete", tostring(e.code))
      local code, x, y = e.code, e.x, e.y
      flush()
      session:no_autoflush(function()
        remove(e)
        if chance(60) then
          log("  and give its values to a new one")
          add(code, x, y)
        elseif M[1] and chance(60) then
          local heir = pick(M)
          log("  and its code to", tostring(heir.code))
          heir.code, heir.obj.code = code, code
        end
      end)
    end,
    function() log("flush") flush() end,
    function() log("check") check() end,
    function()
      log("expire")
      flush()
      if M[1] and chance(50) then session:expire(pick(M).obj) else session:expire_all() end
    end,
    function()
      log("fail")
      failing = rand(4)
      local ok, err = pcall(session.flush, session)
      failing = 0
      assert(ok or err == "injected" or tostring(err):find("injected"), err)
    end,
    function()
      if #M < 2 then return end
      flush()
      local list = some(2)
      local one, two = list[1], list[2]
      if two.code == nil or one.code == two.code then return end
      log("collide", tostring(one.code), two.code)
      one.obj.code = two.code
      local ok, err = pcall(session.flush, session)
      assert(not ok and err.kind == "IntegrityError", "a collision went unnoticed: " .. tostring(err))
      assert(one.obj.code == two.code, "the value is as it was before the flush")
      one.obj.code = one.code
      flush()
    end,
    function()
      if not M[1] or #saved > 3 then return end
      log("savepoint")
      local nested = session:begin_nested()
      saved[#saved + 1] = { nested = nested, model = copy(M) }
    end,
    function()
      local top = table.remove(saved)
      if not top then return end
      if chance(50) then
        log("keep savepoint")
        top.nested:commit()
      else
        log("back to savepoint")
        top.nested:rollback()
        M = top.model
      end
      check()
    end,
    function()
      if not M[1] then return end
      flush()
      local e = pick(M)
      local given = Item { id = e.obj.id, code = fresh() }
      log("merge", tostring(e.code), given.code)
      assert(session:merge(given) == e.obj, "merge gives the session's own object")
      e.code = given.code
    end,
    function()
      log("commit")
      saved = {}
      session:commit()
      committed = copy(M)
    end,
    function()
      if not chance(40) then return end
      log("rollback")
      saved = {}
      session:rollback()
      M = copy(committed)
      check()
    end,
  }

  local ok, err = xpcall(function()
    for _ = 1, 6 do ops[1]() end
    for _ = 1, rounds do
      pick(ops)()
    end
    saved = {}
    session:commit()
    check()
  end, function(e) return debug.traceback(tostring(e), 2) end)
  session:close()
  engine:dispose()
  if not ok then
    return ("seed %d (%s%s%s), step %d: %s\n%s"):format(seed, tree and "tree " or "", nullable and "nullable " or "",
      versioned and "versioned" or "", #trace, err, table.concat(trace, "\n", math.max(1, #trace - 30), #trace))
  end
  return nil
end
