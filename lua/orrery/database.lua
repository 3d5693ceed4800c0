--- database: the one-object style: engine, session, base and types on one table, for scripts with one database.
local import = ...
local errors = import "errors"
local types = import "types"
local sql = import "sql"
local schema = import "schema"
local relationship = import "relationship"
local declarative = import "declarative"
local engine_module = import "engine"
local session_module = import "session"

local database = {}

local Database = {}
local metatable = { __metatable = { __name = "orrery.Database" } }

local function names_of(self)
  local names = errors.sorted_keys(Database)
  for _, own in ipairs({ errors.sorted_keys(self), types.names, errors.sorted_keys(sql.complete()) }) do
    for _, name in ipairs(own) do
      names[#names + 1] = name
    end
  end
  return names
end

function metatable.__index(self, key)
  local found = Database[key]
  if found == nil and types.is_type(types[key]) then
    found = types[key]
  end
  if found == nil then -- the rest of the library: a script needs this one table only
    found = sql.find(key)
  end
  if found == nil then
    errors.raise("ArgumentError", "a database has no '%s'%s", tostring(key),
      errors.hint(tostring(key), names_of(self)))
  end
  return found
end

Database.Column, Database.ForeignKey = schema.Column, schema.ForeignKey
Database.UniqueConstraint, Database.CheckConstraint = schema.UniqueConstraint, schema.CheckConstraint
Database.Index = schema.Index
Database.ForeignKeyConstraint = schema.ForeignKeyConstraint
Database.relationship, Database.backref = relationship.relationship, relationship.backref
Database.Mapped, Database.mapped_column = declarative.Mapped, declarative.mapped_column

--- Creates the tables that are not there yet.
function Database:create_all()
  self.metadata:create_all(self.engine)
end

--- Drops all tables of the models.
function Database:drop_all()
  self.metadata:drop_all(self.engine)
end

--- Closes the session of the present scope, and the engine.
function Database:close()
  self.session:remove()
  self.engine:dispose()
end
metatable.__close = Database.close

local OWN_OPTIONS = { session_options = true, scope = true }

-- Options of the database itself, and those that are the engine's.
local function split_options(options)
  local own, rest = {}, {}
  for key, value in pairs(options or {}) do
    (OWN_OPTIONS[key] and own or rest)[key] = value
  end
  return own, rest
end

--- An engine, a session and a declarative base on one table; db.Model("Name", {...}) declares a class. The session is that
--- of the present scope: see scoped_session.
---@param url string as create_engine takes it
---@param options? table as create_engine takes them; and session_options, as sessionmaker takes them, and the function scope
function database.database(url, options)
  local own, rest = split_options(options)
  local engine = engine_module.create_engine(url, rest)
  local base = declarative.declarative_base()
  local make = session_module.sessionmaker(engine, own.session_options)
  local self = { engine = engine, metadata = base.metadata, Model = base,
    session = session_module.scoped_session(make, own.scope) }
  --- db.Table("name", db.Column(...), ...) needs no metadata.
  self.Table = function(name, ...)
    return schema.Table(name, base.metadata, ...)
  end
  return setmetatable(self, metatable)
end

return database
