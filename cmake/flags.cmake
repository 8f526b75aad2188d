# Flags every target gets, and the two helpers every folder uses:
#   ferrum_library(NAME SOURCES ... [DEPENDS ...])   a static library with the house flags
#   ferrum_flags(TARGET)                             the house flags on any target

add_library(ferrum_flags_all INTERFACE)
target_compile_definitions(ferrum_flags_all INTERFACE _GNU_SOURCE)
target_compile_options(ferrum_flags_all INTERFACE
  -Wall -Wextra -Wshadow -Wundef -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith
  -Wwrite-strings -Wformat=2 -fno-strict-aliasing -fno-math-errno
  # Products must give the same bits in every file that computes them: fusing a*b+c is our choice,
  # made with intrinsics or fmaf(), never the compiler's.
  -ffp-contract=off)
if(FERRUM_WERROR)
  target_compile_options(ferrum_flags_all INTERFACE -Werror)
endif()
if(FERRUM_SANITIZE)
  target_compile_options(ferrum_flags_all INTERFACE -fsanitize=${FERRUM_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(ferrum_flags_all INTERFACE -fsanitize=${FERRUM_SANITIZE})
endif()

function(ferrum_flags target)
  target_link_libraries(${target} PRIVATE ferrum_flags_all)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
endfunction()

function(ferrum_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  ferrum_flags(${name})
  target_link_libraries(${name} PUBLIC ${A_DEPENDS})
endfunction()
