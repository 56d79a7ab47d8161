// The settings of pictures: a background with a horizon. One row and one draw function a setting.
#pragma once
#include <span>
#include <string_view>

#include "painter/pen.h"

namespace lorikeet::painter {

struct Setting {
  std::string_view name;    // as --setting takes it
  std::string_view phrase;  // in captions: "a red house in the snow"
  std::string_view tag;     // the short form: "a red house, snow"
  // Draws over the whole picture, 0..1. horizon: y of where the ground begins; shore: of the sea, a beach lies in front.
  void (*draw)(Pen&, double horizon, bool shore, Random&);
};

std::span<const Setting> settings();
inline constexpr size_t kSea = 0;  // the setting of water things

}  // namespace lorikeet::painter
