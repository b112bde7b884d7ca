# Language, warnings and floating-point rules of every target. SPDX-License-Identifier: MIT
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_compile_definitions(_GNU_SOURCE)
include_directories(${PROJECT_SOURCE_DIR})
# The numeric contract (kernels/README.md) needs every operation rounded as written.
add_compile_options(-ffp-contract=off)
# Messages name source files from the top of the project, wherever it was built.
add_compile_options(-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
add_compile_options(-Wall -Wextra -Wshadow -Wvla -Wpointer-arith)
add_compile_options("$<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes;-Wmissing-prototypes>")
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # Error texts are cut at their buffer's end on purpose (snprintf).
  add_compile_options(-Wno-format-truncation)
endif()
if(ENABLE_WERROR)
  add_compile_options(-Werror)
endif()
if(ENABLE_SANITIZERS)
  add_compile_options(-fsanitize=${ENABLE_SANITIZERS} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${ENABLE_SANITIZERS})
  add_compile_options(-UNDEBUG) # the build that looks for mistakes also runs the asserts
endif()
