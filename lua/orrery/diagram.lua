--- diagram: the tables of a MetaData as text that others draw: Mermaid (GitHub and GitLab show it in a page) and
-- Graphviz. Says what there is to draw; where it goes on the page is left to them.
local import = ...
local errors = import "errors"
local schema = import "schema"
local dialects = import "dialect"

local diagram = {}

-- ---- what is drawn ----

local function metadata_of(value)
  local found = value
  if type(value) == "table" and not schema.is_metadata(value) then
    local base = rawget(value, "Base") or value
    found = rawget(base, "metadata")
  end
  if not schema.is_metadata(found) then
    errors.raise("ArgumentError", "diagram(): a MetaData, a declarative base or the models of automap() expected, got %s",
      errors.show(value))
  end
  return found
end

local function wanted_tables(metadata, wanted)
  if wanted == nil then
    return metadata.sorted_tables
  elseif type(wanted) ~= "table" or getmetatable(wanted) then
    errors.raise("ArgumentError", "diagram(): tables must be a list of names, got %s", errors.show(wanted))
  end
  local set, list = {}, {}
  for _, name in ipairs(wanted) do
    if not metadata.tables[name] then
      errors.raise("ArgumentError", "diagram(): tables names %s, which is not declared%s", errors.show(name),
        errors.hint(tostring(name), errors.sorted_keys(metadata.tables)))
    end
    set[metadata.tables[name]] = true
  end
  for _, tbl in ipairs(metadata.sorted_tables) do
    list[#list + 1] = set[tbl] and tbl or nil
  end
  return list
end

local function type_of(column)
  local declared = column.declared_type and column.declared_type.sqlite or column.type:ddl(dialects.sqlite)
  return declared ~= "" and declared or "ANY"
end

-- "PK", "FK" and "UK", as far as they hold for the column alone.
local function marks_of(column)
  local marks = { column.primary_key and "PK" or nil }
  marks[#marks + 1] = #column.foreign_keys > 0 and "FK" or nil
  if not column.primary_key and column.table.metadata.handle:is_unique(column.table.id, { column.position }) then
    marks[#marks + 1] = "UK"
  end
  return marks
end

local function is_optional(key)
  for _, column in ipairs(key.columns) do
    if column.nullable then
      return true
    end
  end
  return false
end

-- Foreign keys between the tables drawn: { from, to, names, one, optional }.
local function links_of(tables)
  local drawn, links = {}, {}
  for _, tbl in ipairs(tables) do
    drawn[tbl] = true
  end
  for _, tbl in ipairs(tables) do
    for _, key in ipairs(tbl.foreign_key_constraints) do
      local target, positions = key:target()
      local names, own = {}, {}
      for position, column in ipairs(key.columns) do
        names[position], own[position] = column.name, column.position
      end
      links[#links + 1] = drawn[target] and { from = tbl, to = target, names = table.concat(names, ", "),
        column = own[1], target = positions[1], one = tbl.metadata.handle:is_unique(tbl.id, own),
        optional = is_optional(key) } or nil
    end
  end
  return links
end

-- ---- Mermaid ----

-- Words with a meaning of their own at the beginning of a line.
local MERMAID_WORDS = { class = 1, classdef = 1, direction = 1, erdiagram = 1, style = 1, title = 1 }

local function mermaid_entity(name)
  if name:find("^%a[%w_]*$") and not MERMAID_WORDS[name:lower()] then
    return name
  end
  return '"' .. name:gsub('"', "'"):gsub("[%c%%\\]", "_") .. '"'
end

-- Names of columns and types are words there, without quotes.
local function mermaid_word(text)
  text = text:gsub("%s*%([^)]*,[^)]*%)", ""):gsub("[^%w_%-%(%)\128-\255]", "_")
  return text:find("^[%a\128-\255]") and text or "_" .. text
end

local function mermaid_columns(tbl, lines)
  for _, column in ipairs(tbl.columns) do
    local marks = table.concat(marks_of(column), ", ")
    lines[#lines + 1] = ("        %s %s%s"):format(mermaid_word(type_of(column)), mermaid_word(column.name),
      marks ~= "" and " " .. marks or "")
  end
end

local function mermaid(tables, options)
  local lines = { "erDiagram" }
  for _, tbl in ipairs(tables) do
    lines[#lines + 1] = "    " .. mermaid_entity(tbl.fullname) .. (options.columns and " {" or "")
    if options.columns then
      mermaid_columns(tbl, lines)
      lines[#lines + 1] = "    }"
    end
  end
  for _, link in ipairs(links_of(tables)) do
    lines[#lines + 1] = ('    %s %s--%s %s : "%s"'):format(mermaid_entity(link.to.fullname), link.optional and "|o" or "||",
      link.one and "o|" or "o{", mermaid_entity(link.from.fullname), (link.names:gsub('[%c"]', "_")))
  end
  return table.concat(lines, "\n")
end

-- ---- Graphviz ----

local function quoted(name)
  return '"' .. name:gsub('[\\"]', "\\%0"):gsub("%c", " ") .. '"'
end

local HTML = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function html(text)
  return (text:gsub("%c", " "):gsub('[&<>"]', HTML))
end

local function dot_row(column)
  local marks = table.concat(marks_of(column), ", ")
  return ('<TR><TD ALIGN="LEFT" PORT="c%d">%s <FONT COLOR="#666666">%s</FONT>%s</TD></TR>'):format(column.position,
    html(column.name), html(type_of(column)), marks ~= "" and " <B>" .. marks .. "</B>" or "")
end

local function dot_table(tbl, options)
  local rows = { ('<TR><TD BGCOLOR="#e8eef7"><B>%s</B></TD></TR>'):format(html(tbl.fullname)) }
  for _, column in ipairs(options.columns and tbl.columns or {}) do
    rows[#rows + 1] = dot_row(column)
  end
  return ('  %s [label=<<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="4">%s</TABLE>>];')
    :format(quoted(tbl.fullname), table.concat(rows))
end

local function dot_link(link, options)
  local tail = options.columns and ":c" .. link.column or ""
  local head = options.columns and ":c" .. link.target or ""
  return ("  %s%s -> %s%s [arrowtail=%s, arrowhead=%s, tooltip=%s];"):format(quoted(link.from.fullname), tail,
    quoted(link.to.fullname), head, link.one and "teeodot" or "crowodot", link.optional and "teeodot" or "teetee",
    quoted(link.names))
end

local function dot(tables, options)
  local lines = { "digraph tables {", "  graph [rankdir=RL];", '  node [shape=plain, fontname="Helvetica"];',
    "  edge [dir=both];" }
  for _, tbl in ipairs(tables) do
    lines[#lines + 1] = dot_table(tbl, options)
  end
  for _, link in ipairs(links_of(tables)) do
    lines[#lines + 1] = dot_link(link, options)
  end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n")
end

-- ---- what a script calls ----

local FORMATS = { mermaid = mermaid, dot = dot }
local OPTIONS = { format = 1, tables = 1, columns = 1 }

local function read_options(options)
  options = errors.check_options(options, OPTIONS, "diagram()")
  local format = options.format or "mermaid"
  if not FORMATS[format] then
    errors.raise("ArgumentError", "diagram(): there is no format %s%s", errors.show(format),
      errors.hint(tostring(format), errors.sorted_keys(FORMATS)))
  elseif options.columns ~= nil and type(options.columns) ~= "boolean" then
    errors.raise("ArgumentError", "diagram(): columns must be true or false, got %s", errors.show(options.columns))
  end
  return { format = format, tables = options.tables, columns = options.columns ~= false }
end

--- A diagram of tables and their foreign keys, as text: "mermaid" for Markdown pages, "dot" for Graphviz.
---@param source orrery.MetaData|table a MetaData, a declarative base, or what automap() gave
---@param options? { format?: "mermaid"|"dot", tables?: string[], columns?: boolean } columns = false: names of tables only
---@return string
function diagram.diagram(source, options)
  options = read_options(options)
  return FORMATS[options.format](wanted_tables(metadata_of(source), options.tables), options)
end

return diagram
