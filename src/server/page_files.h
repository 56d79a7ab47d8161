// The page as the build packed it: the files of web/, gzip-compressed, inside the program. tools/embed_page.cpp writes the definition.
#pragma once
#include <span>
#include <string_view>

namespace lorikeet {

struct PageFile {
  std::string_view path;          // "/index.html", "/assets/index-B1x2.js"; names in /assets/ change with their content
  std::string_view content_type;  // with its charset
  std::span<const unsigned char> gzip;
  std::string_view etag;  // in quotes, as the header has it; changes with the content
};

// Sorted by path. "/index.html" is among them.
std::span<const PageFile> page_files();

}  // namespace lorikeet
