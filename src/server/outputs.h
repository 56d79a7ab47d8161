// The outputs folder: finished pictures by date, "2026-11-25/00012-7.png", and small copies of them for lists. A picture's id is its path
// below the folder; no id leads out of it, symbolic links resolved.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "io/picture.h"

namespace lorikeet {

struct PictureEntry {
  std::string id;
  int64_t modified = 0;  // seconds since 1970
  int width_px = 0, height_px = 0;
  std::string infotext = {};
};

class Outputs {
 public:
  // Makes the folder. Error{io}: it cannot be written to, told before the work rather than after it.
  explicit Outputs(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  // Atomic: on the disk when this returns. -> id. Error{io}: disk full, folder gone.
  std::string save(PictureFormat format, std::string_view bytes, int64_t seed);

  // A drawing of the workshop: it has an id and can be shown, but is not among the pictures of list().
  std::string save_drawing(PictureFormat format, std::string_view bytes);

  // Newest first. -> how many there are; `page` gets those from `offset` on.
  int64_t list(int64_t offset, int64_t limit, std::vector<PictureEntry>& page) const;
  int64_t count() const;                                  // as it was a few seconds ago at most
  std::filesystem::path path(std::string_view id) const;  // Error{not_found}; also for ids that lead out of the folder
  void remove(std::string_view id);

 private:
  std::string save_below(const std::string& folder, const std::string& ending, std::string_view bytes);  // with lock

  std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::string counted_folder_;  // of number_
  int number_ = 0;
  mutable int64_t count_ = 0;
  mutable std::chrono::steady_clock::time_point counted_{};
};

// A file below `folder`: Error{not_found} where there is none, or where the name or a symbolic link leads out.
std::filesystem::path path_below(const std::filesystem::path& folder, std::string_view name);

std::string_view media_type(PictureFormat format);  // "image/png"
std::string_view extension(PictureFormat format);   // ".png", ".jpg", ".webp"
// By the extension of a name; "application/octet-stream" for others.
std::string_view media_type_of(const std::filesystem::path& path);
bool is_picture_file(const std::filesystem::path& path);  // by its extension

// Parameters of a URL: everything but letters, digits and "-._~/" as %XX.
std::string url_encoded(std::string_view text);

}  // namespace lorikeet
