#include "training/picture_files.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/mapped_file.h"
#include "training/captions.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostCaptionBytes = size_t{1} << 20;
constexpr std::string_view kMaskEndings[] = {".mask.png", "-masklabel.png"};
constexpr std::string_view kCaptionEndings[] = {".txt", ".caption"};
constexpr std::string_view kListName = "metadata.jsonl";  // of Hugging Face's image folders

std::string ending(const fs::path& path) { return lower(path.extension().string()); }

bool is_picture(const fs::path& path) {
  const std::string found = ending(path);
  return found == ".png" || found == ".jpg" || found == ".jpeg" || found == ".webp";
}

bool is_unread_picture(const fs::path& path) {
  constexpr std::string_view kOthers[] = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jxl", ".tif", ".tiff"};
  const std::string found = ending(path);
  return std::find(std::begin(kOthers), std::end(kOthers), found) != std::end(kOthers);
}

bool is_mask(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return std::any_of(std::begin(kMaskEndings), std::end(kMaskEndings), [&](auto one) { return ends_with(name, one); });
}

// "10_sks robot" -> 10, "sks robot" (sd-scripts, library/config_util.py generate_dreambooth_subsets_config_by_subdirs).
PictureSet set_of(const std::string& folder_name) {
  PictureSet set{folder_name, {}, {}};
  const auto line = folder_name.find('_');
  const auto number = parse_int(std::string_view(folder_name).substr(0, line));
  if (line == std::string::npos || !number || *number < 1 || *number > 1'000'000) return set;
  set.repeats = static_cast<int>(*number);
  set.caption = std::string(trim(std::string_view(folder_name).substr(line + 1)));
  return set;
}

std::string read_text(const fs::path& path, DataProblems& problems) {
  const auto file = MappedFile::open(path);
  if (file->size() > kMostCaptionBytes && ending(path) != ".jsonl") {
    throw Error(ErrorKind::bad_input, "the caption file " + path.string() + " is too large", "a caption has some hundred words at most");
  }
  auto [text, encoding] = decode_text(file->bytes());
  if (encoding == "Latin-1") problems.warn(path.string() + " is no UTF-8; it is read as Latin-1");
  return text;
}

// --- lists ---

struct ListedPicture {
  std::string file;
  std::optional<std::string> caption;
  size_t line = 0;
};

// The first of `names` that the line has, as text.
std::optional<std::string> text_field(const nlohmann::json& line, std::initializer_list<const char*> names, std::set<std::string>& unused) {
  std::optional<std::string> found;
  for (const char* name : names) {
    const auto field = line.find(name);
    if (field == line.end()) continue;
    if (!field->is_string()) throw Error(ErrorKind::bad_input, "\"" + std::string(name) + "\" is no text");
    unused.erase(name);
    if (!found) found = field->get<std::string>();
  }
  return found;
}

ListedPicture read_line(std::string_view text, size_t number, std::set<std::string>& unused) {
  const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) throw Error(ErrorKind::bad_input, "it is no JSON object");
  std::set<std::string> fields;
  for (const auto& [key, value] : line.items()) fields.insert(key);
  const auto file = text_field(line, {"file_name", "image", "file", "path"}, fields);
  const auto caption = text_field(line, {"text", "caption", "prompt"}, fields);
  if (!file) throw Error(ErrorKind::bad_input, "it has no \"file_name\"");
  unused.merge(fields);
  return {*file, caption ? std::optional(one_line(*caption)) : std::nullopt, number};
}

std::vector<ListedPicture> read_list(const fs::path& path, DataProblems& problems) {
  std::vector<ListedPicture> pictures;
  std::set<std::string> unused;
  const std::string text = read_text(path, problems);
  size_t number = 0;
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    if (trim(line).empty()) continue;
    try {
      pictures.push_back(read_line(line, number, unused));
    } catch (const Error& error) {
      problems.skip("line " + std::to_string(number) + " of " + path.string(), error.message());
    }
  }
  if (!unused.empty()) {
    problems.warn("of " + path.string() +
                  " these fields are not used: " + join(std::vector<std::string>(unused.begin(), unused.end()), ", "));
  }
  return pictures;
}

// --- folders ---

class FolderWalk {
 public:
  FolderWalk(fs::path root, DataProblems& problems) : root_(std::move(root)), problems_(problems) {}

  std::vector<FoundPicture> pictures() {
    visit(root_, PictureSet{true_path(root_).filename().string(), {}, {}});
    for (const auto& [path, one] : listed_) {
      if (!one.seen) problems_.skip(path.string(), "it stands in " + one.list.string() + ", but there is no such picture");
    }
    if (!unread_.empty()) {
      problems_.warn(std::to_string(unread_.size()) + " files are in formats that are not read (first: " + unread_.front() +
                     "); PNG, JPEG and WebP are");
    }
    return std::move(found_);
  }

 private:
  struct Files {
    std::vector<fs::path> pictures, folders;
    std::set<std::string> names;
  };
  struct Listed {
    fs::path list;
    std::optional<std::string> caption;
    bool seen = false;
  };

  static fs::path true_path(const fs::path& path) {
    std::error_code code;
    const fs::path found = fs::canonical(path, code);
    if (code) throw Error(ErrorKind::io, "cannot read the folder " + path.string() + ": " + code.message(), "check its permissions");
    return found;
  }

  Files list(const fs::path& folder) {
    Files files;
    std::error_code code;
    for (auto at = fs::directory_iterator(folder, code); !code && at != fs::directory_iterator(); at.increment(code)) {
      const std::string name = at->path().filename().string();
      std::error_code ignored;
      if (name.front() == '.' || name == "__MACOSX") continue;
      if (at->is_directory(ignored)) {
        files.folders.push_back(at->path());
      } else if (is_picture(at->path()) && !is_mask(at->path())) {
        files.pictures.push_back(at->path());
      } else if (is_unread_picture(at->path())) {
        unread_.push_back(at->path().string());
      }
      files.names.insert(name);
    }
    if (code) throw Error(ErrorKind::io, "cannot read the folder " + folder.string() + ": " + code.message(), "check its permissions");
    std::sort(files.folders.begin(), files.folders.end());
    return files;
  }

  void visit(const fs::path& folder, const PictureSet& set) {
    // A link to a folder above would lead round and round.
    if (!visited_.insert(true_path(folder)).second) return;
    const Files files = list(folder);
    if (files.names.contains(std::string(kListName))) {
      const fs::path list = folder / kListName;
      for (const auto& one : read_list(list, problems_)) listed_[(folder / one.file).lexically_normal()] = {list, one.caption};
    }
    for (const fs::path& path : files.pictures) add(path, set, files);
    for (const fs::path& child : files.folders) {
      PictureSet own = set_of(child.filename().string());
      visit(child, own.repeats || !set.repeats ? own : set);
    }
  }

  void add(const fs::path& path, const PictureSet& set, const Files& files) {
    FoundPicture found{path, path.lexically_relative(root_).generic_string(), set, {}, {}};
    const std::string stem = path.stem().string();
    try {
      for (const std::string_view one : kCaptionEndings) {
        if (found.caption || !files.names.contains(stem + std::string(one))) continue;
        found.caption = one_line(read_text(path.parent_path() / (stem + std::string(one)), problems_));
      }
    } catch (const Error& error) {
      problems_.skip(path.string(), error.message());
      return;
    }
    if (const auto listed = listed_.find(path.lexically_normal()); listed != listed_.end()) {
      listed->second.seen = true;
      if (listed->second.caption) found.caption = listed->second.caption;
    }
    for (const std::string_view one : kMaskEndings) {
      if (!found.mask && files.names.contains(stem + std::string(one))) found.mask = path.parent_path() / (stem + std::string(one));
    }
    found_.push_back(std::move(found));
  }

  fs::path root_;
  DataProblems& problems_;
  std::vector<FoundPicture> found_;
  std::set<fs::path> visited_;
  std::map<fs::path, Listed> listed_;  // of the lists met so far, by path
  std::vector<std::string> unread_;
};

// Masks beside the picture.
std::optional<fs::path> mask_beside(const fs::path& picture) {
  for (const std::string_view one : kMaskEndings) {
    fs::path mask = picture.parent_path() / (picture.stem().string() + std::string(one));
    std::error_code code;
    if (fs::exists(mask, code)) return mask;
  }
  return {};
}

std::vector<FoundPicture> pictures_of_list(const fs::path& list, DataProblems& problems) {
  std::vector<FoundPicture> found;
  const PictureSet set{list.stem().string(), {}, {}};
  for (const ListedPicture& one : read_list(list, problems)) {
    const fs::path path = (list.parent_path() / one.file).lexically_normal();
    std::error_code code;
    if (!fs::exists(path, code)) {
      problems.skip("line " + std::to_string(one.line) + " of " + list.string(), "there is no file " + path.string());
      continue;
    }
    found.push_back({path, one.file, set, one.caption, mask_beside(path)});
  }
  return found;
}

}  // namespace

void DataProblems::skip(const std::string& what, const std::string& why) {
  if (strict_) throw Error(ErrorKind::bad_input, what + ": " + why, "mend or remove it, or leave out --strict, and it will be skipped");
  warn(what + " is skipped: " + why);
}

std::vector<FoundPicture> find_pictures(const fs::path& root, DataProblems& problems) {
  std::error_code code;
  if (!fs::exists(root, code)) throw Error(ErrorKind::not_found, "there is no folder " + root.string(), "check the path and its spelling");
  const bool folder = fs::is_directory(root, code);
  if (!folder && ending(root) != ".jsonl") {
    throw Error(ErrorKind::bad_input, root.string() + " is neither a folder nor a .jsonl list", "give the folder that holds the pictures");
  }
  auto found = folder ? FolderWalk(root, problems).pictures() : pictures_of_list(root, problems);
  std::sort(found.begin(), found.end(), [](const FoundPicture& a, const FoundPicture& b) { return a.name < b.name; });
  return found;
}

}  // namespace lorikeet
