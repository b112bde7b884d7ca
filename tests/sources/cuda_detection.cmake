# What cmake/cuda.cmake decides on made-up machines. SPDX-License-Identifier: MIT
#   cmake -DROOT=<source folder> -DWORK=<scratch folder> -P cuda_detection.cmake
# With PROBE=1 it is the probe: only includes cuda.cmake and prints the status.
cmake_minimum_required(VERSION 3.22)
if(PROBE)
  include(${ROOT}/cmake/cuda.cmake)
  message(STATUS "status: ${CUDA_STATUS}")
  return()
endif()

# machine: folder that stands for /; wanted: part of the output; fails: whether the configuration must stop
function(expect name enable machine fails wanted)
  execute_process(COMMAND ${CMAKE_COMMAND} -DPROBE=1 -DROOT=${ROOT} -DENABLE_CUDA=${enable} -DCUDA_SYSTEM_ROOT=${WORK}/${machine}
                          -DCUDA_SEARCH_PATH=${WORK}/${machine}/usr/local/cuda/bin -P ${CMAKE_SCRIPT_MODE_FILE}
                  RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE err)
  # CMake wraps its messages at some column.
  string(REGEX REPLACE "[ \n]+" " " text "${out}${err}")
  if((status EQUAL 0 AND fails) OR (NOT status EQUAL 0 AND NOT fails))
    message(SEND_ERROR "${name}: exit status ${status}, expected failure: ${fails}\n${text}")
  endif()
  string(FIND "${text}" "${wanted}" at)
  if(at LESS 0)
    message(SEND_ERROR "${name}: \"${wanted}\" is not in\n${text}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/pc)
file(WRITE ${WORK}/jetson_release/etc/nv_tegra_release "# R36 (release), REVISION: 4.3\n")
# As the kernel gives it, but for the zero bytes that part the names.
file(WRITE ${WORK}/jetson_tree/proc/device-tree/compatible "nvidia,p3768-0000+p3767-0005\nnvidia,p3767-0005\nnvidia,tegra234\n")
file(WRITE ${WORK}/raspberry/proc/device-tree/compatible "raspberrypi,4-model-b\nbrcm,bcm2711\n")
file(WRITE ${WORK}/jetson_full/etc/nv_tegra_release "# R36\n")
foreach(machine jetson_full pc_cuda)
  file(WRITE ${WORK}/${machine}/usr/local/cuda/bin/nvcc "#!/bin/sh\n")
  file(CHMOD ${WORK}/${machine}/usr/local/cuda/bin/nvcc PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endforeach()

expect("no toolkit" AUTO pc FALSE "no toolkit found: building for the CPU")
expect("no toolkit, wanted" ON pc TRUE "no CUDA compiler")
expect("another board" AUTO raspberry FALSE "no toolkit found: building for the CPU")
expect("Jetson by release file" AUTO jetson_release TRUE "sudo apt-get install nvidia-jetpack")
expect("Jetson by device tree" AUTO jetson_tree TRUE "sudo apt-get install nvidia-jetpack")
expect("Jetson, switched off" OFF jetson_release FALSE "off (ENABLE_CUDA=OFF)")
expect("Jetson with toolkit" AUTO jetson_full FALSE "toolkit found (${WORK}/jetson_full/usr/local/cuda/bin/nvcc)")
expect("toolkit, wanted" ON pc_cuda TRUE "not part of this version yet")
