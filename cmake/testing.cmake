# How a test is declared. SPDX-License-Identifier: MIT
#
# A test exits 0 (passed), 77 (skipped, it says why) or anything else (failed). Its label is the folder it is declared in.

# Open MPI refuses to run as root unless told twice; its own libraries leak at exit, ours must not.
set(test_environment
  OMPI_ALLOW_RUN_AS_ROOT=1
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  "ASAN_OPTIONS=detect_stack_use_after_return=1:fast_unwind_on_malloc=0"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp,print_suppressions=0")

# A Python with numpy, for the tests that make models or compute what is expected; empty where there is none (package python3-numpy).
set(TEST_PYTHON "")
foreach(python python3 /usr/bin/python3)
  execute_process(COMMAND ${python} -c "import numpy" RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  if(status EQUAL 0)
    set(TEST_PYTHON ${python})
    break()
  endif()
endforeach()
if(BUILD_TESTING AND NOT TEST_PYTHON)
  message(WARNING "No python3 with numpy: the tests that make their models are left out.")
endif()

function(llm_test_defaults name)
  get_filename_component(area ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS ${area} ENVIRONMENT "${test_environment}")
endfunction()

# llm_test(NAME sources... LIBS targets...): a program of its own.
function(llm_test name)
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${arg_LIBS})
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  llm_test_defaults(${name})
endfunction()

# llm_script_test(NAME command...): any command, run at the top of the source folder.
function(llm_script_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  llm_test_defaults(${name})
endfunction()

# llm_mpi_test(NAME NP command...): the command on NP ranks of this machine, with the exit statuses of llm_test(). With ENABLE_MPI=ON only.
function(llm_mpi_test name np)
  add_test(NAME ${name} COMMAND ${MPIEXEC_EXECUTABLE} -q --oversubscribe --bind-to none -np ${np} ${CMAKE_CROSSCOMPILING_EMULATOR} ${ARGN}
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  llm_test_defaults(${name})
  set_tests_properties(${name} PROPERTIES PROCESSORS ${np})
endfunction()
