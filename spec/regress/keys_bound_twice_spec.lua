-- A key whose type has functions of its own went through these a second time when objects were loaded by it: relationships
-- were empty, and expired objects counted as gone.
local orm = require "orrery"
local database = require "spec.support.database"
local mapped = orm.mapped_column

-- What is written is not what is read, nor what would be written of it.
local Marked = orm.TypeDecorator("Marked", { impl = orm.String,
  process_bind_param = function(_, value) return "<" .. value end,
  process_result_value = function(_, stored) return stored:sub(2) end })
local Shifted = orm.TypeDecorator("Shifted", { impl = orm.Integer,
  process_bind_param = function(_, value) return value + 1 end,
  process_result_value = function(_, stored) return stored - 1 end })
local Bytes = orm.TypeDecorator("Bytes", { impl = orm.LargeBinary,
  process_bind_param = function(_, value) return value .. "\0\255" end,
  process_result_value = function(_, stored) return stored:sub(1, -3) end })

local function setup(kind, keys)
  local base = orm.declarative_base()
  local lib = { keys = keys }
  lib.Place = base:model("Place", { __tablename__ = "place", code = mapped(kind, { primary_key = true }),
    name = mapped(orm.String), size = mapped(orm.Integer),
    visits = orm.relationship("Visit", { order_by = "Visit.id", back_populates = "place" }),
    tags = orm.relationship("Tag", { secondary = "place_tag", back_populates = "places" }) })
  lib.Visit = base:model("Visit", { __tablename__ = "visit", id = mapped(orm.Integer, { primary_key = true }),
    place_code = mapped(kind, orm.ForeignKey("place.code")),
    place = orm.relationship("Place", { back_populates = "visits" }) })
  lib.Tag = base:model("Tag", { __tablename__ = "tag", id = mapped(orm.Integer, { primary_key = true }),
    places = orm.relationship("Place", { secondary = "place_tag", back_populates = "tags", order_by = "Place.name" }) })
  orm.Table("place_tag", base.metadata,
    orm.Column("place_code", kind, orm.ForeignKey("place.code"), { primary_key = true }),
    orm.Column("tag_id", orm.Integer, orm.ForeignKey("tag.id"), { primary_key = true }))
  lib.engine = database.create(base)
  lib.session = orm.Session(lib.engine)
  local tag = lib.Tag { id = 1 }
  for number, key in ipairs(keys) do
    local place = lib.Place { code = key, name = "p" .. number, tags = { tag } }
    for _ = 1, number do
      place.visits:append(lib.Visit {})
    end
    lib.session:add(place)
  end
  lib.session:commit()
  lib.session:close()
  return lib
end

for name, case in pairs {
  text = { Marked, { "x", "<x", "y" } }, number = { Shifted, { 1, 2, 3 } }, bytes = { Bytes, { "x", "x\0\255", "y" } },
} do
  describe("keys of a type with functions: " .. name, function()
    local lib, session

    before_each(function()
      lib = setup(case[1], case[2])
      session = orm.Session(lib.engine)
    end)

    local function places(...)
      return session:scalars(orm.select(lib.Place):options(...):order_by(lib.Place.name)):unique():all()
    end

    it("find what they are given", function()
      for number, key in ipairs(lib.keys) do
        local place = session:get(lib.Place, key)
        assert.equal("p" .. number, place.name)
        assert.equal(key, place.code)
        assert.equal(place, session:get(lib.Place, key))
        assert.equal(key, orm.inspect(place).identity[1])
      end
    end)

    it("find what relationships lead to, when they are read", function()
      for number, place in ipairs(places()) do
        assert.equal(number, #place.visits)
        assert.equal(1, #place.tags)
      end
      session:close()
      assert.equal("p2", session:get(lib.Visit, 2).place.name)
      assert.equal(3, #session:get(lib.Tag, 1).places)
    end)

    for _, option in ipairs { "selectinload", "subqueryload", "joinedload", "batchload", "immediateload" } do
      it("find what relationships lead to, by " .. option, function()
        for number, place in ipairs(places(orm[option](lib.Place.visits), orm[option](lib.Place.tags))) do
          assert.equal(number, #place.visits)
          assert.equal(1, #place.tags)
        end
        session:close()
        for _, visit in ipairs(session:scalars(orm.select(lib.Visit):options(orm[option](lib.Visit.place))):all()) do
          assert.equal(visit.place_code, visit.place.code)
        end
      end)
    end

    it("find expired objects again, one by one and together", function()
      local list = places()
      session:expire(list[2])
      assert.equal("p2", list[2].name)
      session:refresh(list[3])
      session:refresh(list[3], nil, { with_for_update = true })
      session:commit()
      for number, place in ipairs(list) do
        assert.equal("p" .. number, place.name)
      end
    end)

    it("find what is changed, merged and deleted", function()
      session:merge(lib.Place { code = lib.keys[2], name = "merged" })
      session:commit()
      assert.equal(3, session:scalar(orm.select(orm.func.count(lib.Place.code))))
      local place = session:get(lib.Place, lib.keys[2])
      assert.equal("merged", place.name)
      place.size = orm.literal(7)
      session:flush()
      assert.equal(7, place.size)
      session:execute(orm.update(lib.Place):where(lib.Place.code:eq(lib.keys[2])):values { size = 8 }
        :execution_options { synchronize_session = "fetch" })
      assert.equal(8, place.size)
      session:delete(place)
      session:commit()
      assert.same({ "0", "1" }, { tostring(#places()[1].tags - 1), tostring(#session:get(lib.Tag, 1).places - 1) })
      assert.is_nil(session:get(lib.Place, lib.keys[2]))
    end)
  end)
end
