// Build step: the page's files, as vite wrote them, become gzip-compressed arrays in a C++ source (src/server/page_files.h). Takes no part
// of the program, so that it builds in a second.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

namespace {
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kTypes{{{".html", "text/html; charset=utf-8"},
                                                                               {".js", "text/javascript; charset=utf-8"},
                                                                               {".css", "text/css; charset=utf-8"},
                                                                               {".svg", "image/svg+xml"},
                                                                               {".png", "image/png"},
                                                                               {".webp", "image/webp"},
                                                                               {".json", "application/json"}}};

std::string_view type_of(const fs::path& path) {
  const std::string extension = path.extension().string();
  for (const auto& [known, type] : kTypes)
    if (extension == known) return type;
  throw std::runtime_error("no content type is known for " + path.string());
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

// The header that zlib writes has neither a time nor a name: the same page gives the same bytes.
std::string gzip(std::string data) {
  z_stream stream{};
  constexpr int kGzip = 16, kMemory = 9;  // 16 above the window's bits: a gzip header (zlib.h, deflateInit2)
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + kGzip, kMemory, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("zlib does not start");
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("zlib cannot compress");
  out.resize(stream.total_out);
  return out;
}

// FNV-1a, 64 bits: enough to tell two builds of a file apart.
std::string etag_of(std::string_view data) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : data) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder));
  std::ranges::sort(files);
  if (std::ranges::find(files, fs::path("index.html")) == files.end()) throw std::runtime_error("no index.html in " + folder.string());
  return files;
}

void write_source(const fs::path& folder, const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  out << "#include \"server/page_files.h\"\n\nnamespace lorikeet {\n\nnamespace {\n";
  std::string table;
  int count = 0;
  for (const fs::path& file : files_below(folder)) {
    const std::string data = read_file(folder / file), packed = gzip(data), name = "kFile" + std::to_string(count++);
    out << "constexpr unsigned char " << name << "[] = {";
    for (size_t i = 0; i < packed.size(); ++i) out << (i % 32 ? "" : "\n") << int(static_cast<unsigned char>(packed[i])) << ',';
    out << "};\n";
    table += "    {\"/" + file.generic_string() + "\", \"" + std::string(type_of(file)) + "\", " + name + ", \"" + etag_of(data) + "\"},\n";
  }
  out << "constexpr PageFile kFiles[] = {\n" << table << "};\n}  // namespace\n\nstd::span<const PageFile> page_files() { return kFiles; }\n\n}  // namespace lorikeet\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: embed_page FOLDER OUTPUT.cpp\n", 2;
  try {
    write_source(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "embed_page: " << error.what() << "\n";
    return 1;
  }
}
