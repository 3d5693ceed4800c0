--- sqlite_text: reads the CREATE TABLE and CREATE INDEX texts that SQLite keeps, for what it tells nowhere else: names
-- of constraints, checks, deferral, collations, computed values, expressions of indexes. Makes one pass over tokens
-- without recursion; what it does not know it steps over, since SQLite has accepted the text already.
local sqlite_text = {}

-- ---- tokens ----

-- Where the quoted token that begins at `start` ends; a doubled quote stands for one.
local function quoted_end(sql, start, quote)
  local from = start + 1
  while true do
    local stop = sql:find(quote, from, true)
    if not stop then
      return #sql
    elseif quote == "]" or sql:sub(stop + 1, stop + 1) ~= quote then
      return stop
    end
    from = stop + 2
  end
end

-- Behind the space and comments that begin at `from`.
local function skip_space(sql, from)
  while true do
    local start = sql:find("[^ \t\n\f\r]", from)
    if not start then
      return #sql + 1
    elseif sql:sub(start, start + 1) == "--" then
      from = (sql:find("\n", start, true) or #sql) + 1
    elseif sql:sub(start, start + 1) == "/*" then
      local _, stop = sql:find("*/", start + 2, true)
      from = (stop or #sql) + 1
    else
      return start
    end
  end
end

local function number_end(sql, start)
  local _, hexadecimal = sql:find("^0[xX]%x+", start)
  local _, stop = sql:find("^%d*%.?%d*", start)
  local _, exponent = sql:find("^[eE][+-]?%d+", stop + 1)
  return hexadecimal or exponent or stop
end

local QUOTES = { ['"'] = '"', ["`"] = "`", ["["] = "]", ["'"] = "'" }

local function token_at(sql, start)
  local first = sql:sub(start, start)
  if QUOTES[first] then
    return { kind = first == "'" and "string" or "quoted", start = start, stop = quoted_end(sql, start, QUOTES[first]) }
  end
  local _, stop = sql:find("^[%w_$\128-\255]+", start)
  if not stop then
    return { kind = first, start = start, stop = start }
  elseif first:find("%d") then
    return { kind = "number", start = start, stop = number_end(sql, start) }
  elseif (first == "x" or first == "X") and stop == start and sql:sub(start + 1, start + 1) == "'" then
    return { kind = "string", start = start, stop = quoted_end(sql, start + 1, "'") }
  end
  return { kind = "word", start = start, stop = stop, word = sql:sub(start, stop):upper() }
end

--- The tokens of a text: { kind, start, stop, word = in upper case }, without space and comments.
---@param sql string
---@return table[]
function sqlite_text.tokens(sql)
  local tokens, position = {}, skip_space(sql, 1)
  while position <= #sql do
    local token = token_at(sql, position)
    tokens[#tokens + 1] = token
    position = skip_space(sql, token.stop + 1)
  end
  return tokens
end

-- ---- a place among them ----

local Reader = {}
local reader_metatable = { __index = Reader }

local function new_reader(sql)
  return setmetatable({ sql = sql, tokens = sqlite_text.tokens(sql), at = 1 }, reader_metatable)
end

function Reader:word(offset)
  local token = self.tokens[self.at + (offset or 0)]
  return token and token.word
end

function Reader:kind(offset)
  local token = self.tokens[self.at + (offset or 0)]
  return token and token.kind
end

-- Steps over the words where they stand here.
function Reader:take(...)
  for position = 1, select("#", ...) do
    if self:word(position - 1) ~= (select(position, ...)) then
      return false
    end
  end
  self.at = self.at + select("#", ...)
  return true
end

-- The text from one token to another; comments behind the last one stay out.
function Reader:text(first, last)
  return first <= last and self.sql:sub(self.tokens[first].start, self.tokens[last].stop) or ""
end

-- The identifier that stands here, in whichever quotes.
function Reader:name()
  local token = self.tokens[self.at]
  if not token then
    return nil
  end
  self.at = self.at + 1
  local text = self.sql:sub(token.start, token.stop)
  local quote = QUOTES[text:sub(1, 1)]
  if not quote or token.kind == "word" then
    return text
  end
  text = text:sub(2, -2)
  return quote == "]" and text or (text:gsub(quote .. quote, quote))
end

-- Steps over the group in parentheses that begins here; the numbers of its first and last token inside.
function Reader:group()
  if self:kind() ~= "(" then
    return nil
  end
  local depth, first = 0, self.at + 1
  while self.tokens[self.at] do
    local kind = self:kind()
    depth = depth + (kind == "(" and 1 or kind == ")" and -1 or 0)
    self.at = self.at + 1
    if depth == 0 then
      return first, self.at - 2
    end
  end
  return first, self.at - 1
end

-- ---- pieces of constraints ----

-- ON CONFLICT word; also the words of ON DELETE and ON UPDATE.
local function skip_on(self)
  self.at = self.at + 2
  if not self:take("SET", "NULL") and not self:take("SET", "DEFAULT") and not self:take("NO", "ACTION") then
    self.at = self.at + 1
  end
end

local function take_conflict(self)
  if not self:take("ON", "CONFLICT") then
    return nil
  end
  self.at = self.at + 1
  return self:word(-1)
end

local function take_deferral(self, key)
  if self:take("NOT", "DEFERRABLE") then
    key.deferrable = false
  elseif self:take("DEFERRABLE") then
    key.deferrable = true
  elseif not self:take("INITIALLY") then
    return false
  else
    key.initially, self.at = self:word(), self.at + 1
  end
  return true
end

-- REFERENCES table (columns) ON DELETE ... DEFERRABLE ...
local function take_reference(self, key)
  self.at = self.at + 1
  key.table = self:name()
  self:group()
  while true do
    if self:word() == "ON" then
      skip_on(self)
    elseif self:word() == "MATCH" then
      self.at = self.at + 2
    elseif not take_deferral(self, key) then
      return key
    end
  end
end

-- The names in a list (a, "b" COLLATE x DESC): the first token of each item.
local function take_names(self)
  local first, last = self:group()
  local names, behind = {}, self.at
  self.at = first or behind
  local depth, wanted = 0, true
  while first and self.at <= last do
    local kind = self:kind()
    if wanted then
      names[#names + 1] = self:name()
      wanted = false
    else
      depth = depth + (kind == "(" and 1 or kind == ")" and -1 or 0)
      wanted = kind == "," and depth == 0
      self.at = self.at + 1
    end
  end
  self.at = behind
  return names
end

local function add(found, kind, fields)
  fields.kind = kind
  found.constraints[#found.constraints + 1] = fields
  return fields
end

-- ---- columns ----

local COLUMN = {}

function COLUMN.CONSTRAINT(self, _, column)
  self.at = self.at + 1
  column.pending = self:name()
  return true -- the name is for what comes next
end

function COLUMN.PRIMARY(self, found, column)
  self.at = self.at + 2
  found.primary_key = { name = column.pending, columns = { column.name } }
  if self:take("DESC") then
    found.primary_key.descending = true
  end
  self:take("ASC")
  found.primary_key.on_conflict = take_conflict(self)
end

function COLUMN.AUTOINCREMENT(self, found)
  self.at = self.at + 1
  found.autoincrement = true
end

function COLUMN.UNIQUE(self, found, column)
  self.at = self.at + 1
  add(found, "unique", { name = column.pending, columns = { column.name }, on_conflict = take_conflict(self) })
end

function COLUMN.CHECK(self, found, column)
  self.at = self.at + 1
  local first, last = self:group()
  if first then
    add(found, "check", { name = column.pending, sqltext = self:text(first, last) })
  end
end

function COLUMN.DEFAULT(self, _, column)
  self.at = self.at + 1
  local first = self.at
  if not self:group() then
    local signed = self:kind() == "-" or self:kind() == "+"
    self.at = self.at + (signed and 2 or 1)
    if self:kind() == "number" and self.tokens[self.at - 1].kind == "." then
      self.at = self.at + 1 -- ".5"
    end
  end
  column.default = self:text(first, math.min(self.at - 1, #self.tokens))
end

function COLUMN.COLLATE(self, _, column)
  self.at = self.at + 1
  column.collation = self:name()
end

function COLUMN.REFERENCES(self, found, column)
  take_reference(self, add(found, "foreign_key", { name = column.pending, columns = { column.name } }))
end

function COLUMN.AS(self, _, column)
  self.at = self.at + 1
  local first, last = self:group()
  if first then
    column.computed = { sqltext = self:text(first, last), persisted = false }
    if self:take("STORED") then
      column.computed.persisted = true
    elseif self:take("VIRTUAL") then
      column.computed.says_virtual = true
    end
  end
end

function COLUMN.NOT(self, _, column)
  self.at = self.at + 2 -- NOT NULL, NOT DEFERRABLE
  column.on_conflict_not_null = take_conflict(self) or column.on_conflict_not_null
end

function COLUMN.ON(self)
  skip_on(self)
end

-- SQLite gives deferral that stands alone to the foreign key before it.
local function column_deferral(self, found)
  local last = found.constraints[#found.constraints]
  if not take_deferral(self, last and last.kind == "foreign_key" and last or {}) then
    self.at = self.at + 1
  end
end
COLUMN.DEFERRABLE, COLUMN.INITIALLY = column_deferral, column_deferral

local function read_column(self, found)
  local column = { name = self:name() }
  found.columns[#found.columns + 1] = column
  while self.tokens[self.at] and self:kind() ~= "," and self:kind() ~= ")" do
    local handler = COLUMN[self:word() or ""]
    if handler then
      if not handler(self, found, column) then
        column.pending = nil
      end
    elseif not self:group() then
      self.at = self.at + 1
    end
  end
end

-- ---- constraints of the table ----

local TABLE = {}

function TABLE.PRIMARY(self, found, name)
  self.at = self.at + 2
  found.primary_key = { name = name, columns = take_names(self), on_conflict = take_conflict(self) }
end

function TABLE.UNIQUE(self, found, name)
  self.at = self.at + 1
  add(found, "unique", { name = name, columns = take_names(self), on_conflict = take_conflict(self) })
end

function TABLE.CHECK(self, found, name)
  self.at = self.at + 1
  local first, last = self:group()
  if first then
    add(found, "check", { name = name, sqltext = self:text(first, last), on_conflict = take_conflict(self) })
  end
end

function TABLE.FOREIGN(self, found, name)
  self.at = self.at + 2
  local key = add(found, "foreign_key", { name = name, columns = take_names(self) })
  if self:word() == "REFERENCES" then
    take_reference(self, key)
  end
end

function TABLE.ON(self)
  skip_on(self)
end

-- They need no commas between them.
local function read_constraints(self, found)
  local name
  while self.tokens[self.at] and self:kind() ~= "," and self:kind() ~= ")" do
    local handler = TABLE[self:word() or ""]
    if self:take("CONSTRAINT") then
      name = self:name()
    elseif handler then
      handler(self, found, name)
      name = nil
    elseif not self:group() then
      self.at = self.at + 1
    end
  end
end

local CONSTRAINT_WORDS = { CONSTRAINT = true, PRIMARY = true, UNIQUE = true, CHECK = true, FOREIGN = true }

local function read_options(self, found)
  while self.tokens[self.at] do
    if self:take("WITHOUT", "ROWID") then
      found.without_rowid = true
    elseif self:take("STRICT") then
      found.strict = true
    else
      self.at = self.at + 1
    end
  end
end

-- ---- statements ----

-- [schema.]name
local function skip_name(self)
  self:name()
  if self:kind() == "." then
    self.at = self.at + 1
    self:name()
  end
end

--- What CREATE TABLE says, or nil for another text (a virtual table): columns { name, default, collation, computed,
--- on_conflict_not_null }, primary_key { name, columns, on_conflict }, constraints in order { kind, name, columns,
--- sqltext, on_conflict, table, deferrable, initially }, autoincrement, without_rowid, strict.
---@param sql string?
---@return table?
function sqlite_text.read_table(sql)
  local self = new_reader(sql or "")
  if not self:take("CREATE") then
    return nil
  end
  local _ = self:take("TEMP") or self:take("TEMPORARY")
  if not self:take("TABLE") then
    return nil
  end
  self:take("IF", "NOT", "EXISTS")
  skip_name(self)
  if self:kind() ~= "(" then
    return nil
  end
  local found = { columns = {}, constraints = {} }
  while self:kind() == "(" or self:kind() == "," do
    self.at = self.at + 1
    local read = CONSTRAINT_WORDS[self:word() or ""] and read_constraints or read_column
    read(self, found)
  end
  self.at = self.at + 1
  read_options(self, found)
  return found
end

-- One item of an index: its text, without ASC or DESC behind it.
local function index_item(self, first, last)
  local word = self.tokens[last] and self.tokens[last].word
  local descending = word == "DESC"
  if last > first and (descending or word == "ASC") then
    last = last - 1
  end
  return { text = self:text(first, last), descending = descending }
end

--- What CREATE INDEX says, or nil: items { text, descending } and where.
---@param sql string?
---@return table?
function sqlite_text.read_index(sql)
  local self = new_reader(sql or "")
  self:take("CREATE")
  self:take("UNIQUE")
  if not self:take("INDEX") then
    return nil
  end
  self:take("IF", "NOT", "EXISTS")
  skip_name(self)
  self:take("ON")
  self:name()
  local first, last = self:group()
  local found, depth, start = { items = {} }, 0, first
  for position = first or 1, first and last or 0 do
    local kind = self.tokens[position].kind
    depth = depth + (kind == "(" and 1 or kind == ")" and -1 or 0)
    if kind == "," and depth == 0 then
      found.items[#found.items + 1] = index_item(self, start, position - 1)
      start = position + 1
    end
  end
  if first then
    found.items[#found.items + 1] = index_item(self, start, last)
  end
  if self:take("WHERE") then
    found.where = self:text(self.at, #self.tokens)
  end
  return found
end

--- An SQL text without space and comments around it.
---@param sql string
---@return string
function sqlite_text.trim(sql)
  local tokens = sqlite_text.tokens(sql)
  return tokens[1] and sql:sub(tokens[1].start, tokens[#tokens].stop) or ""
end

return sqlite_text
