# Where the program goes: ./llm after a build, bin/llm after an installation. SPDX-License-Identifier: MIT
include(GNUInstallDirs)

if(ENABLE_TOP_LEVEL_PROGRAM)
  # A copy, not a link: this one file is what gets copied to the nodes. By rename: a running ./llm is not in the way.
  add_custom_target(top_level_program ALL
    COMMAND ${CMAKE_COMMAND} -DFROM=$<TARGET_FILE:llm> -DTO=${PROJECT_SOURCE_DIR}/llm -P ${PROJECT_SOURCE_DIR}/cmake/place.cmake
    DEPENDS llm VERBATIM)
endif()

install(TARGETS llm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY hostfiles kernels/sim/boards kernels/sim/links DESTINATION ${CMAKE_INSTALL_DATADIR}/llm)
