# an array that cannot grow is taken for one that has
# in src/core/alloc.c
# caught by memory --stride 3 graph
/^void \*orr_alloc_grow/,/^}/s/^  return grown;$/  *capacity = wanted;\n  return grown ? grown : block;/
