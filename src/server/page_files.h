// The page's files, part of the program: made from web/dist when the page is built.
#pragma once
#include <span>
#include <string_view>

namespace lorikeet {

struct PageFile {
  std::string_view path, content_type;  // "/index.html", "text/html; charset=utf-8"
  std::span<const unsigned char> gzip;  // its bytes, compressed
  std::string_view etag;                // without quotes
};
std::span<const PageFile> page_files();

}  // namespace lorikeet
