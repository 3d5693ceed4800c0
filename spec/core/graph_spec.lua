-- src/core/graph.c: dependency order over integers.
local core = require "spec.support.core"

local unpack = table.unpack or unpack
describe("graph", function()
  -- nodes, edges { before, after }, order, component by node, the nodes in circles
  local cases = {
    { "nothing", 0, {}, {}, {}, {} },
    { "independent nodes keep their order", 3, {}, { 1, 2, 3 }, { 1, 2, 3 }, {} },
    { "an order that fits already is kept", 4, { { 1, 3 }, { 2, 4 } }, { 1, 2, 3, 4 }, { 1, 2, 3, 4 }, {} },
    { "what is needed comes first", 3, { { 3, 1 } }, { 2, 3, 1 }, { 3, 1, 2 }, {} },
    { "a diamond", 4, { { 4, 2 }, { 4, 3 }, { 2, 1 }, { 3, 1 } }, { 4, 2, 3, 1 }, { 4, 2, 3, 1 }, {} },
    { "repeated edges count once", 2, { { 2, 1 }, { 2, 1 }, { 2, 1 } }, { 2, 1 }, { 2, 1 }, {} },
    { "a node that refers to itself", 2, { { 1, 1 } }, { 1, 2 }, { 1, 2 }, { 1 } },
    { "a pair", 2, { { 1, 2 }, { 2, 1 } }, { 1, 2 }, { 1, 1 }, { 1, 2 } },
    { "a ring starts at its smallest node and loses one edge", 3, { { 2, 1 }, { 3, 2 }, { 1, 3 } },
      { 1, 3, 2 }, { 1, 1, 1 }, { 1, 2, 3 } },
    { "what a ring needs, the ring, and what needs it", 5, { { 5, 2 }, { 2, 3 }, { 3, 2 }, { 3, 1 } },
      { 4, 5, 2, 3, 1 }, { 4, 3, 3, 1, 2 }, { 2, 3 } },
    { "two rings in a row", 4, { { 3, 4 }, { 4, 3 }, { 1, 2 }, { 2, 1 }, { 4, 1 } },
      { 3, 4, 1, 2 }, { 2, 2, 1, 1 }, { 1, 2, 3, 4 } },
  }
  for _, case in ipairs(cases) do
    local name, nodes, edges, wanted_order, wanted_component, circle = unpack(case, 1, 6)
    it("sorts " .. name, function()
      local order, component, cyclic = core.toposort(nodes, edges)
      local in_circle = {}
      for node = 1, nodes do
        if cyclic[node] then
          in_circle[#in_circle + 1] = node
        end
      end
      assert.same(wanted_order, order)
      assert.same(wanted_component, component)
      assert.same(circle, in_circle)
    end)
  end

  it("walks a chain of 100,000 nodes without recursion, in both directions", function()
    local n, up, down = 100000, {}, {}
    for i = 2, n do
      up[i - 1], down[i - 1] = { i - 1, i }, { i, i - 1 }
    end
    assert.same({ 1, n }, { core.toposort(n, up)[1], core.toposort(n, up)[n] })
    assert.same({ n, 1 }, { core.toposort(n, down)[1], core.toposort(n, down)[n] })
    down[n] = { 1, n }
    local _, component, cyclic = core.toposort(n, down)
    assert.same({ 1, true }, { component[n], cyclic[n / 2] })
  end)

  it("gives the same order for the edges in any order", function()
    local edges = { { 7, 1 }, { 3, 2 }, { 9, 3 }, { 4, 8 }, { 8, 4 }, { 5, 6 } }
    local wanted = core.toposort(9, edges)
    for i = 2, #edges do
      edges[1], edges[i] = edges[i], edges[1]
      assert.same(wanted, (core.toposort(9, edges)))
    end
  end)

  it("refuses edges that lead nowhere", function()
    assert.has_error(function()
      core.toposort(2, { { 1, 3 } })
    end)
  end)
end)
