/* keep_modules: preloaded for `make asan`. Lua unloads its modules when the state closes, before the leak report
   is written, which would then show addresses instead of our functions. */
int dlclose(void *handle) {
  (void)handle;
  return 0;
}
