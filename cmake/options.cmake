# What can be chosen at configure time. SPDX-License-Identifier: MIT
set(ENABLE_CUDA AUTO CACHE STRING "GPU backend: AUTO, ON or OFF")
set_property(CACHE ENABLE_CUDA PROPERTY STRINGS AUTO ON OFF)
option(ENABLE_MPI "Run on several ranks (OFF: one rank only)" ON)
option(ENABLE_WERROR "Warnings are errors" OFF)
option(ENABLE_FUZZERS "Build the libFuzzer targets (clang)" OFF)
set(ENABLE_SANITIZERS "" CACHE STRING "Sanitizers to build with, e.g. address,undefined")
include(CTest)

# The README's folder is the working build: its program goes to ./llm. A second build beside it must not replace that.
set(top_default OFF)
if(PROJECT_BINARY_DIR STREQUAL "${PROJECT_SOURCE_DIR}/build" AND NOT ENABLE_SANITIZERS)
  set(top_default ON)
endif()
option(ENABLE_TOP_LEVEL_PROGRAM "Copy the program to the top of the source folder" ${top_default})

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, RelWithDebInfo or Debug" FORCE)
endif()
