// The painter's colours: ten that captions name, clearly apart, and the arithmetic on them. Components 0..1, sRGB.
#pragma once
#include <array>
#include <span>
#include <string_view>

namespace lorikeet::painter {

struct Rgb {
  double r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

struct Colour {
  std::string_view name;
  Rgb rgb;
};
inline constexpr size_t kColourCount = 10;
std::span<const Colour, kColourCount> colours();  // the one list

double luma(Rgb colour);                   // Rec. 709 weights on sRGB values, 0..1
Rgb mix(Rgb a, Rgb b, double share_of_b);  // share 0: a, 1: b
Rgb dark(Rgb colour);                      // a shade for second parts; of black a dark grey, so that the parts stay apart
Rgb light(Rgb colour);                     // a tint for second parts
Rgb outline(Rgb colour);                   // what goes around a part of this colour; of black a grey

// CIE L*a*b* (CIE 15:2004) under D65: L 0..100; the distance of two is about how different they look (CIE76).
std::array<double, 3> lab(Rgb colour);
double distance(const std::array<double, 3>& a, const std::array<double, 3>& b);

}  // namespace lorikeet::painter
