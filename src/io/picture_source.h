// A picture that settings bring along: as a file on this machine, or as pixels. As text: a path, or "data:image/…;base64,…".
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "io/picture.h"

namespace lorikeet {

struct PictureSource {
  std::string path;
  std::shared_ptr<const Picture> picture;  // wins over path

  // A data URI is decoded at once, a path is kept. Error{bad_input}: the data is no picture.
  static PictureSource from_text(std::string_view text);
  std::string text() const;  // the inverse

  bool empty() const { return path.empty() && !picture; }
  std::shared_ptr<const Picture> load() const;  // Error as read_picture
  bool operator==(const PictureSource&) const = default;
};

}  // namespace lorikeet
