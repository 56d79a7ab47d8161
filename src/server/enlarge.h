// Pictures in other sizes: small copies for lists, and A1111's extras.
#pragma once
#include <string>

#include "io/picture.h"

namespace lorikeet {

// At most this wide, in its shape.
Picture small_copy(const Picture& picture, int width_px);
// One beside the other; of one height.
Picture side_by_side(const Picture& left, const Picture& right);

struct Enlargement {
  int width_px = 0, height_px = 0;              // enlarged to
  int final_width_px = 0, final_height_px = 0;  // the middle of it
  std::string first, second;                    // upscaler_names(); "None": the picture as it is
  double second_share = 0;                      // 0..1: how much of the second is laid over the first
};
Picture enlarged(const Picture& picture, const Enlargement& wanted);
bool is_upscaler(const std::string& name);  // "None", "Lanczos", "Nearest", any case; "" is None

}  // namespace lorikeet
