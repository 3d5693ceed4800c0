/* pattern: how many steps Lua's pattern matching takes for a subject, which can be exponentially many, found
   out by matching with a bound. Says nothing of the result, which is Lua's own; a malformed pattern costs
   what it costs up to its fault. Knows no Lua. */
#ifndef ORR_PATTERN_H
#define ORR_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* The steps of finding `pattern` in `subject` once, or (`all`) as often as it occurs; more than `most` where
   it takes more. `graph`: "%g" is a class, as it is not in Lua 5.1. */
double orr_pattern_cost(const char *subject, size_t len, const char *pattern, size_t pattern_len, bool all,
                        bool graph, double most);

#endif
