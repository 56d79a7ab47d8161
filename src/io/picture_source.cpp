#include "io/picture_source.h"

#include "io/picture_base64.h"

namespace lorikeet {

PictureSource PictureSource::from_text(std::string_view text) {
  if (!is_data_uri(text)) return {std::string(text), nullptr};
  return {"", std::make_shared<const Picture>(picture_from_base64(text).picture)};
}

std::string PictureSource::text() const { return picture ? to_data_uri(*picture) : path; }

std::shared_ptr<const Picture> PictureSource::load() const {
  if (picture) return picture;
  return std::make_shared<const Picture>(read_picture(path).picture);
}

}  // namespace lorikeet
