--- relationship_options: the options of relationship() and backref(): their names, what they may be, and which of them
-- cannot go together. What needs to know the classes is checked later, in relationship.lua.
local import = ...
local errors = import "errors"

local relationship_options = {}

local OPTIONS = {
  uselist = true, secondary = true, back_populates = true, backref = true, cascade = true, order_by = true, lazy = true,
  primaryjoin = true, secondaryjoin = true, foreign_keys = true, remote_side = true, viewonly = true, passive_deletes = true,
  passive_updates = true, post_update = true, single_parent = true, collection_class = true,
  active_history = true, sync_backref = true, overlaps = true, innerjoin = true, join_depth = true, doc = true, info = true,
}
local CASCADES = {
  ["save-update"] = true, merge = true, expunge = true, ["refresh-expire"] = true, delete = true, ["delete-orphan"] = true,
}
local ALL = { "save-update", "merge", "refresh-expire", "expunge", "delete" }

-- What an option may be, where the words of its value are not looked at elsewhere.
local FLAG = { [true] = "true", [false] = "false" }
local VALUES = {
  uselist = FLAG, viewonly = FLAG, passive_updates = FLAG, single_parent = FLAG, active_history = FLAG, sync_backref = FLAG,
  post_update = FLAG,
  passive_deletes = { [true] = "true", [false] = "false", all = "\"all\"" },
}
-- What a relationship that is never written cannot have.
local WRITING = { "passive_deletes", "passive_updates", "post_update", "active_history", "single_parent" }

local function check_values(options, call)
  for _, name in ipairs(errors.sorted_keys(VALUES)) do
    if options[name] ~= nil and not VALUES[name][options[name]] then
      errors.raise("ArgumentError", "%s: %s is true or false%s, got %s", call, name, VALUES[name].all and " or \"all\"" or "",
        errors.show(options[name]))
    end
  end
  for _, name in ipairs({ "cascade", "overlaps", "doc" }) do
    if options[name] ~= nil and type(options[name]) ~= "string" then
      errors.raise("ArgumentError", "%s: %s is a string, got %s", call, name, errors.show(options[name]))
    end
  end
end

local function check_viewonly(options, call)
  for _, name in ipairs(options.viewonly and WRITING or {}) do
    if options[name] ~= nil then
      errors.raise("ArgumentError", "%s: %s is about writing, and viewonly = true is never written; leave one of them out", call,
        name)
    end
  end
  local cascade = options.viewonly and options.cascade or ""
  if cascade:find("save-update", 1, true) or cascade:find("delete", 1, true) or cascade:find("all", 1, true)
    or cascade:find("merge", 1, true) then
    errors.raise("ArgumentError", "%s: cascade = %s is about writing, and viewonly = true is never written; leave one of them "
      .. "out", call, errors.show(cascade))
  elseif options.viewonly and options.sync_backref then
    errors.raise("ArgumentError", "%s: sync_backref = true with viewonly = true: what is never written does not change its other "
      .. "side", call)
  end
end

--- The options of a call, checked; an empty table where there are none.
---@param options? table
---@param call string
---@return table
function relationship_options.check(options, call)
  options = errors.check_options(options, OPTIONS, call)
  check_values(options, call)
  check_viewonly(options, call)
  return options
end

--- The words of a relationship's cascade, as a set.
---@param property orrery.Relationship
---@return table<string, boolean>
function relationship_options.cascade(property)
  local set, text = {}, property.options.cascade or "save-update, merge"
  for word in text:gmatch("[^,%s]+") do
    if word == "all" then
      for _, one in ipairs(ALL) do
        set[one] = true
      end
    elseif word == "none" then
      set = {}
    elseif CASCADES[word] then
      set[word] = true
    else
      errors.raise("ArgumentError", "%s: unknown cascade '%s'%s", property:describe(), word,
        errors.hint(word, errors.sorted_keys(CASCADES)))
    end
  end
  if set["delete-orphan"] and not set.delete then
    errors.warn("%s: cascade 'delete-orphan' without 'delete': what is left over is deleted, but not with its parent; say "
      .. "cascade = \"all, delete-orphan\"", property:describe())
  end
  return property.options.viewonly and {} or set
end

return relationship_options
