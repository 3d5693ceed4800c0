/* embed: a host program in C that keeps its data with Orrery. The interpreter, Orrery and the script are all inside
   this executable: no Lua file is read, and the script gets neither the io, nor the os, nor the package library.
   Usage: embed [DATABASE-URL]     default: a database in memory */
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "orrery.h"

/* Called with the module and the database's URL; returns the portfolio that was stored and read back. */
static const char SCRIPT[] =
    "local orm, url = ...\n"
    "local Integer, String, Numeric, Mapped = orm.Integer, orm.String, orm.Numeric, orm.Mapped\n"
    "local Base = orm.declarative_base()\n"
    "local Portfolio = Base:model('Portfolio', {\n"
    "  __tablename__ = 'portfolio',\n"
    "  id = Mapped(Integer, { primary_key = true }),\n"
    "  name = Mapped(String(256)),\n"
    "  investments = orm.relationship('Investment', { back_populates = 'portfolio' }),\n"
    "})\n"
    "local Investment = Base:model('Investment', {\n"
    "  __tablename__ = 'investments',\n"
    "  id = Mapped(Integer, { primary_key = true }),\n"
    "  coin = Mapped(String(32)),\n"
    "  currency = Mapped(String(3)),\n"
    "  amount = Mapped(Numeric(5, 2)),\n"
    "  portfolio_id = Mapped(orm.Optional(Integer), orm.ForeignKey('portfolio.id')),\n"
    "  portfolio = orm.relationship('Portfolio', { back_populates = 'investments' }),\n"
    "})\n"
    "local engine = orm.create_engine(url)\n"
    "Base.metadata:create_all(engine)\n"
    "orm.with(orm.Session(engine), function(session)\n"
    "  local portfolio = Portfolio{ name = 'My Portfolio' }\n"
    "  portfolio.investments:extend{\n"
    "    Investment{ coin = 'bitcoin', currency = 'USD', amount = 1.0 },\n"
    "    Investment{ coin = 'ethereum', currency = 'GBP', amount = 10.0 },\n"
    "    Investment{ coin = 'dogecoin', currency = 'EUR', amount = 100.0 },\n"
    "  }\n"
    "  session:add(portfolio)\n"
    "  session:commit()\n"
    "end)\n"
    "local session = orm.Session(engine)\n"
    "return session:scalars(orm.select(Portfolio)):one()\n";

/* Mapped objects answer lua_getfield, and collections lua_geti and luaL_len, as tables do. */
static void print_investment(lua_State *L, lua_Integer position) {
  lua_geti(L, -1, position);
  lua_getfield(L, -1, "coin");
  lua_getfield(L, -2, "amount");
  lua_getfield(L, -3, "currency");
  printf("  %-10s %8.2f %s\n", lua_tostring(L, -3), lua_tonumber(L, -2), lua_tostring(L, -1));
  lua_pop(L, 4);
}

static void print_portfolio(lua_State *L) {
  lua_getfield(L, -1, "name");
  lua_getfield(L, -2, "investments");
  lua_Integer count = luaL_len(L, -1);
  printf("%s: %d investments\n", lua_tostring(L, -2), (int)count);
  for (lua_Integer i = 1; i <= count; i++)
    print_investment(L, i);
  lua_pop(L, 2);
}

static void open_libraries(lua_State *L) {
  luaL_requiref(L, "_G", luaopen_base, 1);
  luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
  luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
  luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
  luaL_requiref(L, LUA_COLIBNAME, luaopen_coroutine, 1);
  lua_pop(L, 5);
}

/* Runs protected: memory can run out anywhere, and reading an object may have to ask the database. */
static int work(lua_State *L) {
  const char *url = lua_touserdata(L, 1);
  open_libraries(L);
  if (luaL_loadbuffer(L, SCRIPT, sizeof SCRIPT - 1, "=script") != LUA_OK)
    return lua_error(L);
  luaL_requiref(L, "orrery", luaopen_orrery, 0);
  lua_pushstring(L, url);
  lua_call(L, 2, 1);
  print_portfolio(L);
  return 0;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (!L)
    return 1;
  lua_pushcfunction(L, work); /* this and the next are the calls that cannot raise */
  lua_pushlightuserdata(L, argc > 1 ? argv[1] : "sqlite:///:memory:");
  int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK) /* an error of Orrery is a table that converts itself */
    fprintf(stderr, "embed: %s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return status != LUA_OK;
}
