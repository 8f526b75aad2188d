# Writes OUTPUT, a C file with the text of every file of INPUTS (a list with "|" between) as bytes:
#   const char cl_text_NAME[] for NAME.cl or NAME.h
# Run by kernels_cl/CMakeLists.txt at build time.
string(REPLACE "|" ";" INPUTS "${INPUTS}")
set(text "/* Made by cmake/embed_kernels.cmake from kernels_cl. */\n#include \"kernels_cl/kernel_texts.h\"\n")
foreach(input ${INPUTS})
  get_filename_component(name ${input} NAME_WE)
  file(READ ${input} bytes HEX)
  string(REGEX REPLACE "(................................................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND text "\nconst char cl_text_${name}[] = {\n${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
