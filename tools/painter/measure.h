// Numbers about a picture by which colours and styles can be told without eyes: on painted pictures and on generated ones.
#pragma once
#include <array>
#include <string>

#include "io/picture.h"
#include "painter/colours.h"

namespace lorikeet::painter {

struct Measures {
  // For each of colours(): the share of pixels (0..1) that are nearer to it than to the other nine, at a CIE76 distance of at most kNear.
  // The rest are in no colour. Snow, clouds and a beige background are near white: white is best measured against a picture without it.
  std::array<double, kColourCount> share{};
  // Where those pixels are, their mean place, 0..1 from left and from top; 0.5 where there are none.
  std::array<double, kColourCount> x{}, y{};

  double mean_luma = 0;   // 0..1, Rec. 709 weights on sRGB values
  double dark = 0;        // share of pixels with a luma below 0.2
  double bright = 0;      // share above 0.85
  double saturated = 0;   // share with (max - min) / max above 0.6, and max above 0.25
  double grey = 0;        // share with max - min below 0.06
  double navy = 0;        // share with a luma below 0.4 and a blue of at least 0.2, 1.6 times red and 1.2 times green: a blueprint's paper
  double saturation = 0;  // mean of max - min
  double edges = 0;       // mean absolute difference of luma between neighbours, right and below
  // How much of the differences between neighbours lies on the borders of 32 blocks a side: 0.5 where blocks play no part, 1 for pixel
  // art. The mean at borders over the sum of that and the mean elsewhere; 0 for an empty picture. 0.5 if 32 does not divide the sides.
  double blocks = 0;
};

// The two nearest of the ten colours, purple and blue, are 39.8 apart; a shade (dark()) is up to 32 from its colour, most are below 28.
inline constexpr double kNear = 30;

// channels 1, 3 or 4 (alpha is not looked at). Error{bad_input} for a picture of less than 2 x 2 pixels.
Measures measure(const Picture& picture);

// One JSON object on one line, all numbers with four decimals.
std::string measures_json(const Measures& measures);

}  // namespace lorikeet::painter
