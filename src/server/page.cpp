// The page from the program itself.
#include <zlib.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "server/job_json.h"
#include "server/page_files.h"
#include "server/problem.h"

namespace lorikeet {

namespace {
// For clients that take no gzip.
std::string inflated(std::span<const unsigned char> gzip) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 32) != Z_OK) throw Error(ErrorKind::internal, "zlib cannot begin");
  stream.next_in = const_cast<unsigned char*>(gzip.data());
  stream.avail_in = static_cast<unsigned>(gzip.size());
  std::string text;
  int code = Z_OK;
  while (code == Z_OK) {
    char piece[16384];
    stream.next_out = reinterpret_cast<unsigned char*>(piece);
    stream.avail_out = sizeof piece;
    code = inflate(&stream, Z_NO_FLUSH);
    text.append(piece, sizeof piece - stream.avail_out);
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END) throw Error(ErrorKind::internal, "a file of the page is damaged");
  return text;
}

const PageFile* find_file(std::string_view path) {
  const auto files = page_files();
  const auto found = std::ranges::find(files, path, &PageFile::path);
  return found == files.end() ? nullptr : &*found;
}
}  // namespace

HttpResponse page_response(const HttpRequest& request) {
  const PageFile* file = find_file(request.path);
  const bool is_asset = request.path.find('.', request.path.rfind('/')) != std::string::npos;
  if (!file && !is_asset) file = find_file("/index.html");
  if (!file)
    return problem(Error(ErrorKind::not_found,
                         request.path == "/" ? "this program was built without its page" : "there is no " + valid_utf8(request.path),
                         request.path == "/" ? "the API is here: /api/v1/openapi.json, /sdapi/v1/options" : ""),
                   Dialect::ours);
  const bool hashed = starts_with(request.path, "/assets/");  // their names change with their bytes
  const bool gzip = request.header("x-accept-encoding").find("gzip") != std::string::npos;
  const std::string bytes = gzip ? std::string(reinterpret_cast<const char*>(file->gzip.data()), file->gzip.size()) : inflated(file->gzip);
  HttpResponse response = bytes_response(request, bytes, std::string(file->content_type), std::string(file->etag), hashed);
  if (gzip && response.status == 200) response.headers.emplace_back("Content-Encoding", "gzip");
  response.headers.emplace_back("Vary", "Accept-Encoding");
  response.headers.emplace_back("Content-Security-Policy",
                                "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
                                "object-src 'none'; base-uri 'none'; frame-ancestors 'none'");
  return response;
}

}  // namespace lorikeet
