// A drawing of boxes and short texts, written as SVG or painted into a picture. For charts; nothing else is needed.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "io/picture.h"

namespace lorikeet {

using Rgb = std::array<uint8_t, 3>;

struct Drawing {
  enum class Align { left, middle, right };
  struct Box {
    int x_px, y_px, width_px, height_px;
    Rgb colour;
    std::string title;  // shown by a browser when the pointer rests on it; SVG only
  };
  struct Text {
    int x_px, y_px;  // of the middle of the line, and its left end, middle or right end
    std::string text;
    Rgb colour;
    Align align = Align::left;
  };
  int width_px = 0, height_px = 0;
  std::vector<Box> boxes;
  std::vector<Text> texts;
};

std::string to_svg(const Drawing& drawing);
// The letters are capitals, 5 × 7 pixels, drawn twice as large; characters other than A–Z, 0–9 and . , - + / % : ( ) = are blanks.
Picture to_picture(const Drawing& drawing);

}  // namespace lorikeet
