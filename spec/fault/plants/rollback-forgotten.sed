# what follows a rollback is told that it was done, and it was not
# in lua/orrery/transaction.lua
# caught by memory --stride 97 graph
/^local function run_rollback/,/^end/s/^    control(self, "ROLLBACK")$//
