# commit() returns although COMMIT has failed
# in lua/orrery/transaction.lua
# caught by disk graph
s/^  control(self, "COMMIT")$/  pcall(control, self, "COMMIT")/
