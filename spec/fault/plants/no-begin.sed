# statements run without BEGIN, each flush is a transaction of its own
# in lua/orrery/transaction.lua
# caught by disk nested flush
s/^  control(self, sql)$//
s/^  control(self, "COMMIT")$/  if self.dbc:in_transaction() then control(self, "COMMIT") end/
