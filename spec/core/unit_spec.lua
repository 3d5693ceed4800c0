-- src/core/unit.c: the order of a flush. Actions carry names in a case; the plan gives the names back.
local core = require "spec.support.core"

-- "insert a" as one batch of one action: { "author: insert a b", "book: delete c" }
local function show(groups, actions, order, batches)
  local lines = {}
  for i, batch in ipairs(batches) do
    local names = {}
    for j = batch[3], batch[3] + batch[4] - 1 do
      names[#names + 1] = actions[order[j]].name
    end
    lines[i] = ("%s: %s %s"):format(groups[batch[1]].name, batch[2], table.concat(names, " "))
  end
  return lines
end

-- groups: { name, rank [, "cyclic"] }; actions: "author insert a"; links: "a b" (a before b)
local function plan(groups, actions, links)
  local group_of, action_of, edges = {}, {}, {}
  for i, group in ipairs(groups) do
    groups[i] = { group[2], group[3] == "cyclic", name = group[1] }
    group_of[group[1]] = i
  end
  for i, action in ipairs(actions) do
    local group, kind, name = action:match("^(%S+) (%S+) (%S+)$")
    actions[i] = { group_of[group], kind, name = name }
    action_of[name] = i
  end
  for i, link in ipairs(links or {}) do
    local before, after = link:match("^(%S+) (%S+)$")
    edges[i] = { action_of[before], action_of[after] }
  end
  return show(groups, actions, core.unit_plan(groups, actions, edges))
end

describe("unit of work", function()
  it("saves by rank and deletes against it", function()
    assert.same({
      "author: insert a", "book: update b", "book: insert c", "book: delete d", "author: delete e",
    }, plan({ { "author", 0 }, { "book", 1 } }, {
      "author delete e", "book delete d", "book insert c", "author insert a", "book update b",
    }))
  end)

  it("keeps the order of adding within a batch", function()
    assert.same({ "t: update u1 u2", "t: insert i1 i2 i3", "t: delete d2 d1" }, plan({ { "t", 0 } }, {
      "t insert i1", "t delete d2", "t update u1", "t insert i2", "t delete d1", "t update u2", "t insert i3",
    }))
  end)

  it("writes link rows after the rows of their table, deletes before inserts", function()
    assert.same({
      "post: insert p", "tag: insert t", "post_tag: link_delete x", "post_tag: link_insert y", "tag: delete old",
    }, plan({ { "post", 0 }, { "tag", 1 }, { "post_tag", 2 } }, {
      "post_tag link_insert y", "tag delete old", "post_tag link_delete x", "tag insert t", "post insert p",
    }))
  end)

  it("makes room for unique values before all else in a table, and lets foreign keys wait until every row is there", function()
    assert.same({
      "a: set_aside x", "a: early_delete d", "a: update u", "a: insert i", "b: insert j", "a: post_update p", "b: post_update q",
      "b: delete f", "a: delete e",
    }, plan({ { "a", 0 }, { "b", 1 } }, {
      "a post_update p", "b insert j", "a delete e", "a insert i", "a update u", "b post_update q", "b delete f",
      "a early_delete d", "a set_aside x",
    }))
  end)

  it("does not look at links that ranks decide", function()
    assert.same({ "author: insert a1 a2", "book: insert b1 b2" },
      plan({ { "author", 0 }, { "book", 1 } },
        { "book insert b1", "author insert a1", "book insert b2", "author insert a2" }, { "a1 b1", "a2 b2" }))
  end)

  it("saves a tree level by level", function()
    assert.same({ "node: insert root c1 c2 g1" }, plan({ { "node", 0, "cyclic" } },
      { "node insert root", "node insert c1", "node insert g1", "node insert c2" },
      { "root c1", "root c2", "c1 g1" }))
  end)

  it("deletes a tree from its leaves", function()
    assert.same({ "node: delete g1 c2 c1 root" }, plan({ { "node", 0, "cyclic" } },
      { "node delete root", "node delete c1", "node delete g1", "node delete c2" },
      { "root c1", "root c2", "c1 g1" }))
  end)

  it("lets two tables that refer to each other take turns", function()
    assert.same({ "a: insert a1", "b: insert b1", "a: insert a2", "z: insert z1" }, plan(
      { { "z", 1 }, { "a", 0, "cyclic" }, { "b", 0, "cyclic" } },
      { "z insert z1", "a insert a2", "b insert b1", "a insert a1" }, { "a1 b1", "b1 a2" }))
  end)

  it("orders updates inside a circle of tables by their links too", function()
    assert.same({ "node: insert new", "node: update old" }, plan({ { "node", 0, "cyclic" } },
      { "node update old", "node insert new" }, { "new old" }))
  end)

  it("puts link rows of a circle of tables behind its rows", function()
    assert.same({ "node: insert n1 n2", "node: link_insert l" }, plan({ { "node", 0, "cyclic" } },
      { "node link_insert l", "node insert n1", "node insert n2" }, { "n1 n2" }))
  end)

  it("ignores a circle that goes through rows which exist already", function()
    assert.same({ "node: update a b" }, plan({ { "node", 0, "cyclic" } },
      { "node update a", "node update b" }, { "a b", "b a" }))
    assert.same({ "node: update a" }, plan({ { "node", 0, "cyclic" } }, { "node update a" }, { "a a" }))
    assert.same({ "node: delete a" }, plan({ { "node", 0, "cyclic" } }, { "node delete a" }, { "a a" }))
  end)

  it("reports the actions of a circle of new rows", function()
    local ok, err = pcall(core.unit_plan, { { 0, true } },
      { { 1, "insert" }, { 1, "insert" }, { 1, "insert" }, { 1, "insert" } },
      { { 1, 2 }, { 2, 3 }, { 3, 2 }, { 3, 4 } })
    assert.is_false(ok)
    assert.same("CircularDependencyError", err.kind)
    assert.same("2 rows refer to each other in a circle", err.message)
    assert.same({ 2, 3 }, err.actions)
  end)

  it("reports a new row that refers to itself, and a circle of deletes", function()
    local ok, err = pcall(core.unit_plan, { { 0, true } }, { { 1, "insert" } }, { { 1, 1 } })
    assert.same({ false, { 1 } }, { ok, err.actions })
    ok, err = pcall(core.unit_plan, { { 0, true } }, { { 1, "delete" }, { 1, "delete" } }, { { 1, 2 }, { 2, 1 } })
    assert.same({ false, { 1, 2 } }, { ok, err.actions })
  end)

  it("plans nothing", function()
    local order, batches = core.unit_plan({}, {}, {})
    assert.same({ {}, {} }, { order, batches })
  end)

  it("plans a chain of 5,000 rows", function()
    local actions, links = {}, {}
    for i = 1, 5000 do
      actions[i] = { 1, "insert" }
      links[i] = { i, math.max(i - 1, 1) }
    end
    table.remove(links, 1)
    local order, batches = core.unit_plan({ { 0, true } }, actions, links)
    assert.same({ 5000, 1, 1 }, { order[1], order[5000], #batches })
  end)

  it("lets a row refer to another circle of tables by rank alone, and saves not wait for deletes", function()
    local groups = { { "a", 0, "cyclic" }, { "b", 0, "cyclic" }, { "x", 1, "cyclic" }, { "plain", 2 } }
    assert.same({ "a: insert a1", "b: insert b1", "a: insert a2", "x: insert x1", "plain: insert p", "b: delete gone" },
      plan(groups, { "x insert x1", "a insert a2", "b insert b1", "a insert a1", "plain insert p", "b delete gone" },
        { "a1 b1", "b1 a2", "a1 x1", "x1 p", "a1 gone", "gone a1" }))
  end)

  it("of nothing is nothing, and of wrong kinds an error", function()
    assert.same({}, plan({ { "t", 0 } }, {}))
    assert.is_false((pcall(core.unit_plan, { { 0 } }, { { 1, "insrt" } }, {})))
    assert.is_false((pcall(core.unit_plan, { { 0 } }, { { 2, "insert" } }, {})))
    assert.is_false((pcall(core.unit_plan, { { 0 } }, { { 1, "insert" } }, { { 1, 2 } })))
    assert.is_false((pcall(core.unit_plan, { { "x" } }, { { 1, "insert" } }, {})))
  end)
end)
