// The table of styles, and those that fill: base, pixel, glass. Those of lines are in styles_line.cpp.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "painter/style_looks.h"

namespace lorikeet::painter {

namespace {

void fill_gradient(Pen& pen, Rgb top, Rgb bottom) {
  const auto bounds = pen.path_bounds();
  cairo_pattern_t* gradient = cairo_pattern_create_linear(0, bounds.top, 0, bounds.bottom);
  cairo_pattern_add_color_stop_rgb(gradient, 0, top.r, top.g, top.b);
  cairo_pattern_add_color_stop_rgb(gradient, 1, bottom.r, bottom.g, bottom.b);
  cairo_matrix_t kept;
  cairo_get_matrix(pen.cairo(), &kept);
  cairo_identity_matrix(pen.cairo());
  cairo_set_source(pen.cairo(), gradient);
  cairo_fill_preserve(pen.cairo());
  cairo_set_matrix(pen.cairo(), &kept);
  cairo_pattern_destroy(gradient);
}

// --- base: flat colours with a darker outline. The outline is drawn first, twice as wide: fills hide the half that would lie inside. ---

void base_shape(Pen& pen, Rgb colour) {
  pen.stroke(outline(colour), .028);
  pen.fill(colour);
}
void base_spot(Pen& pen, Rgb colour) { pen.fill(colour); }
void base_line(Pen& pen, Rgb colour, double width) { pen.stroke(colour, width); }

// --- pixel: hard edges, 32 pixels a side, a small palette ---

void pixel_area(Pen& pen, Rgb top, Rgb bottom) { pen.fill(mix(top, bottom, .4)); }
void pixel_shape(Pen& pen, Rgb colour) {
  pen.stroke(outline(colour), .05);
  pen.fill(colour);
}
void pixel_line(Pen& pen, Rgb colour, double width) { pen.stroke(colour, std::max(width, .03)); }

// The palette: the ten colours, their shades, and the tones of the settings.
constexpr std::array<Rgb, 32> kPixelPalette{{
    {.86, .14, .15}, {.98, .54, .08}, {.99, .86, .14}, {.13, .58, .20}, {.11, .38, .89}, {.58, .17, .68}, {.99, .54, .74}, {.48, .28, .12},
    {.98, .98, .97}, {.10, .10, .12}, {.50, .08, .10}, {.68, .38, .06}, {.09, .38, .14}, {.08, .25, .58}, {.39, .11, .45}, {.69, .38, .52},
    {.30, .17, .08}, {.66, .66, .68}, {.32, .32, .36}, {.80, .91, .97}, {.18, .58, .72}, {.95, .84, .60}, {.57, .80, .33}, {.36, .62, .22},
    {.14, .15, .40}, {.12, .20, .29}, {.71, .78, .86}, {.89, .71, .45}, {.70, .53, .30}, {.91, .88, .82}, {.82, .77, .71}, {.56, .70, .96},
}};

void pixel_finish(Picture& picture, Random&) {
  static const auto kLabs = [] {
    std::array<std::array<double, 3>, kPixelPalette.size()> labs;
    for (size_t i = 0; i < labs.size(); ++i) labs[i] = lab(kPixelPalette[i]);
    return labs;
  }();
  for (size_t i = 0; i < picture.pixels.size(); i += 3) {
    uint8_t* p = &picture.pixels[i];
    const auto own = lab({p[0] / 255.0, p[1] / 255.0, p[2] / 255.0});
    const auto nearest =
        std::min_element(kLabs.begin(), kLabs.end(), [&](const auto& a, const auto& b) { return distance(own, a) < distance(own, b); });
    const Rgb rgb = kPixelPalette[nearest - kLabs.begin()];
    p[0] = static_cast<uint8_t>(rgb.r * 255 + .5), p[1] = static_cast<uint8_t>(rgb.g * 255 + .5),
    p[2] = static_cast<uint8_t>(rgb.b * 255 + .5);
  }
}

// --- glass: a church window. Deep colours that glow, thick black leading, and cells in the background ---

constexpr Rgb kLead{.05, .05, .07};

Rgb deep(Rgb c) {
  const double grey = luma(c);
  const auto push = [&](double v) { return std::clamp(grey + (v - grey) * 1.7 - .04, 0.0, 1.0); };
  return {push(c.r), push(c.g), push(c.b)};
}

void glass_area(Pen& pen, Rgb top, Rgb bottom) {
  fill_gradient(pen, deep(mix(top, {.3, .35, .6}, .25)), deep(mix(bottom, {.3, .35, .6}, .25)));
  cairo_save(pen.cairo());
  const auto bounds = pen.path_bounds();
  pen.stroke(kLead, .03);
  cairo_clip_preserve(pen.cairo());
  cairo_path_t* kept = cairo_copy_path(pen.cairo());
  pen.end_path();
  // Leading from edge to edge: slanted lines that cross.
  for (int i = 0; i < 5; ++i) {
    const double x = (i - .2 + pen.random().between(0, .5)) / 4.0;
    pen.move(x, -.1).to(x + pen.random().between(-.35, .35), 1.1);
    pen.stroke(kLead, .018);
    pen.end_path();
  }
  for (double y = bounds.top / pen.px(1) + .16; y < bounds.bottom / pen.px(1); y += .22) {
    pen.move(-.1, y + pen.random().between(-.06, .06)).to(1.1, y + pen.random().between(-.06, .06));
    pen.stroke(kLead, .018);
    pen.end_path();
  }
  cairo_restore(pen.cairo());
  cairo_append_path(pen.cairo(), kept);
  cairo_path_destroy(kept);
}

void glass_shape(Pen& pen, Rgb colour) {
  pen.stroke(kLead, .07);
  const Rgb pane = deep(colour);
  fill_gradient(pen, mix(pane, {1, 1, 1}, .30), mix(pane, {0, 0, 0}, .18));
}
void glass_spot(Pen& pen, Rgb colour) { pen.fill(deep(colour)); }
void glass_line(Pen& pen, Rgb, double width) { pen.stroke(kLead, std::max(width * .7, .014)); }

}  // namespace

std::span<const Style> styles() {
  static constexpr std::array kStyles{
      Style{"base", "", fill_gradient, base_shape, base_spot, base_line},
      Style{"neon", ", neon style", neon_area, neon_shape, neon_spot, neon_line, nullptr, 0},
      Style{"sketch", ", pencil sketch style", sketch_area, sketch_shape, sketch_spot, sketch_line, sketch_finish},
      Style{"pixel", ", pixel art style", pixel_area, pixel_shape, base_spot, pixel_line, pixel_finish, .22, true},
      Style{"glass", ", stained glass style", glass_area, glass_shape, glass_spot, glass_line},
      Style{"blueprint", ", blueprint style", blueprint_area, blueprint_shape, blueprint_spot, blueprint_line, nullptr, 0},
  };
  return kStyles;
}

const Style& style_named(std::string_view wanted) {
  std::vector<std::string> names;
  for (const auto& style : styles()) {
    if (style.name == wanted) return style;
    names.emplace_back(style.name);
  }
  throw Error(ErrorKind::not_found, "the painter knows no style \"" + std::string(wanted) + "\"", "there are: " + join(names, ", "));
}

}  // namespace lorikeet::painter
