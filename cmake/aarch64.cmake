# Toolchain file: 64-bit Arm Linux from another machine, tests through qemu. SPDX-License-Identifier: MIT
#
#   tests/aarch64/setup.sh
#   cmake -S . -B build-aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake [-DLLM_SYSROOT=FOLDER]
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

if(NOT LLM_SYSROOT)
  if(DEFINED ENV{LLM_SYSROOT})
    set(LLM_SYSROOT $ENV{LLM_SYSROOT})
  elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(LLM_SYSROOT $ENV{XDG_CACHE_HOME}/llm/sysroot-arm64)
  else()
    set(LLM_SYSROOT $ENV{HOME}/.cache/llm/sysroot-arm64)
  endif()
endif()
if(NOT EXISTS ${LLM_SYSROOT}/usr/lib/aarch64-linux-gnu)
  message(FATAL_ERROR "No arm64 libraries in ${LLM_SYSROOT}: run tests/aarch64/setup.sh, or give -DLLM_SYSROOT=FOLDER")
endif()
set(LLM_SYSROOT ${LLM_SYSROOT} CACHE PATH "arm64 libraries and headers, made by tests/aarch64/setup.sh")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LLM_SYSROOT)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_SYSROOT ${LLM_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER) # mpirun, pkg-config: the build machine's
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(arm64_lib ${LLM_SYSROOT}/usr/lib/aarch64-linux-gnu)
# Libraries that our libraries need are looked for at link time only; the loader finds them by itself (qemu -L).
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${arm64_lib} -Wl,-rpath-link,${LLM_SYSROOT}/lib/aarch64-linux-gnu")

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${LLM_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${arm64_lib}/pkgconfig:${LLM_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_PATH} "")

# FindMPI would ask the build machine's mpicc and hear of the wrong libraries; with all of these it asks nobody.
set(MPI_C_LIB_NAMES mpi CACHE STRING "")
set(MPI_C_HEADER_DIR ${arm64_lib}/openmpi/include CACHE PATH "")
set(MPI_C_COMPILER_INCLUDE_DIRS ${arm64_lib}/openmpi/include CACHE STRING "")
set(MPI_mpi_LIBRARY ${arm64_lib}/openmpi/lib/libmpi.so CACHE FILEPATH "")

# ./llm at the top of the source folder stays the build machine's; nvcc would need an arm64 toolkit of its own.
set(ENABLE_TOP_LEVEL_PROGRAM OFF CACHE BOOL "")
set(ENABLE_CUDA OFF CACHE STRING "")

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${LLM_SYSROOT})
