// Paper: what sheets and curves are drawn on, with Cairo: text, rectangles, lines and other pictures. Pixels, y down, origin at the top
// left. Not in the engine-only build.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/picture.h"

namespace lorikeet {

struct Ink {
  double r = 0, g = 0, b = 0;  // sRGB, 0..1; black
};

struct Spot {
  double x = 0, y = 0;
};

struct Lettering {
  double size_px = 14;  // of the em; a line is kLineHeight times as high
  bool bold = false;
  Ink ink = {};
};
inline constexpr double kLineHeight = 1.25;

enum class Align { left, centre, right };

// A sans-serif font of the system; bytes that are no UTF-8 become U+FFFD, line breaks and other control characters blanks.
double text_width(std::string_view text, const Lettering& lettering);
// Lines of at most `width_px`, broken between words, inside of a word only where it alone is too long. What needs more than `most_lines`
// ends in "…". Never empty.
std::vector<std::string> wrapped_text(std::string_view text, double width_px, const Lettering& lettering, size_t most_lines);

class Paper {
 public:
  // Error{out_of_memory}; at most 16384 a side.
  Paper(int width_px, int height_px, Ink background = {1, 1, 1});
  ~Paper();

  void rectangle(Spot corner, double width, double height, Ink ink);
  void line(std::span<const Spot> points, double width, Ink ink);  // through all points
  // One line; `place.y` is its top, `place.x` its left end, middle or right end. Error{unsupported}: the system has no font.
  void text(Spot place, std::string_view text, const Lettering& lettering, Align align = Align::left);
  // Over the box at `corner`. Pixel by pixel where the sizes are equal; transparency shows what is below.
  void picture(Spot corner, int width, int height, const Picture& picture);

  Picture finished() const;  // RGB

 private:
  struct Surface;
  std::unique_ptr<Surface> surface_;
};

}  // namespace lorikeet
