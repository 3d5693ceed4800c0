-- What changed columns held before: kept by the session, taken along by objects that leave it.
local orm = require "orrery"

local function setup()
  local Base = orm.declarative_base()
  local Item = Base:model("Item", {
    __tablename__ = "item",
    id = orm.Mapped(orm.Integer, { primary_key = true }),
    name = orm.Mapped(orm.Optional(orm.Text)),
    size = orm.Mapped(orm.Optional(orm.Integer)),
    price = orm.Mapped(orm.Optional(orm.Float)),
  })
  local engine = orm.create_engine("sqlite:///:memory:")
  Base.metadata:create_all(engine)
  local session = orm.Session(engine)
  session:add_all{ Item{ name = "one", size = 1, price = 1.5 }, Item{ name = "two" } }
  session:commit()
  return engine, session, Item
end

local function deleted(object, name)
  return orm.inspect(object).attrs[name].history.deleted[1]
end

local function stored(engine, id)
  local connection = engine:connect()
  local row = connection:execute(orm.text("SELECT name, size, price FROM item WHERE id = :id"), { id = id }):one()
  connection:close()
  return { row() }
end

describe("history of columns", function()
  it("keeps the value before the first change only", function()
    local _, session, Item = setup()
    local item = session:get(Item, 1)
    item.size, item.name, item.price = 2, "uno", 2.5
    item.size, item.name, item.price = 3, "ein", 3.5
    assert.same({ 1, "one", 1.5 }, { deleted(item, "size"), deleted(item, "name"), deleted(item, "price") })
  end)

  it("writes nothing where a value came back to what it was", function()
    local _, session, Item = setup()
    local item = session:get(Item, 1)
    item.size, item.name = 2, "uno"
    item.size, item.name = 1, "one"
    local count = 0
    orm.event.listen(session:connection().engine, "before_cursor_execute", function(_, sql)
      count = count + (sql:find("^UPDATE") and 1 or 0)
    end)
    session:flush()
    assert.equal(0, count)
  end)

  it("starts anew with each flush", function()
    local engine, session, Item = setup()
    local item = session:get(Item, 1)
    item.size = 2
    session:flush()
    assert.is_nil(deleted(item, "size"))
    item.size = 3
    assert.equal(2, deleted(item, "size"))
    session:commit()
    assert.same({ "one", 3, 1.5 }, stored(engine, 1))
  end)

  it("is forgotten by expire and by rollback", function()
    local _, session, Item = setup()
    local item = session:get(Item, 1)
    item.size = 2
    session:expire(item, { "size" })
    assert.equal(1, item.size)
    assert.is_nil(deleted(item, "size"))
    item.size = 5
    session:rollback()
    assert.equal(1, item.size)
    item.size = 6
    assert.equal(1, deleted(item, "size"))
  end)

  it("lists an object again that was changed, expired and changed", function()
    local engine, session, Item = setup()
    local item = session:get(Item, 1)
    item.size = 2
    session:expire(item)
    assert.same({}, session.dirty)
    item.size = 3
    assert.same({ item }, session.dirty)
    session:flush()
    item.size = 4
    assert.same({ item }, session.dirty)
    session:commit()
    assert.same({ "one", 4, 1.5 }, stored(engine, 1))
  end)

  for _, way in ipairs({ "close", "expunge" }) do
    it("goes with an object out of its session by " .. way .. ", and into the next one", function()
      local engine, session, Item = setup()
      local item, other = session:get(Item, 1), session:get(Item, 2)
      item.size, item.name, item.price, other.name = 7, "seven", nil, "zwei"
      if way == "close" then
        session:close()
      else
        session:expunge(item)
        session:rollback()
      end
      assert.same({ 1, "one", 1.5 }, { deleted(item, "size"), deleted(item, "name"), deleted(item, "price") })
      local second = orm.Session(engine)
      second:add(item)
      assert.same({ item }, second.dirty)
      second:commit()
      assert.same({ "seven", 7 }, stored(engine, 1))
    end)
  end

  it("writes the changes of an object whose session was dropped", function()
    local engine, session, Item = setup()
    local item = session:get(Item, 1)
    item.size = 8
    session:close() -- the connection goes back; what follows is a session that nobody closes
    session = orm.Session(engine)
    item = session:get(Item, 1)
    item.size, item.name = 9, "nine"
    session = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    local second = orm.Session(engine)
    second:add(item)
    item.price = 2.5
    second:commit()
    assert.same({ "nine", 9, 2.5 }, stored(engine, 1))
  end)
end)
