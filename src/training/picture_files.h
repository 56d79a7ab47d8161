// Which pictures a folder or a list offers, with what stands beside them: captions, masks, repeats. Names only; no picture is opened.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lorikeet {

// What is wrong with the data: named and passed over, or with `strict` an Error{bad_input}.
class DataProblems {
 public:
  explicit DataProblems(bool strict) : strict_(strict) {}
  void skip(const std::string& what, const std::string& why);  // "photos/a.png is skipped: the file is empty"
  void warn(std::string line) { warnings_.push_back(std::move(line)); }
  std::vector<std::string> take() { return std::move(warnings_); }

 private:
  bool strict_;
  std::vector<std::string> warnings_;
};

// The pictures of one folder that share a name and repeats.
struct PictureSet {
  std::string name;            // the folder's own: "10_sks robot"
  std::optional<int> repeats;  // kohya's number in front
  std::string caption;         // kohya's text behind it, for pictures without caption
};

struct FoundPicture {
  std::filesystem::path path;
  std::string name;  // below the folder or beside the list, with '/'
  PictureSet set;
  std::optional<std::string> caption;  // nothing: there is none
  std::optional<std::filesystem::path> mask;
};

// Sorted by name. A folder with its subfolders (hidden ones are left out; "10_name class" as in kohya's scripts); captions in a
// metadata.jsonl, else in NAME.txt, else in NAME.caption; masks in NAME.mask.png or NAME-masklabel.png. Or a .jsonl file alone: lines of
// {"file_name", "text"} (or "image", "caption"), names relative to it. Error{not_found}: no such folder or file.
std::vector<FoundPicture> find_pictures(const std::filesystem::path& root, DataProblems& problems);

}  // namespace lorikeet
