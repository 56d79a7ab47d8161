#include "server/outputs.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

constexpr const char* kDrawings = "workshop";  // the folder of what is no picture of a model

int highest_number(const fs::path& folder) {
  int highest = 0;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    const auto number = parse_int(name.substr(0, name.find_first_not_of("0123456789")));
    if (number && *number > highest && *number < 100000000) highest = static_cast<int>(*number);
  }
  return highest;
}


// Below the folder, in the order newest first: days fall, and numbers within them.
std::vector<std::string> ids_in(const fs::path& folder) {
  std::vector<std::string> ids;
  std::error_code code;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at(folder, options, code), end; at != end; at.increment(code)) {
    if (code) break;
    const std::string name = at->path().filename().string();
    if (starts_with(name, ".") || (at.depth() == 0 && name == kDrawings)) {
      at.disable_recursion_pending();
      continue;
    }
    if (is_picture_file(at->path()) && !at->is_directory(code)) ids.push_back(fs::relative(at->path(), folder, code).generic_string());
  }
  std::ranges::sort(ids, std::greater<>());
  return ids;
}

int64_t seconds_of(const fs::path& path) {
  std::error_code code;
  const auto time = fs::last_write_time(path, code);
  if (code) return 0;
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::file_clock::to_sys(time).time_since_epoch()).count();
}
}  // namespace

std::string_view media_type(PictureFormat format) {
  return format == PictureFormat::png ? "image/png" : format == PictureFormat::jpeg ? "image/jpeg" : "image/webp";
}

std::string_view extension(PictureFormat format) {
  return format == PictureFormat::png ? ".png" : format == PictureFormat::jpeg ? ".jpg" : ".webp";
}

bool is_picture_file(const fs::path& path) { return starts_with(media_type_of(path), "image/"); }

std::string_view media_type_of(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  if (extension == ".png") return "image/png";
  if (extension == ".jpg" || extension == ".jpeg") return "image/jpeg";
  if (extension == ".webp") return "image/webp";
  return "application/octet-stream";
}

std::string url_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || std::string_view("-._~/").find(c) != std::string_view::npos) {
      encoded += c;
      continue;
    }
    char code[8];
    std::snprintf(code, sizeof code, "%%%02X", byte);
    encoded += code;
  }
  return encoded;
}

fs::path path_below(const fs::path& folder, std::string_view name) {
  const auto missing = [&] { return Error(ErrorKind::not_found, "there is no \"" + valid_utf8(name) + "\""); };
  if (name.empty() || name.find('\0') != std::string_view::npos || name[0] == '/') throw missing();
  for (const std::string_view part : split(name, '/'))
    if (part.empty() || part[0] == '.') throw missing();
  std::error_code code;
  const fs::path root = fs::canonical(folder, code);
  if (code) throw missing();
  const fs::path path = fs::canonical(root / name, code);
  if (code || !starts_with(path.string(), root.string() + "/")) throw missing();
  return path;
}

Outputs::Outputs(fs::path folder) : folder_(std::move(folder)) {
  std::error_code code;
  fs::create_directories(folder_, code);
  if (!fs::is_directory(folder_) || access(folder_.c_str(), W_OK) != 0)
    throw Error(ErrorKind::io, "cannot write pictures to " + folder_.string() + (code ? ": " + code.message() : ""),
                "choose another folder with --outputs");
}

std::string Outputs::save(PictureFormat format, std::string_view bytes, int64_t seed) {
  return save_below(today(), "-" + std::to_string(seed) + std::string(extension(format)), bytes);
}

std::string Outputs::save_drawing(PictureFormat format, std::string_view bytes) {
  return save_below(kDrawings, std::string(extension(format)), bytes);
}

std::string Outputs::save_below(const std::string& folder, const std::string& ending, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  std::error_code code;
  fs::create_directories(folder_ / folder, code);
  if (folder != counted_folder_) number_ = highest_number(folder_ / folder);
  counted_folder_ = folder;
  std::string id;
  do {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%05d", ++number_);
    id = folder + "/" + digits + ending;
  } while (fs::exists(folder_ / id, code));
  write_file_atomically(folder_ / id, bytes);
  return id;
}

int64_t Outputs::list(int64_t offset, int64_t limit, std::vector<PictureEntry>& page) const {
  const auto ids = ids_in(folder_);
  const auto total = static_cast<int64_t>(ids.size());
  for (int64_t i = std::max<int64_t>(0, offset); i < std::min(total, offset + limit); ++i) {
    PictureEntry entry{.id = ids[static_cast<size_t>(i)]};
    const fs::path path = folder_ / entry.id;
    entry.modified = seconds_of(path);
    try {
      const PictureInfo info = read_picture_info(path);
      entry.width_px = info.width_px;
      entry.height_px = info.height_px;
      entry.infotext = text_named(read_picture_text(path), "parameters");
    } catch (const Error&) {  // a broken file is an entry without a size
    }
    page.push_back(std::move(entry));
  }
  return total;
}

int64_t Outputs::count() const {
  constexpr std::chrono::seconds kFresh{3};
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (counted_ == std::chrono::steady_clock::time_point{} || now - counted_ > kFresh) {
    count_ = static_cast<int64_t>(ids_in(folder_).size());
    counted_ = now;
  }
  return count_;
}

fs::path Outputs::path(std::string_view id) const {
  fs::path path = path_below(folder_, id);
  if (!is_picture_file(path)) throw Error(ErrorKind::not_found, "there is no picture \"" + valid_utf8(id) + "\"");
  return path;
}

void Outputs::remove(std::string_view id) {
  const fs::path file = path(id);
  std::error_code code;
  if (!fs::remove(file, code)) throw Error(ErrorKind::io, "cannot remove the picture \"" + std::string(id) + "\": " + code.message());
}

}  // namespace lorikeet
