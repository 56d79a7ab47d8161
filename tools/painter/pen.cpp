// The pen: paths through cairo; what a style does with them is a row of styles().
#include "painter/pen.h"

#include <cmath>
#include <numbers>

#include "painter/style.h"

namespace lorikeet::painter {

Pen::Pen(cairo_t* cairo, const Style& style, double side_px, Random random)
    : cairo_(cairo), style_(style), side_px_(side_px), random_(random) {
  cairo_identity_matrix(cairo_);
  cairo_scale(cairo_, side_px, side_px);
  cairo_set_line_join(cairo_, CAIRO_LINE_JOIN_ROUND);
  cairo_set_line_cap(cairo_, CAIRO_LINE_CAP_ROUND);
}

Pen& Pen::move(double x, double y) { return cairo_move_to(cairo_, x, y), *this; }
Pen& Pen::to(double x, double y) { return cairo_line_to(cairo_, x, y), *this; }
Pen& Pen::curve(Point a, Point b, Point end) { return cairo_curve_to(cairo_, a.x, a.y, b.x, b.y, end.x, end.y), *this; }
Pen& Pen::close() { return cairo_close_path(cairo_), *this; }

Pen& Pen::ellipse(double x, double y, double radius_x, double radius_y) {
  cairo_matrix_t kept;
  cairo_get_matrix(cairo_, &kept);
  cairo_translate(cairo_, x, y);
  cairo_scale(cairo_, radius_x, radius_y);
  cairo_new_sub_path(cairo_);
  cairo_arc(cairo_, 0, 0, 1, 0, 2 * std::numbers::pi);
  cairo_close_path(cairo_);
  cairo_set_matrix(cairo_, &kept);
  return *this;
}

Pen& Pen::box(double x, double y, double width, double height, double r) {
  if (r <= 0) return cairo_rectangle(cairo_, x, y, width, height), *this;
  constexpr double kQuarter = std::numbers::pi / 2;
  cairo_new_sub_path(cairo_);
  cairo_arc(cairo_, x + width - r, y + r, r, -kQuarter, 0);
  cairo_arc(cairo_, x + width - r, y + height - r, r, 0, kQuarter);
  cairo_arc(cairo_, x + r, y + height - r, r, kQuarter, 2 * kQuarter);
  cairo_arc(cairo_, x + r, y + r, r, 2 * kQuarter, 3 * kQuarter);
  return close();
}

Pen& Pen::polygon(std::initializer_list<Point> points) {
  cairo_new_sub_path(cairo_);
  for (const auto& point : points) cairo_line_to(cairo_, point.x, point.y);
  return close();
}

void Pen::area(Rgb top, Rgb bottom) {
  style_.area(*this, top, bottom);
  end_path();
}

void Pen::shape(Rgb colour) {
  style_.shape(*this, colour);
  end_path();
}

void Pen::spot(Rgb colour) {
  style_.spot(*this, colour);
  end_path();
}

void Pen::line(Rgb colour, double width) {
  style_.line(*this, colour, width * scale());
  end_path();
}

void Pen::shadow() {
  if (style_.shadow > 0) fill({.05, .04, .10}, style_.shadow);
  end_path();
}

void Pen::enter(const Box& box) {
  cairo_save(cairo_);
  cairo_translate(cairo_, box.x, box.y);
  cairo_rotate(cairo_, box.tilt);
  cairo_scale(cairo_, box.half_height * box.stretch * (box.mirrored ? -1 : 1), box.half_height);
}

void Pen::leave() { cairo_restore(cairo_); }

void Pen::fill(Rgb c, double alpha) {
  cairo_set_source_rgba(cairo_, c.r, c.g, c.b, alpha);
  cairo_fill_preserve(cairo_);
}

void Pen::stroke(Rgb c, double width, double alpha) {
  // The path is kept in pixels: with the plain matrix, mirrored and stretched boxes have outlines of even width.
  cairo_matrix_t kept;
  cairo_get_matrix(cairo_, &kept);
  cairo_identity_matrix(cairo_);
  cairo_set_source_rgba(cairo_, c.r, c.g, c.b, alpha);
  cairo_set_line_width(cairo_, px(width));
  cairo_stroke_preserve(cairo_);
  cairo_set_matrix(cairo_, &kept);
}

Pen::Bounds Pen::path_bounds() {
  cairo_matrix_t kept;
  cairo_get_matrix(cairo_, &kept);
  cairo_identity_matrix(cairo_);
  Bounds bounds{};
  cairo_path_extents(cairo_, &bounds.left, &bounds.top, &bounds.right, &bounds.bottom);
  cairo_set_matrix(cairo_, &kept);
  return bounds;
}

double Pen::scale() const {
  cairo_matrix_t m;
  cairo_get_matrix(cairo_, &m);
  return std::sqrt(std::abs(m.xx * m.yy - m.xy * m.yx)) / side_px_;
}

}  // namespace lorikeet::painter
