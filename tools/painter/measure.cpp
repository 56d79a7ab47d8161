// The measures of pictures.
#include "painter/measure.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace lorikeet::painter {

namespace {

constexpr int kMeasuredBlocks = 32;

Rgb pixel(const Picture& picture, int x, int y) {
  const auto* p = &picture.pixels[(static_cast<size_t>(y) * picture.width_px + x) * picture.channels];
  if (picture.channels == 1) return {p[0] / 255.0, p[0] / 255.0, p[0] / 255.0};
  return {p[0] / 255.0, p[1] / 255.0, p[2] / 255.0};
}

// The nearest of the ten colours, or kColourCount where none is near.
size_t nearest_colour(Rgb rgb) {
  static const auto kLabs = [] {
    std::array<std::array<double, 3>, kColourCount> labs;
    for (size_t i = 0; i < kColourCount; ++i) labs[i] = lab(colours()[i].rgb);
    return labs;
  }();
  const auto own = lab(rgb);
  size_t best = 0;
  double best_distance = 1e9;
  for (size_t i = 0; i < kColourCount; ++i) {
    const double d = distance(own, kLabs[i]);
    if (d < best_distance) best = i, best_distance = d;
  }
  return best_distance <= kNear ? best : kColourCount;
}

void count_colours(const Picture& picture, Measures& m) {
  std::array<double, kColourCount> count{}, x_sum{}, y_sum{};
  for (int y = 0; y < picture.height_px; ++y) {
    for (int x = 0; x < picture.width_px; ++x) {
      const size_t colour = nearest_colour(pixel(picture, x, y));
      if (colour == kColourCount) continue;
      ++count[colour];
      x_sum[colour] += (x + 0.5) / picture.width_px;
      y_sum[colour] += (y + 0.5) / picture.height_px;
    }
  }
  const double all = static_cast<double>(picture.width_px) * picture.height_px;
  for (size_t i = 0; i < kColourCount; ++i) {
    m.share[i] = count[i] / all;
    m.x[i] = count[i] > 0 ? x_sum[i] / count[i] : 0.5;
    m.y[i] = count[i] > 0 ? y_sum[i] / count[i] : 0.5;
  }
}

void count_tones(const Picture& picture, Measures& m) {
  for (int y = 0; y < picture.height_px; ++y) {
    for (int x = 0; x < picture.width_px; ++x) {
      const Rgb rgb = pixel(picture, x, y);
      const double most = std::max({rgb.r, rgb.g, rgb.b}), spread = most - std::min({rgb.r, rgb.g, rgb.b}), bright = luma(rgb);
      m.mean_luma += bright;
      m.dark += bright < 0.2;
      m.bright += bright > 0.85;
      m.saturated += most > 0.25 && spread / most > 0.6;
      m.grey += spread < 0.06;
      m.navy += bright < 0.4 && rgb.b >= 0.2 && rgb.b >= 1.6 * rgb.r && rgb.b >= 1.2 * rgb.g;
      m.saturation += spread;
    }
  }
  const double all = static_cast<double>(picture.width_px) * picture.height_px;
  for (double* value : {&m.mean_luma, &m.dark, &m.bright, &m.saturated, &m.grey, &m.navy, &m.saturation}) *value /= all;
}

void count_edges(const Picture& picture, Measures& m) {
  const bool divisible = picture.width_px % kMeasuredBlocks == 0 && picture.height_px % kMeasuredBlocks == 0;
  const int block_x = std::max(1, picture.width_px / kMeasuredBlocks), block_y = std::max(1, picture.height_px / kMeasuredBlocks);
  double border = 0, elsewhere = 0;
  size_t borders = 0, others = 0;
  const auto add = [&](double difference, bool on_border) {
    (on_border ? border : elsewhere) += std::abs(difference);
    ++(on_border ? borders : others);
  };
  for (int y = 0; y < picture.height_px; ++y) {
    for (int x = 0; x < picture.width_px; ++x) {
      const double own = luma(pixel(picture, x, y));
      if (x + 1 < picture.width_px) add(luma(pixel(picture, x + 1, y)) - own, (x + 1) % block_x == 0);
      if (y + 1 < picture.height_px) add(luma(pixel(picture, x, y + 1)) - own, (y + 1) % block_y == 0);
    }
  }
  m.edges = (border + elsewhere) / static_cast<double>(borders + others);
  const double at_borders = borders ? border / static_cast<double>(borders) : 0,
               inside = others ? elsewhere / static_cast<double>(others) : 0;
  m.blocks = !divisible ? 0.5 : at_borders + inside > 0 ? at_borders / (at_borders + inside) : 0;
}

}  // namespace

Measures measure(const Picture& picture) {
  if (picture.width_px < 2 || picture.height_px < 2)
    throw Error(ErrorKind::bad_input, "a picture of less than 2 x 2 pixels cannot be measured");
  Measures measures;
  count_colours(picture, measures);
  count_tones(picture, measures);
  count_edges(picture, measures);
  return measures;
}

std::string measures_json(const Measures& m) {
  const auto number = [](std::string_view name, double value) {
    char text[80];
    std::snprintf(text, sizeof text, "\"%.*s\": %.4f", static_cast<int>(name.size()), name.data(), value);
    return std::string(text);
  };
  std::string shares, places;
  for (size_t i = 0; i < kColourCount; ++i) {
    const auto name = colours()[i].name;
    char place[80];
    std::snprintf(place, sizeof place, "%s\"%.*s\": [%.4f, %.4f]", i ? ", " : "", static_cast<int>(name.size()), name.data(), m.x[i],
                  m.y[i]);
    shares += (i ? ", " : "") + number(name, m.share[i]);
    places += place;
  }
  std::string text = "{\"share\": {" + shares + "}, \"place\": {" + places + "}";
  for (const auto& [name, value] : {std::pair<const char*, double>{"mean_luma", m.mean_luma},
                                    {"dark", m.dark},
                                    {"bright", m.bright},
                                    {"saturated", m.saturated},
                                    {"grey", m.grey},
                                    {"navy", m.navy},
                                    {"saturation", m.saturation},
                                    {"edges", m.edges},
                                    {"blocks", m.blocks}}) {
    text += ", " + number(name, value);
  }
  return text + "}";
}

}  // namespace lorikeet::painter
