-- raises: calls a function that must fail, checks the error's kind and words, and returns the error.
local luassert = require "luassert"

return function(kind, words, fn, ...)
  local ok, err = pcall(fn, ...)
  luassert(not ok, "an error of kind " .. kind .. " was expected")
  luassert(type(err) == "table" and err.kind == kind, ("%s expected, got %s: %s"):format(kind,
    type(err) == "table" and tostring(err.kind) or type(err), tostring(err)))
  for _, word in ipairs(type(words) == "table" and words or { words }) do
    luassert(err.message:find(word, 1, true), ("'%s' expected in: %s"):format(word, err.message))
  end
  return err
end
