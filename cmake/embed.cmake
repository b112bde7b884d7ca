# Puts the profiles of boards and links into a C source (kernels/sim/profiles.h). SPDX-License-Identifier: MIT
#   cmake -DOUT=<file.c> -DFOLDER=<folder> "-DBOARDS=name name ..." "-DLINKS=name ..." -P embed.cmake
cmake_minimum_required(VERSION 3.22)
separate_arguments(BOARDS)
separate_arguments(LINKS)

# Defines <kind>_profiles[] (closed by a name of NULL) and <kind>_profile_names[] from FOLDER/<kind>s/NAME.<kind>.
function(embed kind result)
  set(array "const struct board_profile ${kind}_profiles[] = {\n")
  foreach(name IN LISTS ARGN)
    file(READ ${FOLDER}/${kind}s/${name}.${kind} text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n     \"" text "${text}")
    string(APPEND array "    {\"${name}\",\n     \"${text}\"},\n")
  endforeach()
  list(JOIN ARGN ", " names)
  string(APPEND array "    {NULL, NULL}};\nconst char ${kind}_profile_names[] = \"${names}\";\n")
  set(${result} "${array}" PARENT_SCOPE)
endfunction()

embed(board boards ${BOARDS})
embed(link links ${LINKS})
file(WRITE ${OUT} "/* Made by cmake/embed.cmake. SPDX-License-Identifier: MIT */\n#include \"kernels/sim/profiles.h\"\n\n"
                  "#include <stddef.h>\n\n${boards}\n${links}")
