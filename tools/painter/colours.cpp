// The ten colours and their shades.
#include "painter/colours.h"

#include <algorithm>
#include <cmath>

namespace lorikeet::painter {

namespace {

constexpr std::array<Colour, kColourCount> kColours{{
    {"red", {.86, .14, .15}},
    {"orange", {.98, .54, .08}},
    {"yellow", {.99, .86, .14}},
    {"green", {.13, .58, .20}},
    {"blue", {.11, .38, .89}},
    {"purple", {.58, .17, .68}},
    {"pink", {.99, .54, .74}},
    {"brown", {.48, .28, .12}},
    {"white", {.98, .98, .97}},
    {"black", {.10, .10, .12}},
}};

// Below this luma a colour counts as black: its shades go up instead of down.
constexpr double kBlackLuma = 0.15;

}  // namespace

std::span<const Colour, kColourCount> colours() { return kColours; }

double luma(Rgb c) { return 0.2126 * c.r + 0.7152 * c.g + 0.0722 * c.b; }

Rgb mix(Rgb a, Rgb b, double share) { return {a.r + (b.r - a.r) * share, a.g + (b.g - a.g) * share, a.b + (b.b - a.b) * share}; }

Rgb dark(Rgb c) { return luma(c) < kBlackLuma ? mix(c, {1, 1, 1}, 0.22) : mix(c, {0, 0, 0}, luma(c) > 0.9 ? 0.2 : 0.3); }

Rgb light(Rgb c) { return mix(c, {1, 1, 1}, luma(c) < kBlackLuma ? 0.3 : 0.45); }

Rgb outline(Rgb c) { return luma(c) < kBlackLuma ? mix(c, {.6, .6, .7}, 0.5) : mix(c, {.06, .05, .1}, 0.55); }

std::array<double, 3> lab(Rgb c) {
  const auto linear = [](double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); };
  const double r = linear(c.r), g = linear(c.g), b = linear(c.b);
  // sRGB to XYZ (IEC 61966-2-1), each divided by the white point of D65.
  const double x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505;
  const double y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const double z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.0890;
  const auto f = [](double t) { return t > 216.0 / 24389 ? std::cbrt(t) : (24389.0 / 27 * t + 16) / 116; };
  return {116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))};
}

double distance(const std::array<double, 3>& a, const std::array<double, 3>& b) {
  return std::sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2]));
}

}  // namespace lorikeet::painter
