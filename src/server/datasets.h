// Pictures to train on: folders below the data folder, a picture and its caption in a text file of the same name.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct DatasetPicture {
  std::string file, caption;
  int width_px = 0, height_px = 0;
};

class Datasets {
 public:
  explicit Datasets(std::filesystem::path folder) : folder_(std::move(folder)) {}

  struct Entry {
    std::string name;
    int64_t pictures = 0;
  };
  std::vector<Entry> list() const;
  std::vector<DatasetPicture> pictures(std::string_view name) const;  // Error{not_found}
  std::filesystem::path folder(std::string_view name) const;          // Error{not_found}
  std::filesystem::path picture(std::string_view name, std::string_view file) const;

  // Names are letters, digits and "-_. ", no dot in front; Error{bad_input}. `file` gets a number where there is one of that name.
  std::string add(std::string_view name, std::string_view file, std::string_view bytes, std::string_view caption);
  void create(std::string_view name);
  void set_caption(std::string_view name, std::string_view file, std::string_view caption);
  void remove_picture(std::string_view name, std::string_view file);
  void remove(std::string_view name);

 private:
  std::filesystem::path folder_;
};

// For names that become files. Error{bad_input} names `what`.
std::string checked_file_name(std::string_view name, std::string_view what);

}  // namespace lorikeet
