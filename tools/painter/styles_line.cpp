// Neon, sketch and blueprint.
#include <algorithm>
#include <cmath>

#include "painter/style_looks.h"

namespace lorikeet::painter {

namespace {

// Shapes get their outline before they are filled, as in the base style: where their pieces overlap, the fill hides the lines inside.

// Runs `draw` with the path as clip and gives the path back.
template <class Draw>
void inside(Pen& pen, Draw draw) {
  cairo_path_t* kept = cairo_copy_path(pen.cairo());
  cairo_save(pen.cairo());
  cairo_clip(pen.cairo());
  draw();
  cairo_restore(pen.cairo());
  pen.end_path();
  cairo_append_path(pen.cairo(), kept);
  cairo_path_destroy(kept);
}

// --- neon ---

constexpr Rgb kDarkness{.035, .025, .085};

// As bright as the hue can be; black is a dim violet tube, white a white one.
Rgb tube(Rgb c) {
  if (luma(c) < .15) return {.42, .34, .60};
  const double most = std::max({c.r, c.g, c.b}), least = std::min({c.r, c.g, c.b});
  if (most - least < .1 && most < .6) return {.42, .34, .60};  // the greys that go with black
  if (most - least < .1) return {.95, .97, 1};
  const auto push = [&](double v) { return std::clamp((v - least * .7) / (most - least * .7), 0.0, 1.0); };
  return mix({push(c.r), push(c.g), push(c.b)}, {0, 0, 0}, most < .55 ? .25 : 0);  // brown stays darker than orange
}

void glow(Pen& pen, Rgb colour, double width) {
  const Rgb light = tube(colour);
  cairo_set_operator(pen.cairo(), CAIRO_OPERATOR_SCREEN);
  pen.stroke(light, width + .070, .14);
  pen.stroke(light, width + .038, .24);
  cairo_set_operator(pen.cairo(), CAIRO_OPERATOR_OVER);
  pen.stroke(light, width + .008);
  pen.stroke(mix(light, {1, 1, 1}, .55), width * .45);
}

// --- sketch ---

constexpr Rgb kGraphite{.27, .27, .28};

struct Wobble {
  double amplitude, frequency, phase_x, phase_y;
  Point operator()(double x, double y) const {
    return {x + amplitude * std::sin(frequency * y + phase_x) + amplitude * .6 * std::sin(frequency * 2.3 * x + phase_y),
            y + amplitude * std::sin(frequency * x + phase_y) + amplitude * .6 * std::sin(frequency * 2.7 * y + phase_x)};
  }
};

// The path, cut into short straight pieces whose ends are shifted, in pixels.
void wobble_path(Pen& pen, const cairo_path_t* path, const Wobble& wobble) {
  const double piece = pen.px(.02);
  double x = 0, y = 0, begin_x = 0, begin_y = 0;
  const auto line_to = [&](double to_x, double to_y) {
    const int pieces = std::max(1, static_cast<int>(std::hypot(to_x - x, to_y - y) / piece));
    for (int i = 1; i <= pieces; ++i) {
      const auto point = wobble(x + (to_x - x) * i / pieces, y + (to_y - y) * i / pieces);
      pen.to(point.x, point.y);
    }
    x = to_x, y = to_y;
  };
  for (int i = 0; i < path->num_data; i += path->data[i].header.length) {
    const auto* data = &path->data[i];
    if (data->header.type == CAIRO_PATH_MOVE_TO) {
      x = begin_x = data[1].point.x, y = begin_y = data[1].point.y;
      const auto point = wobble(x, y);
      pen.move(point.x, point.y);
    } else if (data->header.type == CAIRO_PATH_LINE_TO) {
      line_to(data[1].point.x, data[1].point.y);
    } else if (data->header.type == CAIRO_PATH_CLOSE_PATH) {
      line_to(begin_x, begin_y);
    }
  }
}

void pencil(Pen& pen, double width, double alpha, int times) {
  cairo_matrix_t matrix;
  cairo_get_matrix(pen.cairo(), &matrix);
  cairo_identity_matrix(pen.cairo());
  cairo_path_t* flat = cairo_copy_path_flat(pen.cairo());
  for (int i = 0; i < times; ++i) {
    const Wobble wobble{pen.px(.0055), pen.random().between(18, 26) / pen.px(1), pen.random().between(0, 6.3),
                        pen.random().between(0, 6.3)};
    pen.end_path();
    wobble_path(pen, flat, wobble);
    pen.stroke(kGraphite, width, alpha);
  }
  pen.end_path();
  cairo_append_path(pen.cairo(), flat);
  cairo_path_destroy(flat);
  cairo_set_matrix(pen.cairo(), &matrix);
}

// Slanted strokes over the whole path; the darker `tone` (0 black .. 1 white), the closer and heavier.
void hatch(Pen& pen, double tone, double slope) {
  if (tone > .93) return;
  const double gap = pen.px(.020 + .045 * tone * tone), alpha = .75 - .45 * tone;
  inside(pen, [&] {
    cairo_identity_matrix(pen.cairo());
    double left, top, right, bottom;
    cairo_clip_extents(pen.cairo(), &left, &top, &right, &bottom);
    const double rise = (bottom - top) * slope;
    for (double x = std::min(left, left - rise); x < std::max(right, right - rise); x += gap * pen.random().between(.75, 1.25)) {
      pen.move(x, top).to(x + rise + pen.random().between(-.5, .5) * gap, bottom);
    }
    pen.stroke(kGraphite, .009, alpha);
    pen.end_path();
  });
}

// --- blueprint ---

constexpr Rgb kBlue{.09, .25, .55}, kChalk{.90, .95, 1};

}  // namespace

void neon_area(Pen& pen, Rgb top, Rgb bottom) {
  pen.fill(mix(kDarkness, mix(top, bottom, .5), .10));
  cairo_set_operator(pen.cairo(), CAIRO_OPERATOR_SCREEN);
  pen.stroke(tube(mix(top, bottom, .5)), .05, .12);
  pen.stroke(tube(mix(top, bottom, .5)), .012, .55);
  cairo_set_operator(pen.cairo(), CAIRO_OPERATOR_OVER);
}
void neon_shape(Pen& pen, Rgb colour) {
  glow(pen, colour, .030);
  pen.fill(mix(kDarkness, tube(colour), .14));
}
void neon_spot(Pen& pen, Rgb colour) { pen.fill(tube(colour), .9); }
void neon_line(Pen& pen, Rgb colour, double width) { glow(pen, colour, std::min(width, .014) * .8); }

void sketch_area(Pen& pen, Rgb top, Rgb bottom) {
  pen.fill({.975, .97, .955});
  const double tone = luma(mix(top, bottom, .5));
  if (tone < .85) hatch(pen, std::min(.9, tone + .25), .25);
  pencil(pen, .008, .6, 1);
}
void sketch_shape(Pen& pen, Rgb colour) {
  pencil(pen, .024, .7, 2);
  pen.fill({.985, .98, .97});
  hatch(pen, luma(colour), -.8);
  if (luma(colour) < .4) hatch(pen, luma(colour) + .25, .8);
}
void sketch_spot(Pen& pen, Rgb colour) {
  const double tone = luma(colour);
  pen.fill({tone, tone, tone}, .85);
}
void sketch_line(Pen& pen, Rgb, double width) { pencil(pen, std::clamp(width * .4, .007, .03), .6, 2); }

void sketch_finish(Picture& picture, Random& random) {
  for (size_t i = 0; i < picture.pixels.size(); i += 3) {
    const double grain = random.between(-7, 7);
    const double grey = (picture.pixels[i] + picture.pixels[i + 1] + picture.pixels[i + 2]) / 3.0;
    for (size_t c = 0; c < 3; ++c) picture.pixels[i + c] = static_cast<uint8_t>(std::clamp(grey + grain, 0.0, 255.0));
  }
}

void blueprint_area(Pen& pen, Rgb top, Rgb bottom) {
  const Rgb paper = mix(kBlue, {.05, .12, .30}, .5 - .5 * luma(mix(top, bottom, .5)));
  pen.fill(paper);
  inside(pen, [&] {
    cairo_identity_matrix(pen.cairo());
    for (double at = .0625; at < 1; at += .125)
      pen.move(pen.px(at), 0).to(pen.px(at), pen.px(1)).move(0, pen.px(at)).to(pen.px(1), pen.px(at));
    pen.stroke(kChalk, .006, .35);
    pen.end_path();
  });
  pen.stroke(kChalk, .008, .8);
}
void blueprint_shape(Pen& pen, Rgb colour) {
  pen.stroke(kChalk, .032);
  pen.fill(mix(kBlue, kChalk, .05 + .45 * luma(colour) * luma(colour)));
}
void blueprint_spot(Pen& pen, Rgb colour) { pen.fill(mix(kBlue, kChalk, luma(colour))); }
void blueprint_line(Pen& pen, Rgb, double width) { pen.stroke(kChalk, std::clamp(width * .5, .006, .02), .8); }

}  // namespace lorikeet::painter
