# Run at every build: writes version.c anew only when the commit has changed.
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --dirty OUTPUT_VARIABLE FERRUM_COMMIT
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT FERRUM_COMMIT)
  set(FERRUM_COMMIT "unknown (not built from a git checkout)")
endif()
configure_file(${SOURCE_DIR}/app/version.c.in ${OUTPUT} @ONLY)
