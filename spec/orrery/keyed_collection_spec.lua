-- Collections that hold an object once: sets, and objects by key. What they take, what their other side shows, which rows
-- come of it, and what is read back.
local orm = require "orrery"
local database = require "spec.support.database"
local statements = require "spec.support.statements"
local raises = require "spec.support.raises"
local rows = database.rows
local Integer, String, ForeignKey, relationship = orm.Integer, orm.String, orm.ForeignKey, orm.relationship
local Column, Mapped, Optional, select = orm.Column, orm.Mapped, orm.Optional, orm.select

local function id()
  return Mapped(Integer, { primary_key = true })
end

local function diary(options)
  local base = orm.declarative_base()
  local given = { back_populates = "owner", collection_class = orm.attribute_keyed_dict("topic") }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local Owner = base:model("Owner", { __tablename__ = "owner", id = id(), notes = relationship("Note", given) })
  local Note = base:model("Note", { __tablename__ = "note", id = id(), topic = Mapped(Optional(String)),
    words = Mapped(Optional(String)),
    owner_id = Mapped(Optional(Integer), ForeignKey("owner.id")), owner = relationship("Owner", { back_populates = "notes" }) })
  local engine = database.create(base)
  return { base = base, Owner = Owner, Note = Note, engine = engine, session = orm.Session(engine) }
end

local function keys(keyed)
  return table.concat(keyed:keys(), " ")
end

-- An owner with the notes a and b, new or stored.
local WAYS = {
  ["that was not saved"] = function(d)
    return d.Owner { notes = { a = d.Note { topic = "a" }, b = d.Note { topic = "b" } } }
  end,
  ["that is loaded"] = function(d)
    d.session:add(d.Owner { notes = { a = d.Note { topic = "a" }, b = d.Note { topic = "b" } } })
    d.session:commit()
    d.session:expunge_all()
    return d.session:get(d.Owner, 1)
  end,
}

for way, make in pairs(WAYS) do
  describe("a collection by key " .. way, function()
    it("gives objects by their key", function()
      local d = diary()
      local owner = make(d)
      assert.equal("a", owner.notes.a.topic)
      assert.equal(owner.notes.b, owner.notes:get("b"))
      assert.is_nil(owner.notes.c)
      assert.equal(2, #owner.notes)
      assert.same({ "a", "b" }, owner.notes:keys())
      assert.same({ a = owner.notes.a, b = owner.notes.b }, owner.notes:to_table())
      assert.same({ owner.notes.a, owner.notes.b }, owner.notes:values())
      assert.is_true(owner.notes:contains(owner.notes.a))
    end)

    it("is walked by key, in the order in which objects came", function()
      local d = diary()
      local owner, seen = make(d), {}
      owner.notes:append(d.Note { topic = "0" })
      for key, note in owner.notes do
        assert.equal(key, note.topic)
        seen[#seen + 1] = key
      end
      assert.same({ "a", "b", "0" }, seen)
      seen = {}
      owner.notes:each(function(note, key) seen[#seen + 1] = note.topic .. key end)
      assert.same({ "aa", "bb", "00" }, seen)
    end)

    it("takes objects by assignment, append, extend and from their own side", function()
      local d = diary()
      local owner = make(d)
      local c, e, f, g = d.Note { topic = "c" }, d.Note { topic = "e" }, d.Note { topic = "f" }, d.Note { topic = "g" }
      owner.notes.c = c
      owner.notes:append(e)
      owner.notes:extend { f }
      g.owner = owner
      assert.equal("a b c e f g", keys(owner.notes))
      for _, note in ipairs { c, e, f, g } do
        assert.equal(owner, note.owner)
      end
      d.session:add(owner)
      d.session:commit()
      assert.same({ "a", "b", "c", "e", "f", "g" }, rows(d.engine, "SELECT topic FROM note WHERE owner_id = 1 ORDER BY topic"))
    end)

    it("takes many objects at once", function()
      local d = diary()
      local owner, list = make(d), {}
      for i = 1, 1000 do
        list[i] = d.Note { topic = "t" .. i }
      end
      owner.notes:extend(list)
      assert.equal(1002, #owner.notes)
      assert.equal(list[500], owner.notes.t500)
    end)

    it("lets go of objects by nil, remove, pop, clear and from their own side", function()
      local d = diary()
      local owner = make(d)
      local a, b = owner.notes.a, owner.notes.b
      owner.notes.a = nil
      owner.notes.x = nil
      assert.is_nil(a.owner)
      assert.equal(b, owner.notes:pop("b"))
      assert.is_nil(owner.notes:pop("b"))
      assert.is_nil(b.owner)
      owner.notes:extend { a, b }
      owner.notes:remove(a)
      b.owner = nil
      assert.equal("", keys(owner.notes))
      owner.notes:extend { a, b }
      owner.notes:clear()
      assert.is_nil(a.owner)
      assert.equal(0, #owner.notes)
      d.session:add_all { owner, a, b }
      d.session:commit()
      assert.same({ "2" }, rows(d.engine, "SELECT count(*) FROM note WHERE owner_id IS NULL"))
    end)

    it("has an object give way to one with its key, wherever that comes from", function()
      local d = diary()
      local owner = make(d)
      local first, second, third = owner.notes.a, d.Note { topic = "a" }, d.Note { topic = "a" }
      owner.notes.a = second
      assert.is_nil(first.owner)
      assert.equal("b a", keys(owner.notes))
      third.owner = owner
      assert.is_nil(second.owner)
      assert.equal(third, owner.notes.a)
      assert.equal(2, #owner.notes)
      d.session:add_all { owner, first, second }
      d.session:commit()
      assert.equal("b a", keys(owner.notes))
      assert.same({ "2" }, rows(d.engine, "SELECT count(*) FROM note WHERE owner_id = 1"))
    end)

    it("is replaced as a whole by a table, and keeps what is in both", function()
      local d = diary()
      local owner = make(d)
      local a, b, c = owner.notes.a, owner.notes.b, d.Note { topic = "c" }
      owner.notes = { c = c, b = b }
      assert.equal("b c", keys(owner.notes))
      assert.is_nil(a.owner)
      assert.equal(owner, c.owner)
      d.session:add_all { owner, a }
      d.session:commit()
      assert.same({ "b", "c" }, rows(d.engine, "SELECT topic FROM note WHERE owner_id = 1 ORDER BY topic"))
      owner.notes = {}
      d.session:commit()
      assert.same({ "0" }, rows(d.engine, "SELECT count(*) FROM note WHERE owner_id IS NOT NULL"))
    end)

    it("refuses what does not fit, and changes nothing", function()
      local d = diary()
      local owner = make(d)
      raises("ArgumentError", { "Owner.notes", "under the key 'x'", "its own is 'y'" }, function()
        owner.notes.x = d.Note { topic = "y" }
      end)
      raises("ArgumentError", { "Owner.notes", "under the key 1", ":append(object)" }, function()
        owner.notes = { d.Note { topic = "y" } }
      end)
      raises("InvalidRequestError", { "Owner.notes", "its 'topic' is nil" }, function() owner.notes:append(d.Note {}) end)
      local nameless = d.Note {}
      raises("InvalidRequestError", { "Owner.notes", "its 'topic' is nil" }, function() nameless.owner = owner end)
      assert.is_nil(nameless.owner)
      raises("ArgumentError", "takes objects of class 'Note'", function() owner.notes.x = d.Owner {} end)
      raises("ArgumentError", "a plain table of objects by key", function() owner.notes = 5 end)
      raises("ArgumentError", "a method has this name", function() owner.notes.get = d.Note { topic = "get" } end)
      for _, no_object in ipairs { "a", 1, {}, false } do
        raises("ArgumentError", "pop(key) removes what stands under a key", function() owner.notes:remove(no_object) end)
      end
      raises("ArgumentError", "a plain table of objects by key", function() owner.notes = setmetatable({}, {}) end)
      raises("ArgumentError", "not in this collection", function() owner.notes:remove(d.Note { topic = "a" }) end)
      assert.equal("a b", keys(owner.notes))
    end)
  end)
end

describe("a collection by key", function()
  it("is filled by every way of loading, without an event", function()
    local d = diary()
    local heard = 0
    orm.event.listen(d.Owner.notes, "append", function(_, note) heard = heard + 1 return note end)
    WAYS["that is loaded"](d)
    heard = 0
    for _, name in ipairs { "lazyload", "selectinload", "joinedload" } do
      d.session:expunge_all()
      local owner = d.session:scalars(select(d.Owner):options(orm[name](d.Owner.notes))):unique():one()
      assert.equal("b", owner.notes.b.topic)
      assert.same({ "a", "b" }, owner.notes:keys())
      assert.is_false(orm.inspect(owner).modified)
    end
    assert.equal(0, heard)
  end)

  it("finds keys that are names of methods by get", function()
    local d = diary()
    local owner = d.Owner {}
    local note = d.Note { topic = "append" }
    owner.notes:set("append", note)
    assert.equal(note, owner.notes:get("append"))
    owner.notes:append(d.Note { topic = "z" })
    assert.same({ "append", "z" }, owner.notes:keys())
  end)

  it("may have numbers as keys", function()
    local d = diary { collection_class = orm.attribute_keyed_dict("id") }
    local owner = d.Owner { notes = { [7] = d.Note { id = 7 }, [3] = d.Note { id = 3 } } }
    assert.equal(7, owner.notes[7].id)
    assert.same({ 3, 7 }, owner.notes:keys())
    assert.is_nil(owner.notes[1])
  end)

  it("may have its keys by a column or from a function", function()
    local d = diary { collection_class = orm.keyfunc_mapping(function(note) return note.topic:upper() end) }
    assert.equal("A", d.Owner { notes = { A = d.Note { topic = "a" } } }.notes:keys()[1])
    local base = orm.declarative_base()
    local note = orm.Table("note", base.metadata, Column("id", Integer, { primary_key = true }), Column("topic", String),
      Column("owner_id", Integer, ForeignKey("owner.id")))
    local Note = base:model("Note", { __table__ = note })
    local Owner = base:model("Owner", { __tablename__ = "owner", id = id(),
      notes = relationship("Note", { collection_class = orm.column_keyed_dict(note.c.topic) }) })
    assert.equal("x", Owner { notes = { x = Note { topic = "x" } } }.notes.x.topic)
  end)

  it("deletes, as an orphan, what gives way", function()
    local d = diary { cascade = "all, delete-orphan" }
    local owner = WAYS["that is loaded"](d)
    owner.notes.a = d.Note { topic = "a", words = "again" }
    d.session:commit()
    assert.same({ "a|again", "b|NULL" }, rows(d.engine, "SELECT topic, words FROM note ORDER BY topic"))
  end)

  it("without another side deletes, as orphans, no more than what has left", function()
    local base = orm.declarative_base()
    local Owner = base:model("Owner", { __tablename__ = "owner", id = id(), notes = relationship("Note",
      { collection_class = orm.attribute_keyed_dict("topic"), cascade = "all, delete-orphan" }) })
    local Note = base:model("Note", { __tablename__ = "note", id = id(), topic = Mapped(String),
      owner_id = Mapped(Integer, ForeignKey("owner.id")) })
    local engine = database.create(base)
    local session = orm.Session(engine)
    local owner = Owner { notes = { a = Note { topic = "a" }, b = Note { topic = "b" } } }
    session:add(owner)
    session:commit()
    owner.notes = { b = owner.notes.b, c = Note { topic = "c" } }
    session:commit()
    assert.same({ "2|b", "3|c" }, rows(engine, "SELECT id, topic FROM note ORDER BY id"))
  end)

  it("tells its history", function()
    local d = diary()
    local owner = WAYS["that is loaded"](d)
    local a, b, c = owner.notes.a, owner.notes.b, d.Note { topic = "c" }
    owner.notes.c, owner.notes.a = c, nil
    local history = orm.inspect(owner).attrs.notes.history
    assert.same({ { c }, { b }, { a } }, { history.added, history.unchanged, history.deleted })
  end)

  it("writes nothing when an object is put where it is", function()
    local d = diary()
    local owner = WAYS["that is loaded"](d)
    owner.notes.a = owner.notes.a
    owner.notes = owner.notes:to_table()
    local record = statements.record(d.engine)
    d.session:commit()
    assert.same({}, record:take())
  end)

  it("takes an object whose key has changed under the new one", function()
    local d = diary()
    local owner = WAYS["that is loaded"](d)
    local a = owner.notes.a
    a.topic = "z"
    assert.equal(a, owner.notes.a)
    owner.notes.z = a
    assert.equal("b z", keys(owner.notes))
    assert.equal(owner, a.owner)
    owner.notes:remove(a)
    assert.equal("b", keys(owner.notes))
  end)

  it("is merged with its keys, and told to other tables by key", function()
    local d = diary()
    local owner = WAYS["that is loaded"](d)
    owner.notes.a.words = "hi"
    d.session:commit()
    local copy = orm.Session(d.engine):merge(owner)
    assert.equal("hi", copy.notes.a.words)
    assert.equal("hi", orm.to_table(copy, { include = { "notes" } }).notes.a.words)
  end)

  it("takes in, once it is loaded, what came from the other side before", function()
    local d = diary()
    WAYS["that is loaded"](d)
    d.session:expunge_all()
    local owner = d.session:get(d.Owner, 1)
    d.session:add(d.Note { topic = "c", owner = owner })
    assert.same({ "a", "b", "c" }, owner.notes:keys())
  end)

  it("says so when the object under the key at hand is taken out while it is walked", function()
    local d = diary()
    local owner = WAYS["that was not saved"](d)
    raises("ArgumentError", "taken out while the collection was walked", function()
      for key in owner.notes do
        owner.notes[key] = nil
      end
    end)
    for key in pairs(owner.notes:to_table()) do
      owner.notes[key] = nil
    end
    assert.equal(0, #owner.notes)
  end)

  describe("is explained when it is declared wrongly:", function()
    local function mistake(options, words)
      local d = { base = orm.declarative_base() }
      d.base:model("Owner", { __tablename__ = "owner", id = id(), notes = relationship("Note", options) })
      d.base:model("Note", { __tablename__ = "note", id = id(), topic = Mapped(String),
        owner_id = Mapped(Integer, ForeignKey("owner.id")) })
      raises("ArgumentError", words, function() d.base.registry:configure() end)
    end

    it("an attribute that is not there", function()
      mistake({ collection_class = orm.attribute_keyed_dict("topik") }, { "Owner.notes", "did you mean 'topic'?" })
    end)
    it("something that is no collection class", function()
      mistake({ collection_class = "set" }, { "Owner.notes: collection_class must be orm.list, orm.set", "'set'" })
    end)
    it("a relationship that holds one object", function()
      mistake({ collection_class = orm.set, uselist = false }, "holds one object")
    end)
    it("in the call itself", function()
      raises("ArgumentError", "attribute_keyed_dict()", orm.attribute_keyed_dict, 5)
      raises("ArgumentError", "column_keyed_dict()", orm.column_keyed_dict, "topic")
      raises("ArgumentError", "keyfunc_mapping()", orm.keyfunc_mapping, "topic")
    end)
  end)
end)

describe("a set", function()
  local function tagged()
    local base = orm.declarative_base()
    local Item = base:model("Item", { __tablename__ = "item", id = id(),
      tags = relationship("Tag", { secondary = "item_tag", collection_class = orm.set, back_populates = "items" }) })
    local Tag = base:model("Tag", { __tablename__ = "tag", id = id(), name = Mapped(String),
      items = relationship("Item", { secondary = "item_tag", collection_class = orm.set, back_populates = "tags" }) })
    orm.Table("item_tag", base.metadata, Column("item_id", Integer, ForeignKey("item.id"), { primary_key = true }),
      Column("tag_id", Integer, ForeignKey("tag.id"), { primary_key = true }))
    local engine = database.create(base)
    return Item, Tag, orm.Session(engine), engine
  end

  it("holds an object once, whoever puts it in", function()
    local Item, Tag, session, engine = tagged()
    local item, red, blue = Item {}, Tag { name = "red" }, Tag { name = "blue" }
    item.tags:add(red)
    item.tags:append(red)
    item.tags:extend { red, blue, blue }
    red.items:add(item)
    assert.equal(2, #item.tags)
    assert.equal(1, #red.items)
    item.tags = { blue, red, blue }
    assert.same({ blue, red }, item.tags:to_table())
    session:add(item)
    session:commit()
    assert.same({ "2" }, rows(engine, "SELECT count(*) FROM item_tag"))
  end)

  it("is walked in the order in which objects came, and read by position", function()
    local Item, Tag = tagged()
    local red, blue = Tag { name = "red" }, Tag { name = "blue" }
    local item, seen = Item { tags = { red, blue } }, {}
    for position, tag in item.tags do
      seen[position] = tag
    end
    assert.same({ red, blue }, seen)
    assert.equal(blue, item.tags[2])
    assert.is_nil(item.tags[3])
  end)

  it("lets go by remove, discard, pop and clear", function()
    local Item, Tag = tagged()
    local red, blue, green = Tag { name = "red" }, Tag { name = "blue" }, Tag { name = "green" }
    local item = Item { tags = { red, blue, green } }
    item.tags:remove(red)
    assert.equal(0, #red.items)
    assert.is_false(item.tags:discard(red))
    assert.is_true(item.tags:discard(blue))
    assert.equal(green, item.tags:pop())
    assert.is_nil(item.tags:pop())
    item.tags:extend { red, blue }
    item.tags:clear()
    assert.is_false(item.tags:contains(red))
    raises("ArgumentError", "not in this collection", function() item.tags:remove(red) end)
    raises("ArgumentError", "not in this collection", function() item.tags:remove(1) end)
  end)

  it("has no positions to assign, and no method insert", function()
    local Item, Tag = tagged()
    local item = Item {}
    raises("ArgumentError", ":add(object)", function() item.tags[1] = Tag {} end)
    raises("ArgumentError", "a collection has no 'insert'", function() item.tags:insert(1, Tag {}) end)
  end)

  it("is read back as a set, however it is loaded", function()
    local Item, Tag, session = tagged()
    session:add(Item { tags = { Tag { name = "red" }, Tag { name = "blue" } } })
    session:commit()
    for _, name in ipairs { "lazyload", "selectinload", "joinedload" } do
      session:expunge_all()
      local item = session:scalars(select(Item):options(orm[name](Item.tags))):unique():one()
      item.tags:add(item.tags[1])
      assert.equal(2, #item.tags)
      assert.is_false(orm.inspect(item).modified)
    end
  end)
end)
