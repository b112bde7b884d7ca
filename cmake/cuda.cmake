# Finds the CUDA toolkit and decides about the GPU backend: sets CUDA_STATUS, one line for the summary. SPDX-License-Identifier: MIT
#
# CUDA_SYSTEM_ROOT stands for / in tests; CUDA_SEARCH_PATH replaces the folders that are searched.
if(NOT DEFINED CUDA_SYSTEM_ROOT)
  set(CUDA_SYSTEM_ROOT "")
endif()

# TRUE on a Jetson (or another Tegra) board.
function(cuda_is_tegra result)
  set(found FALSE)
  set(compatible ${CUDA_SYSTEM_ROOT}/proc/device-tree/compatible)
  if(EXISTS ${CUDA_SYSTEM_ROOT}/etc/nv_tegra_release)
    set(found TRUE)
  elseif(EXISTS ${compatible})
    file(STRINGS ${compatible} names REGEX "nvidia,tegra")
    if(names)
      set(found TRUE)
    endif()
  endif()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

set(CUDA_STATUS "off (ENABLE_CUDA=OFF)")
if(NOT ENABLE_CUDA STREQUAL "OFF")
  if(CUDA_SEARCH_PATH)
    find_program(CUDA_NVCC nvcc PATHS ${CUDA_SEARCH_PATH} NO_DEFAULT_PATH)
  else()
    # JetPack installs the compiler there and leaves it off PATH.
    find_program(CUDA_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin PATHS /usr/local/cuda/bin)
  endif()
  if(CUDA_NVCC)
    if(ENABLE_CUDA STREQUAL "ON")
      message(FATAL_ERROR "ENABLE_CUDA=ON: the GPU backend is not part of this version yet. "
                          "Use ENABLE_CUDA=AUTO or OFF to build for the CPU.")
    endif()
    set(CUDA_STATUS "toolkit found (${CUDA_NVCC}), but the GPU backend is not part of this version yet: building for the CPU")
  else()
    cuda_is_tegra(is_tegra)
    if(is_tegra)
      message(FATAL_ERROR "This is a Jetson board, but no CUDA compiler (nvcc) was found on PATH or in /usr/local/cuda/bin.\n"
                          "Install JetPack's toolkit:\n  sudo apt-get install nvidia-jetpack\n"
                          "or build for the CPU alone:  cmake -B build -DENABLE_CUDA=OFF")
    elseif(ENABLE_CUDA STREQUAL "ON")
      message(FATAL_ERROR "ENABLE_CUDA=ON: no CUDA compiler (nvcc) on PATH or in /usr/local/cuda/bin.")
    endif()
    set(CUDA_STATUS "no toolkit found: building for the CPU")
  endif()
endif()
