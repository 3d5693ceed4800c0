-- src/core/schema.c: tables, keys and the order in which tables depend on one another.
local core = require "spec.support.core"
local declare = require "spec.core.declare"

local function names_of(numbers, list)
  local name_of, names = {}, {}
  for name, number in pairs(numbers) do
    if type(name) == "string" and type(number) == "number" then
      name_of[number] = name
    end
  end
  for i, number in ipairs(list) do
    names[i] = name_of[number]
  end
  return table.concat(names, " ")
end

local function fails(kind, message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.same({ kind, message }, { err.kind, err.message })
end

describe("schema", function()
  it("finds tables by name, with their schema's name in front", function()
    local schema = core.schema()
    local plain, other = schema:add_table("t"), schema:add_table("t", "archive")
    assert.same({ plain, other }, { schema:find_table "t", schema:find_table "archive.t" })
    assert.is_nil(schema:find_table "archive")
  end)

  it("finds each of 1,000 tables", function()
    local schema = core.schema()
    for i = 1, 1000 do
      assert.same(i, schema:add_table("table " .. i))
    end
    for i = 1, 1000 do
      assert.same(i, schema:find_table("table " .. i))
    end
  end)

  it("counts the columns of a table", function()
    local schema = core.schema()
    local t = schema:add_table "t"
    for i = 1, 2000 do
      assert.same(i, schema:add_column(t, "c" .. i, true))
    end
  end)

  it("finds what a foreign key refers to by key, and by name where there is no such key or it is told to", function()
    local schema = core.schema()
    local t, u = schema:add_table "t", schema:add_table "u"
    schema:add_column(t, "a", true, "b")
    schema:add_column(t, "b", true, "c")
    schema:add_column(t, "d", true, "d")
    schema:add_column(u, "x", true)
    local found = {}
    for position, case in ipairs{ { "b" }, { "b", true }, { "a" }, { "c" }, { "d", true } } do
      local key = schema:add_foreign_key(u, { 1 }, "t", { case[1] }, false, case[2])
      local _, positions = schema:foreign_key_target(key)
      found[position] = positions[1]
    end
    assert.same({ 1, 2, 1, 2, 3 }, found)
    local key = schema:add_foreign_key(u, { 1 }, "t", { "c" }, false, true)
    assert.is_false(pcall(schema.foreign_key_target, schema, key))
  end)

  it("refuses what is declared twice", function()
    local schema, numbers = declare { "t: id pk" }
    fails("InvalidRequestError", "table 't' is declared already", schema.add_table, schema, "t")
    fails("ArgumentError", "table 't' has a column 'id' already", schema.add_column, schema, numbers.t, "id", true)
  end)

  it("refuses numbers that stand for nothing", function()
    local schema, numbers = declare { "t: id pk" }
    fails("ArgumentError", "number of a table expected, from 1 to 1, got 2", schema.add_column, schema, 2, "x", true)
    fails("ArgumentError", "position of a column expected, from 1 to 1, got 0", schema.add_unique, schema, numbers.t,
      { 0 })
    fails("ArgumentError", "number of a foreign key expected, from 1 to 0, got 1", schema.foreign_key_target, schema, 1)
    fails("ArgumentError", "a foreign key of 1 columns refers to 2", schema.add_foreign_key, schema, numbers.t, { 1 },
      "t", { "a", "b" })
    fails("ArgumentError", "a foreign key of table 't' has no columns", schema.add_foreign_key, schema, numbers.t, {},
      "t", {})
  end)

  it("refuses what is no number and no list, and columns that the table has not", function()
    local schema, n = declare { "t: id pk" }
    for _, wrong in ipairs { "x", 1.5, -1, 2 ^ 40, {}, true } do
      assert.equal("ArgumentError", select(2, pcall(schema.add_column, schema, wrong, "x", true)).kind)
      assert.is_false((pcall(schema.add_unique, schema, n.t, { wrong })))
      assert.is_false((pcall(schema.set_primary_key, schema, n.t, { wrong })))
      assert.is_false((pcall(schema.add_foreign_key, schema, n.t, { wrong }, "t", { "id" })))
    end
    assert.is_false((pcall(schema.add_unique, schema, n.t, 1)))
    assert.is_false((pcall(schema.add_unique, schema, n.t, { 2 })))
    assert.is_false((pcall(schema.set_primary_key, schema, n.t, { 2 })))
    assert.is_false((pcall(schema.add_foreign_key, schema, n.t, { 2 }, "t", { "id" })))
    fails("ArgumentError", "name of a column expected, got boolean", schema.add_foreign_key, schema, n.t, { 1 }, "t", { true })
    fails("ArgumentError", "number of a table expected, from 1 to 1, got table", schema.freeze, schema, {})
    assert.is_nil(schema:find_table "u")
    assert.same({ { n.t }, {} }, { schema:sorted() })
  end)

  it("says the same of an empty unique constraint as of none", function()
    local schema, n = declare { "t: a, b" }
    schema:add_unique(n.t, {})
    assert.is_false(schema:is_unique(n.t, { 1 }))
    schema:add_unique(n.t, { 1, 2 })
    assert.is_true(schema:is_unique(n.t, { 2, 1 }))
  end)

  it("forgets every other of many tables, and finds the rest", function()
    local schema, numbers, COUNT = core.schema(), {}, 500
    for i = 1, COUNT do
      numbers[i] = schema:add_table("t" .. i)
    end
    for i = 1, COUNT, 2 do
      schema:remove_table(numbers[i])
    end
    for i = 1, COUNT do
      assert.equal(i % 2 == 0 and numbers[i] or nil, schema:find_table("t" .. i))
    end
    assert.equal(COUNT / 2, #(schema:sorted()))
  end)

  it("takes no foreign key for a table that is in use", function()
    local schema, n = declare { "t: id pk, t_id" }
    schema:freeze(n.t)
    fails("InvalidRequestError", "table 't' is in use already: columns and keys are added before the first use",
      schema.add_foreign_key, schema, n.t, { 2 }, "t", { "id" })
    assert.same({ { n.t }, {} }, { schema:sorted() })
  end)

  it("asks whether another name was meant where some of it is the same", function()
    local function words_for(name)
      local schema, n = declare { "b: id pk", "item: id pk", "of: id pk -> " .. name .. ".id" }
      return select(2, pcall(schema.foreign_key_target, schema, n[1])).message
    end
    local TEXT = "Foreign key 'of.id' refers to table '%s', which is not declared%s"
    assert.equal(TEXT:format("a", ""), words_for "a")
    assert.equal(TEXT:format("xy", ""), words_for "xy")
    assert.equal(TEXT:format("bb", "; did you mean 'b'?"), words_for "bb")
    assert.equal(TEXT:format("itxy", ""), words_for "itxy")
    assert.equal(TEXT:format("itemsz", "; did you mean 'item'?"), words_for "itemsz")
    assert.equal(TEXT:format("itme", "; did you mean 'item'?"), words_for "itme")
  end)

  it("forgets a table that is removed, once, whatever stands beside it", function()
    local schema, numbers = core.schema(), {}
    for i = 1, 40 do
      numbers[i] = schema:add_table("t" .. i)
      if i % 3 == 0 then
        schema:remove_table(numbers[i - 1])
        schema:remove_table(numbers[i - 1])
      end
    end
    for i = 1, 40 do
      assert.equal(i % 3 ~= 2 and numbers[i] or i == 40 and numbers[i] or nil, schema:find_table("t" .. i), i)
    end
    assert.equal(41, schema:add_table "t2")
    assert.equal(41, schema:find_table "t2")
  end)

  it("shows long names as far as there is room", function()
    local schema = core.schema()
    local t, columns, names = schema:add_table(("t"):rep(100)), {}, {}
    for i = 1, 12 do
      columns[i], names[i] = schema:add_column(t, ("c"):rep(50) .. i, true), "x"
    end
    schema:add_foreign_key(t, columns, "nowhere", names)
    local ok, err = pcall(schema.resolve, schema)
    assert.is_false(ok)
    assert.equal("NoReferencedTableError", err.kind)
    assert.truthy(err.message:find(("t"):rep(100) .. "(", 1, true))
    local other = declare { "t: a, b, (a b) -> " .. ("n"):rep(70) .. "(x y)", ("n"):rep(70) .. "x: a" }
    assert.is_nil(select(2, pcall(other.resolve, other)).message:find("did you mean", 1, true))
    other = declare { "t: a -> " .. ("n"):rep(63) .. ".x", ("n"):rep(60) .. ": a" }
    assert.is_nil(select(2, pcall(other.resolve, other)).message:find("did you mean", 1, true))
    other = declare { "author1: id pk", "book: a -> Author2.id" }
    assert.truthy(select(2, pcall(other.resolve, other)).message:find("did you mean 'author1'", 1, true))
  end)

  it("changes no table that is in use", function()
    local schema, numbers = declare { "t: id pk" }
    schema:freeze(numbers.t)
    local text = "table 't' is in use already: columns and keys are added before the first use"
    fails("InvalidRequestError", text, schema.add_column, schema, numbers.t, "x", true)
    fails("InvalidRequestError", text, schema.set_primary_key, schema, numbers.t, { 1 })
    fails("InvalidRequestError", text, schema.add_unique, schema, numbers.t, { 1 })
    fails("InvalidRequestError", text, schema.add_foreign_key, schema, numbers.t, { 1 }, "t", { "id" })
  end)

  it("knows which columns a key makes unique", function()
    local schema, n = declare { "t: a pk, b pk, c unique, d, e, unique(d e)" }
    for columns, unique in pairs {
      [{ 1, 2 }] = true, [{ 2, 1 }] = true, [{ 1 }] = false, [{ 3 }] = true, [{ 3, 4 }] = true, [{ 4 }] = false,
      [{ 5, 4 }] = true, [{}] = false,
    } do
      assert.same(unique, schema:is_unique(n.t, columns))
    end
    schema, n = declare { "without_key: a" }
    assert.is_false(schema:is_unique(n.without_key, { 1 }))
  end)

  describe("foreign keys", function()
    it("refer to tables that are declared later", function()
      local schema, n = declare { "book: id pk, author_id -> author.id", "author: name, id pk" }
      assert.same({ n.author, { 2 } }, { schema:foreign_key_target(n[1]) })
    end)

    it("may have several columns, in the order of the key that they refer to", function()
      local schema, n = declare { "line: no, shop, (shop no) -> orders(shop no)", "orders: no pk, shop pk" }
      assert.same({ n.orders, { 2, 1 } }, { schema:foreign_key_target(n[1]) })
    end)

    it("to a table that is not declared name both ends", function()
      local schema, n = declare { "author: id pk", "book: id pk, author_id -> autor.id" }
      fails("NoReferencedTableError",
        "Foreign key 'book.author_id' refers to table 'autor', which is not declared; did you mean 'author'?",
        schema.foreign_key_target, schema, n[1])
      fails("NoReferencedTableError",
        "Foreign key 'book.author_id' refers to table 'autor', which is not declared; did you mean 'author'?",
        schema.sorted, schema)
      schema = declare { "t: a, b, (a b) -> nowhere(x y)" }
      fails("NoReferencedTableError", "Foreign key 't(a, b)' refers to table 'nowhere', which is not declared",
        schema.resolve, schema)
    end)

    it("to a column that does not exist name both ends", function()
      local schema = declare { "author: author_id pk", "book: id pk, author_id -> author.autor_id" }
      fails("NoReferencedColumnError", "Foreign key 'book.author_id' refers to column 'autor_id' of table 'author', "
        .. "which has no such column; did you mean 'author_id'?", schema.resolve, schema)
    end)

    it("are looked up again when their target is removed and declared anew", function()
      local schema, n = declare { "author: x, id pk", "book: author_id -> author.id" }
      schema:resolve()
      schema:remove_table(n.author)
      fails("NoReferencedTableError", "Foreign key 'book.author_id' refers to table 'author', which is not declared",
        schema.resolve, schema)
      local again = schema:add_table "author"
      schema:add_column(again, "id", false)
      assert.same({ again, { 1 } }, { schema:foreign_key_target(n[1]) })
    end)

    it("of a removed table are of no concern", function()
      local schema, n = declare { "book: author_id -> nowhere.id", "author: id pk" }
      schema:remove_table(n.book)
      assert.same({ { n.author }, {} }, { schema:sorted() })
    end)
  end)

  describe("order", function()
    -- tables, their order, the foreign keys at which circles are broken, those in circles
    local cases = {
      { "as declared where nothing depends", { "b: id", "a: id", "c: id" }, "b a c", {}, "" },
      { "as declared where that fits", { "author: id pk", "book: author -> author.id", "shop: id" },
        "author book shop", {}, "" },
      { "what is referred to first", { "line: o -> orders.id", "orders: id pk, c -> customer.id", "customer: id pk" },
        "customer orders line", {}, "" },
      { "a table that refers to itself", { "node: id pk, parent -> node.id" }, "node", {}, "node" },
      { "a circle of two, broken at the first", { "hen: id pk, egg -> egg.id", "egg: id pk, hen -> hen.id" },
        "hen egg", { 1 }, "hen egg" },
      { "a circle of three, broken once",
        { "a: id pk, b -> b.id", "b: id pk, c -> c.id", "c: id pk, a -> a.id" }, "a c b", { 1 }, "a b c" },
      { "a circle between others",
        { "last: e -> egg.id", "hen: id pk, egg -> egg.id", "egg: id pk, hen -> hen.id, f -> farm.id", "farm: id pk" },
        "farm hen egg last", { 2 }, "hen egg" },
      { "a circle that a later ALTER closes is none",
        { "hen: id pk, egg -> egg.id", "egg: id pk, hen -> hen.id later" }, "egg hen", { 2 }, "hen egg" },
    }
    for _, case in ipairs(cases) do
      it("is " .. case[1], function()
        local schema, n = declare(case[2])
        local order, left_out = schema:sorted()
        assert.same({ case[3], case[4] }, { names_of(n, order), left_out })
        local _, cyclic = schema:ranks()
        local circle = {}
        for number = 1, #cyclic do
          circle[#circle + 1] = cyclic[number] and number or nil
        end
        assert.same(case[5], names_of(n, circle))
      end)
    end

    it("gives the tables of a circle one rank, below what they need and above what needs them", function()
      local schema, n = declare { "last: e -> egg.id", "hen: id pk, egg -> egg.id",
        "egg: id pk, hen -> hen.id, f -> farm.id", "farm: id pk" }
      local rank = schema:ranks()
      assert.same({ 0, 1, 1, 2 }, { rank[n.farm], rank[n.hen], rank[n.egg], rank[n.last] })
    end)

    it("goes through a chain of 2,000 tables", function()
      local schema = core.schema()
      for i = 1, 2000 do
        local t = schema:add_table("t" .. i)
        schema:add_column(t, "id", false)
        if i < 2000 then
          schema:add_foreign_key(t, { 1 }, "t" .. i + 1, { "id" })
        end
      end
      local order = schema:sorted()
      assert.same({ 2000, 2000, 1 }, { #order, order[1], order[2000] })
    end)
  end)
end)
