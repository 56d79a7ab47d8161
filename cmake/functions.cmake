# lorikeet_folder(NAME SOURCES … DEPENDS folders… LIBRARIES …): the static library of src/NAME.
# Every folder shares base's precompiled torch header.
function(lorikeet_folder folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  list(TRANSFORM ARG_DEPENDS PREPEND lorikeet_)
  foreach(f ${ARG_SOURCES}) # TEMP
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${f})
      list(REMOVE_ITEM ARG_SOURCES ${f})
    endif()
  endforeach() # TEMP-END
  add_library(lorikeet_${folder} STATIC ${ARG_SOURCES})
  target_include_directories(lorikeet_${folder} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(lorikeet_${folder} PUBLIC ${ARG_DEPENDS} PRIVATE ${ARG_LIBRARIES})
  if(folder STREQUAL base)
    target_include_directories(lorikeet_base SYSTEM PUBLIC ${TORCH_INCLUDE_DIRS})
    target_link_libraries(lorikeet_base PUBLIC ${TORCH_LIBRARIES} Threads::Threads)
    target_precompile_headers(lorikeet_base PRIVATE ${CMAKE_SOURCE_DIR}/src/base/torch.h)
  else()
    target_precompile_headers(lorikeet_${folder} REUSE_FROM lorikeet_base)
  endif()
endfunction()

# lorikeet_test(NAME SOURCES … DEPENDS targets… LIBRARIES …): the GoogleTest binary of tests/NAME, which mirrors src/NAME.
# One CTest entry a binary: starting a libtorch program costs more than most tests.
function(lorikeet_test folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  foreach(f ${ARG_SOURCES}) # TEMP
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${f})
      list(REMOVE_ITEM ARG_SOURCES ${f})
    endif()
  endforeach() # TEMP-END
  add_executable(${folder}_test ${ARG_SOURCES})
  target_include_directories(${folder}_test PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${folder}_test PRIVATE ${ARG_DEPENDS} ${ARG_LIBRARIES} GTest::gtest_main)
  if(TARGET lorikeet_${folder})
    target_link_libraries(${folder}_test PRIVATE lorikeet_${folder})
  endif()
  target_compile_definitions(${folder}_test PRIVATE LORIKEET_GOLDEN_DIR="${CMAKE_SOURCE_DIR}/tests/golden" LORIKEET_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_precompile_headers(${folder}_test REUSE_FROM lorikeet_base)
  add_test(NAME ${folder} COMMAND ${folder}_test)
endfunction()
