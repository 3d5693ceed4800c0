-- A version that was the last integer there is was counted on into the first one.
local orm = require "orrery"
local database = require "spec.support.database"
local raises = require "spec.support.raises"

it("a version that no integer comes after is not counted on", function()
  local base = orm.declarative_base()
  local Page = base:model("Page", {
    __tablename__ = "page",
    __mapper_args__ = { version_id_col = "version" },
    id = orm.mapped_column(orm.Integer, { primary_key = true }),
    version = orm.mapped_column(orm.BigInteger, { nullable = false }),
    text = orm.mapped_column(orm.String),
  })
  local engine = database.create(base)
  database.run(engine, "INSERT INTO page VALUES (1, 9223372036854775806, 'a')")
  local session = orm.Session(engine)
  local page = session:get(Page, 1)
  page.text = "b"
  session:flush()
  page.text = "c"
  raises("FlushError", "Page.version: no integer comes after this version", session.flush, session)
  session:rollback()
  session:close()
  assert.same({ "a" }, database.rows(engine, "SELECT text FROM page"))
end)
