#include "server/enlarge.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "io/image.h"

namespace lorikeet {

namespace {

Tensor by(const Tensor& image, const std::string& upscaler, const Enlargement& wanted) {
  if (is_none(upscaler)) return image;
  return resize(image, wanted.width_px, wanted.height_px, lower(upscaler) == "nearest" ? Resampling::nearest : Resampling::lanczos);
}
}  // namespace

bool is_upscaler(const std::string& name) { return is_none(name) || lower(name) == "lanczos" || lower(name) == "nearest"; }

Picture small_copy(const Picture& picture, int width_px) {
  torch::NoGradGuard no_grad;
  const int width = std::min(width_px, picture.width_px);
  const int height = std::max(1, static_cast<int>(int64_t{picture.height_px} * width / picture.width_px));
  return picture_of(resize(image_of(picture), width, height));
}

Picture side_by_side(const Picture& left, const Picture& right) {
  torch::NoGradGuard no_grad;
  return picture_of(torch::cat({image_of(left), image_of(right)}, 2));
}

Picture enlarged(const Picture& picture, const Enlargement& wanted) {
  torch::NoGradGuard no_grad;
  const Tensor image = image_of(picture);
  Tensor made = by(image, wanted.first, wanted);
  if (!is_none(wanted.second) && wanted.second_share > 0) {
    const Tensor over = by(image, wanted.second, wanted);
    if (over.sizes() == made.sizes()) made = made * (1 - wanted.second_share) + over * wanted.second_share;
  }
  if (made.size(2) == wanted.width_px && made.size(1) == wanted.height_px) {
    const int64_t top = (wanted.height_px - wanted.final_height_px) / 2, left = (wanted.width_px - wanted.final_width_px) / 2;
    made = made.slice(1, top, top + wanted.final_height_px).slice(2, left, left + wanted.final_width_px);
  }
  return picture_of(made);
}

}  // namespace lorikeet
