#include "server/datasets.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "io/atomic_file.h"
#include "io/picture.h"
#include "server/outputs.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
constexpr size_t kLongestName = 100, kLongestCaption = 65536;


std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> pictures;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code))
    if (is_picture_file(entry.path()) && entry.is_regular_file(code)) pictures.push_back(entry.path());
  std::ranges::sort(pictures);
  return pictures;
}

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return std::string(trim(valid_utf8(text.str())));
}

fs::path caption_file(const fs::path& picture) { return fs::path(picture).replace_extension(".txt"); }
}  // namespace

std::string checked_file_name(std::string_view name, std::string_view what) {
  const std::string trimmed(trim(name));
  const auto refuse = [&](const std::string& why) {
    return Error(ErrorKind::bad_input, "\"" + valid_utf8(trimmed.substr(0, 80)) + "\" is no " + std::string(what) + ": " + why,
                 "take letters, digits, '-', '_'");
  };
  if (trimmed.empty()) throw refuse("it is empty");
  if (trimmed.size() > kLongestName) throw refuse("it is too long");
  if (trimmed[0] == '.') throw refuse("it begins with a dot");
  if (!is_valid_utf8(trimmed)) throw refuse("it is no UTF-8");
  for (const char c : trimmed)
    if (std::iscntrl(static_cast<unsigned char>(c)) || std::string_view("/\\:*?\"<>|").find(c) != std::string_view::npos)
      throw refuse("it holds a sign that names of files do not have");
  return trimmed;
}

std::vector<Datasets::Entry> Datasets::list() const {
  std::vector<Entry> entries;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder_, code)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory(code) && !starts_with(name, "."))
      entries.push_back({valid_utf8(name), static_cast<int64_t>(pictures_in(entry.path()).size())});
  }
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

fs::path Datasets::folder(std::string_view name) const {
  try {
    const fs::path path = path_below(folder_, checked_file_name(name, "name of a data set"));
    if (fs::is_directory(path)) return path;
  } catch (const Error&) {  // said below, with the names
  }
  std::vector<std::string> names;
  for (const Entry& entry : list()) names.push_back(entry.name);
  const std::string near = did_you_mean(name, names);
  throw Error(ErrorKind::not_found, "there is no data set \"" + valid_utf8(name) + "\"",
              near.empty() && !names.empty() ? "there are " + join(names, ", ") : near);
}

fs::path Datasets::picture(std::string_view name, std::string_view file) const {
  const fs::path path = path_below(folder(name), checked_file_name(file, "name of a picture"));
  if (!is_picture_file(path))
    throw Error(ErrorKind::not_found, "there is no picture \"" + valid_utf8(file) + "\" in the data set \"" + valid_utf8(name) + "\"");
  return path;
}

std::vector<DatasetPicture> Datasets::pictures(std::string_view name) const {
  std::vector<DatasetPicture> all;
  for (const fs::path& path : pictures_in(folder(name))) {
    DatasetPicture one{.file = path.filename().string(), .caption = text_of(caption_file(path))};
    try {
      const PictureInfo info = read_picture_info(path);
      one.width_px = info.width_px;
      one.height_px = info.height_px;
    } catch (const Error&) {  // shown without a size
    }
    all.push_back(std::move(one));
  }
  return all;
}

void Datasets::create(std::string_view name) {
  const fs::path path = folder_ / checked_file_name(name, "name of a data set");
  std::error_code code;
  fs::create_directories(path, code);
  if (!fs::is_directory(path)) throw Error(ErrorKind::io, "cannot make the data set \"" + std::string(name) + "\": " + code.message());
}

std::string Datasets::add(std::string_view name, std::string_view file, std::string_view bytes, std::string_view caption) {
  create(name);
  const fs::path to = folder(name);
  const std::string stem = fs::path(checked_file_name(file, "name of a picture")).stem().string();
  const PictureInfo info = picture_info(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  const std::string end(extension(info.format));
  std::string chosen = stem + end;
  std::error_code code;
  for (int number = 2; fs::exists(to / chosen, code) || fs::exists(caption_file(to / chosen), code); ++number)
    chosen = stem + "-" + std::to_string(number) + end;
  write_file_atomically(to / chosen, bytes);
  if (!caption.empty()) set_caption(name, chosen, caption);
  return chosen;
}

void Datasets::set_caption(std::string_view name, std::string_view file, std::string_view caption) {
  if (caption.size() > kLongestCaption) throw Error(ErrorKind::bad_input, "the caption is too long");
  const fs::path path = caption_file(picture(name, file));
  std::error_code code;
  if (trim(caption).empty())
    fs::remove(path, code);
  else
    write_file_atomically(path, std::string(trim(caption)) + "\n");
}

void Datasets::remove_picture(std::string_view name, std::string_view file) {
  const fs::path path = picture(name, file);
  std::error_code code;
  fs::remove(caption_file(path), code);
  if (!fs::remove(path, code)) throw Error(ErrorKind::io, "cannot remove \"" + std::string(file) + "\": " + code.message());
}

void Datasets::remove(std::string_view name) {
  const fs::path path = folder(name);
  std::error_code code;
  fs::remove_all(path, code);
  if (code) throw Error(ErrorKind::io, "cannot remove the data set \"" + std::string(name) + "\": " + code.message());
}

}  // namespace lorikeet
