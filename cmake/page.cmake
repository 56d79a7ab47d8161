# lorikeet_page(TARGET): builds the page of web/ (vite, from `npm ci`) and puts its files, compressed, into the target, which then has
# page_files() of src/server/page_files.h. It is built again when something in web/ has changed.
find_package(ZLIB REQUIRED)
find_program(NODE_PROGRAM NAMES node nodejs)
set(LORIKEET_VITE ${CMAKE_SOURCE_DIR}/node_modules/vite/bin/vite.js)
if(NOT NODE_PROGRAM OR NOT EXISTS ${LORIKEET_VITE})
  message(FATAL_ERROR "vite is missing (looked for ${LORIKEET_VITE}, and for node): run `npm ci` in ${CMAKE_SOURCE_DIR}")
endif()

function(lorikeet_page target)
  set(folder ${CMAKE_BINARY_DIR}/page)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/*)
  add_custom_command(
    OUTPUT ${folder}/dist/index.html
    COMMAND ${NODE_PROGRAM} ${LORIKEET_VITE} build web --outDir ${folder}/dist --logLevel warn
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    DEPENDS ${sources} ${CMAKE_SOURCE_DIR}/web/index.html ${CMAKE_SOURCE_DIR}/web/vite.config.ts ${CMAKE_SOURCE_DIR}/package-lock.json
    COMMENT "Building the page"
    VERBATIM)
  add_executable(embed_page ${CMAKE_SOURCE_DIR}/tools/embed_page.cpp)
  target_link_libraries(embed_page PRIVATE ZLIB::ZLIB)
  add_custom_command(
    OUTPUT ${folder}/page_files.cpp
    COMMAND embed_page ${folder}/dist ${folder}/page_files.cpp
    DEPENDS embed_page ${folder}/dist/index.html
    VERBATIM)
  target_sources(${target} PRIVATE ${folder}/page_files.cpp)
endfunction()
