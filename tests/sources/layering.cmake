# Who may include whom (DESIGN.md section 3). SPDX-License-Identifier: MIT
#   cmake -DROOT=<source folder> -P layering.cmake

# folder : beginnings of the quoted includes that it may have
cmake_minimum_required(VERSION 3.22)
set(arrows
  "src/core:src/core/"
  "io:io/ src/core/"
  "kernels:kernels/ src/core/"
  "src/plan:src/plan/ src/core/ src/cluster/ src/model/ src/engine/ kernels/board.h"
  "src:src/ io/ kernels/backend.h kernels/quantize.h kernels/board.h kernels/gpu.h")

# system header : the only files that may include it (both regular expressions)
set(contained
  "mpi[.]h$:^(src/(main[.]c$|cluster/)|tests/|bench/)"
  "hwloc:^(src/cluster/topology[.]c$|tests/)"
  "cu(da|blas):^(kernels/cuda/|tests/|bench/)")

set(n_includes 0)

function(check_quoted file header allowed)
  foreach(prefix IN LISTS allowed)
    string(FIND "${header}" "${prefix}" at)
    if(at EQUAL 0)
      return()
    endif()
  endforeach()
  message(SEND_ERROR "${file} may not include \"${header}\" (allowed: ${allowed})")
endfunction()

function(check_system file header)
  foreach(rule IN LISTS contained)
    string(REGEX MATCH "^([^:]+):(.*)$" unused "${rule}")
    set(pattern "${CMAKE_MATCH_1}")
    set(home "${CMAKE_MATCH_2}")
    if(header MATCHES "^${pattern}" AND NOT file MATCHES "${home}")
      message(SEND_ERROR "${file} may not include <${header}> (only ${home})")
    endif()
  endforeach()
endfunction()

foreach(arrow IN LISTS arrows)
  string(REGEX MATCH "^([^:]+):(.*)$" unused "${arrow}")
  set(folder ${CMAKE_MATCH_1})
  string(REPLACE " " ";" allowed "${CMAKE_MATCH_2}")
  file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/${folder}/*.c ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cu ${ROOT}/${folder}/*.cuh)
  foreach(file IN LISTS files)
    file(STRINGS ${ROOT}/${file} lines REGEX "^ *# *include")
    foreach(line IN LISTS lines)
      math(EXPR n_includes "${n_includes} + 1")
      if(line MATCHES "\"([^\"]+)\"")
        check_quoted(${file} "${CMAKE_MATCH_1}" "${allowed}")
      elseif(line MATCHES "<([^>]+)>")
        check_system(${file} "${CMAKE_MATCH_1}")
      endif()
    endforeach()
  endforeach()
endforeach()

if(n_includes LESS 10)
  message(SEND_ERROR "found only ${n_includes} includes under ${ROOT}: wrong folder?")
endif()
message(STATUS "${n_includes} includes looked at")
