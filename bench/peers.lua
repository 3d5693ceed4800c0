-- Ratios of others to the same floor, taken on one machine in one run (2026-11-21, SQLite 3.40.1, Debian 12):
-- SQLAlchemy 2.1 with its C extensions on CPython 3.11, doing the same work in its idiom.
return {
  { name = "SQLAlchemy", W1 = 68, W2 = 62, W3 = 70, W4 = 48, W5 = 76, W6 = 424, W7 = 55, W8 = 22, W8n = 69, W9 = 234, W9p = 44,
    W10 = 29 },
}
