-- history: a random history of one session beside a plain model of what must come out. Returns a function of a seed and a
-- number of steps that gives nil, or what went wrong and the steps that led there.
local orm = require "orrery"
local library = require "spec.support.library"
local database = require "spec.support.database"
return function(seed, rounds)

-- own generator, the same on every Lua
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

local former = orm.on_warning(function() end)

local lib = library.empty(nil, { autoflush = chance(60), expire_on_commit = chance(70) })
local engine, session = lib.engine, lib.session

-- model: name -> { kind=, obj=, fields..., author=modelauthor, books = set by reverse, tags = list }
local M                        -- list of model entries alive
local committed                -- deep copy of M
local function copy_model(m)
  local map, out = {}, {}
  for i, e in ipairs(m) do
    local c = {}
    for k, v in pairs(e) do c[k] = v end
    c.tags = {}
    map[e] = c
    out[i] = c
  end
  for i, e in ipairs(m) do
    local c = out[i]
    c.author = e.author and map[e.author] or nil
    for t in pairs(e.tags or {}) do c.tags[map[t]] = true end
  end
  return out
end
M, committed = {}, {}
local counter = 0
local function of(kind)
  local list = {}
  for _, e in ipairs(M) do
    if e.kind == kind and not e.doomed then list[#list + 1] = e end
  end
  return list
end

local failing = 0
orm.event.listen(engine, "before_cursor_execute", function(_, sql)
  if failing > 0 and not sql:find("^SELECT") then
    failing = failing - 1
    if failing == 0 then error("injected", 0) end
  end
end)

local function resolve_doomed()
  local gone = {}
  for i = #M, 1, -1 do
    local e = M[i]
    if e.doomed then gone[e] = true table.remove(M, i) end
  end
  if next(gone) then
    for _, e in ipairs(M) do
      if e.author and gone[e.author] then e.author = nil end
      for t in pairs(e.tags or {}) do if gone[t] then e.tags[t] = nil end end
    end
    return true
  end
end
local function has_doomed()
  for _, e in ipairs(M) do if e.doomed then return true end end
end

local function flush()
  session:flush()
  if resolve_doomed() then session:expire_all() end
end
-- Whether a deleted object has left the session meanwhile (a lazy load flushes too), the model brought up to it.
local function left_meanwhile()
  for _, e in ipairs(M) do
    if e.doomed and not session:contains(e.obj) then
      resolve_doomed()
      session:expire_all()
      return true
    end
  end
end
local function by_name(list)
  local names = {}
  for _, e in ipairs(list) do names[#names + 1] = e.name end
  table.sort(names)
  return table.concat(names, ",")
end
local function obj_names(coll, field)
  local names = {}
  for _, o in coll do names[#names + 1] = o[field] or "?" end
  table.sort(names)
  return table.concat(names, ",")
end

local function check_memory()
  for _, e in ipairs(M) do
    if not e.doomed then
      if e.kind == "author" then
        assert(e.obj.name == e.name, "author name")
        local list = {}
        for _, b in ipairs(M) do if b.kind == "book" and b.author == e and not b.doomed then list[#list + 1] = b end end
        local want, got = by_name(list), obj_names(e.obj.books, "title")
        assert(want == got, ("books of %s: want %s got %s"):format(e.name, want, got))
      elseif e.kind == "book" then
        assert(e.obj.title == e.name, "title")
        assert(e.obj.year == e.year, ("year of %s: want %s got %s"):format(e.name, tostring(e.year), tostring(e.obj.year)))
        local a = e.obj.author
        assert((a and a.name) == (e.author and e.author.name), ("author of %s: want %s got %s"):format(e.name,
          tostring(e.author and e.author.name), tostring(a and a.name)))
        local list = {}
        for t in pairs(e.tags) do if not t.doomed then list[#list + 1] = t end end
        local want, got = by_name(list), obj_names(e.obj.tags, "name")
        assert(want == got, ("tags of %s: want %s got %s"):format(e.name, want, got))
      else
        local list = {}
        for _, b in ipairs(M) do if b.kind == "book" and b.tags[e] and not b.doomed then list[#list + 1] = b end end
        local want, got = by_name(list), obj_names(e.obj.books, "title")
        assert(want == got, ("books of tag %s: want %s got %s"):format(e.name, want, got))
      end
    end
  end
end

local function check_rows()
  local want = { a = {}, b = {}, t = {}, l = {} }
  for _, e in ipairs(M) do
    if e.kind == "author" then want.a[#want.a + 1] = e.name
    elseif e.kind == "tag" then want.t[#want.t + 1] = e.name
    else
      want.b[#want.b + 1] = ("%s|%s|%s"):format(e.name, e.author and e.author.name or "NULL",
        e.year and tostring(e.year) or "NULL")
      for t in pairs(e.tags) do want.l[#want.l + 1] = e.name .. "|" .. t.name end
    end
  end
  for _, l in pairs(want) do table.sort(l) end
  local got = {
    a = database.rows(session, "SELECT name FROM author ORDER BY name"),
    t = database.rows(session, "SELECT name FROM tag ORDER BY name"),
    b = database.rows(session, "SELECT b.title, a.name, b.year FROM book b LEFT JOIN author a ON a.id = b.author_id"),
    l = database.rows(session, "SELECT b.title, t.name FROM book_tag l JOIN book b ON b.id = l.book_id "
      .. "JOIN tag t ON t.id = l.tag_id"),
  }
  for k, l in pairs(got) do
    table.sort(l)
    local w, g = table.concat(want[k], " "), table.concat(l, " ")
    assert(w == g, ("rows %s:\n want %s\n got  %s"):format(k, w, g))
  end
end

local function new(kind)
  counter = counter + 1
  local e = { kind = kind, name = kind:sub(1, 1) .. counter, tags = kind == "book" and {} or nil }
  local fields = { [kind == "book" and "title" or "name"] = e.name }
  local class = kind == "book" and lib.Book or kind == "tag" and lib.Tag or lib.Author
  if kind == "book" then
    local authors = of "author"
    if #authors > 0 and chance(50) then e.author = pick(authors) fields.author = e.author.obj end
    local tags = of "tag"
    if #tags > 0 and chance(30) then
      local t = pick(tags) e.tags[t] = true fields.tags = { t.obj }
    end
  elseif kind == "author" and chance(40) then
    local books, list = of "book", {}
    if #books > 0 then local b = pick(books) b.author = e list[1] = b.obj end
    fields.books = list
  end
  e.obj = class(fields)
  session:add(e.obj)
  M[#M + 1] = e
  log("new", kind, e.name, e.author and e.author.name or "-")
end

local ops = {
  function() new(pick { "author", "book", "book", "tag" }) end,
  function()
    local b = of "book" if #b == 0 then return end
    local e = pick(b)
    e.year = chance(30) and nil or rand(3)
    log("year", e.name, tostring(e.year))
    e.obj.year = e.year
  end,
  function() -- book.author = x
    local b = of "book" if #b == 0 then return end
    local e, authors = pick(b), of "author"
    local a = #authors > 0 and chance(75) and pick(authors) or nil
    e.author = a
    log("book.author", e.name, a and a.name or "nil")
    e.obj.author = a and a.obj
  end,
  function() -- author.books change
    local authors, books = of "author", of "book"
    if #authors == 0 then return end
    local a = pick(authors)
    local list = a.obj.books
    if has_doomed() then -- lazy load may have flushed
      if left_meanwhile() then list = a.obj.books end
    end
    local how = rand(6)
    log("author.books", a.name, tostring(how))
    if how == 1 and #books > 0 then
      local b = pick(books)
      if b.author ~= a then b.author = a list:append(b.obj) end
    elseif how == 2 and #list > 0 then
      local o = list[rand(#list)]
      for _, b in ipairs(books) do if b.obj == o then b.author = nil end end
      list:remove(o)
    elseif how == 3 and #list > 0 then
      local o = list:pop(rand(#list))
      for _, b in ipairs(books) do if b.obj == o then b.author = nil end end
    elseif how == 4 then
      local new_list, seen = {}, {}
      for _, b in ipairs(books) do
        if chance(30) then new_list[#new_list + 1] = b.obj seen[b] = true end
      end
      for _, b in ipairs(books) do
        if seen[b] then b.author = a elseif b.author == a then b.author = nil end
      end
      a.obj.books = new_list
    elseif how == 5 and #list > 0 and #books > 0 then
      local at, b = rand(#list), pick(books)
      if b.author ~= a then
        for _, x in ipairs(books) do if x.obj == list[at] then x.author = nil end end
        b.author = a
        list[at] = b.obj
      end
    elseif how == 6 and #books > 0 then
      local b = pick(books)
      if b.author ~= a then b.author = a list:insert(rand(#list + 1), b.obj) end
    end
  end,
  function() -- tags
    local books, tags = of "book", of "tag"
    if #books == 0 or #tags == 0 then return end
    local b, t = pick(books), pick(tags)
    local side = chance(50)
    log("tag", b.name, t.name, tostring(side), b.tags[t] and "off" or "on")
    local list, item = side and b.obj.tags or t.obj.books, side and t.obj or b.obj
    if left_meanwhile() then list = side and b.obj.tags or t.obj.books end
    if b.tags[t] then b.tags[t] = nil list:remove(item) else b.tags[t] = true list:append(item) end
  end,
  function() -- delete
    if not chance(50) then return end
    local kind = pick { "author", "book", "tag" }
    local list = {}
    local waiting = {}
    for _, o in ipairs(session.new) do waiting[o] = true end
    for _, e in ipairs(of(kind)) do if not waiting[e.obj] then list[#list + 1] = e end end
    if #list == 0 then return end
    local e = pick(list)
    log("delete", e.name)
    session:delete(e.obj)
    e.doomed = true
    if chance(70) then log("  flush") flush() end
  end,
  function() log("flush") flush() end,
  function()
    log("commit")
    session:commit()
    resolve_doomed()
    if not session.expire_on_commit then session:expire_all() end
    check_rows()
    committed = copy_model(M)
    session:rollback()
  end,
  function()
    if not chance(40) then return end
    log("rollback")
    session:rollback()
    M = copy_model(committed)
    check_memory()
  end,
  function() log("gc") collectgarbage() end,
  function() -- expire after flush
    log("flush, expire_all")
    flush()
    session:expire_all()
  end,
  function()
    log("query")
    session:scalars(orm.select(lib.Book)):all()
    left_meanwhile()
  end,
  function() -- failing flush
    failing = rand(4)
    log("failing flush", tostring(failing))
    local ok, err = pcall(session.flush, session)
    failing = 0
    if ok then
      if resolve_doomed() then session:expire_all() end
    elseif err ~= "injected" and not tostring(err):find("injected") then
      error(err, 0)
    end
  end,
  function() -- drop references to clean objects: reload by name
    if has_doomed() then return end
    log("reload")
    flush()
    session:expire_all()
    for _, e in ipairs(M) do e.key = e.obj.id e.obj = nil end
    collectgarbage()
    for _, e in ipairs(M) do
      local class = e.kind == "book" and lib.Book or e.kind == "tag" and lib.Tag or lib.Author
      e.obj = session:get(class, e.key)
    end
    -- the committed copy refers to other objects now
    session:commit()
    committed = copy_model(M)
  end,
}

local ok, err = xpcall(function()
  for _ = 1, rounds do
    pick(ops)()
    if chance(25) then
      if has_doomed() then flush() end
      log("check")
      check_memory()
    end
    if chance(10) then
      flush()
      check_rows()
    end
  end
  flush()
  check_rows()
  session:commit()
  check_memory()
  check_rows()
end, function(e) return (debug.traceback(tostring(e), 2)) end)
orm.on_warning(former)
if not ok then
  return ("seed %d, step %d: %s\n%s"):format(seed, #trace, err,
    table.concat(trace, "\n", math.max(1, #trace - 40), #trace))
end
session:close()
return nil
end
