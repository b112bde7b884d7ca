# Copies FROM to TO unless they are equal already; TO is replaced in one step. SPDX-License-Identifier: MIT
execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${FROM} ${TO} RESULT_VARIABLE differ OUTPUT_QUIET ERROR_QUIET)
if(differ)
  configure_file(${FROM} ${TO}.new COPYONLY)
  file(RENAME ${TO}.new ${TO})
endif()
