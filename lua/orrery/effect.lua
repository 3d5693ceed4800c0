--- effect: what a statement does to its transaction, found out before it runs: reads, writes, is a setting that must stand
-- outside, or would end the transaction behind the connection's back.
local import = ...
local errors = import "errors"
local transaction = import "transaction"

local effect = {}

-- Settings have no effect inside a transaction, or cannot run there: they begin none.
local SETTINGS = { PRAGMA = true, VACUUM = true, ATTACH = true, DETACH = true }

--- The first word of SQL, in capitals, behind blanks and comments; nil where there is none.
---@param sql string
---@return string?
function effect.first_word(sql)
  local from = 1
  while from do
    local word, comment = sql:match("^%s*(%a*)()", from)
    from = sql:match("^%-%-[^\n]*()", comment) or sql:match("^/%*.-%*/()", comment)
    if word ~= "" or not from then
      return word:upper()
    end
  end
end

local function check_setting(self, sql)
  if sql:match("^%s*[Pp][Rr][Aa][Gg][Mm][Aa]%s+foreign_keys%s*[=(]") and self.dbc:in_transaction() then
    errors.raise("InvalidRequestError",
      "PRAGMA foreign_keys does nothing inside a transaction; commit or roll back first")
  end
end

local CONTROL = { BEGIN = "begin", COMMIT = "commit", END = "commit", ROLLBACK = "rollback" }

local function is_rollback_to(sql)
  sql = sql:upper()
  return sql:find("^%s*ROLLBACK%s+TO%s") or sql:find("^%s*ROLLBACK%s+TRANSACTION%s+TO%s")
end

-- A transaction that is ended behind the connection's back looks like one that was lost.
local function check_control(self, sql)
  local method = CONTROL[effect.first_word(sql)]
  if not self.autocommit and not is_rollback_to(sql) then
    errors.raise("InvalidRequestError", "%s as text cannot be followed; call connection:%s(), or set the connection to "
      .. "AUTOCOMMIT", sql:match("^%s*(%a*)"):upper(), method)
  end
end

-- text() says nothing about itself: the database knows whether it writes. Found out once.
local function effect_of(self, facts, sql)
  if not facts.effect then
    local word = effect.first_word(sql)
    local writes = not self.dbc:prepare(sql):readonly()
    facts.effect = SETTINGS[word] and "setting" or CONTROL[word] and "control" or writes and "write" or "read"
  end
  return facts.effect
end

--- Begins the transaction that a compiled statement needs, where none is open.
---@param self table connection
---@param compiled table
---@param facts table of execution.facts()
function effect.begin_for(self, compiled, facts)
  if compiled.kind ~= "text" then
    transaction.ensure_begun(self, not compiled.readonly)
    return
  end
  local found = effect_of(self, facts, compiled.sql)
  if found == "setting" then
    check_setting(self, compiled.sql)
  elseif found == "control" then
    check_control(self, compiled.sql)
  else
    transaction.ensure_begun(self, found == "write")
  end
end

return effect
