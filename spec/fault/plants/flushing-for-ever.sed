# a session whose flush has failed refuses every other one
# in lua/orrery/session_transaction.lua
# caught by memory --stride 97 graph
/^function Session:flush/,/^end/s/^  rawset(self, "flushing", false)$/  if ok then rawset(self, "flushing", false) end/
