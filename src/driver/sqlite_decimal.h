/* sqlite_decimal: exact decimals in SQLite, which has none: text columns that are compared, sorted, added and
   multiplied as the numbers that they hold. The compiler uses these where a type asks for exact decimals. */
#ifndef ORR_SQLITE_DECIMAL_H
#define ORR_SQLITE_DECIMAL_H

struct sqlite3;

/* Gives a connection the collation orrery_decimal, the functions orrery_add, orrery_sub and orrery_mul, and
   the aggregate orrery_sum. Returns SQLite's code. */
int orr_sqlite_decimal(struct sqlite3 *db);

#endif
