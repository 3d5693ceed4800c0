-- core: the module table of the C side, which scripts do not see.
return require "spec.support.internals"("toposort", "function")
