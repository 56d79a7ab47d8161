// What things and settings draw with: a path in their own coordinates, and a few ways to put it down. How each way looks is the style's.
#pragma once
#include <cairo.h>

#include <initializer_list>

#include "painter/colours.h"
#include "painter/random.h"

namespace lorikeet::painter {

struct Style;

struct Point {
  double x, y;
};

class Pen {
 public:
  // side_px: the side of the square that is drawn on; picture coordinates are 0..1, y down. `style` outlives the pen.
  Pen(cairo_t* cairo, const Style& style, double side_px, Random random);

  // The path. Curves and circles add to it; a way of putting it down ends it.
  Pen& move(double x, double y);
  Pen& to(double x, double y);
  Pen& curve(Point control1, Point control2, Point end);
  Pen& close();
  Pen& circle(double x, double y, double radius) { return ellipse(x, y, radius, radius); }
  Pen& ellipse(double x, double y, double radius_x, double radius_y);
  Pen& box(double x, double y, double width, double height, double rounding = 0);
  Pen& polygon(std::initializer_list<Point> points);

  // The ways. Widths are in the coordinates of the path.
  void area(Rgb top, Rgb bottom);  // a region of the background, a gradient from its top to its bottom
  void shape(Rgb colour);          // a part of a thing: filled, with an outline around the union of what the path encloses
  void spot(Rgb colour);           // a detail: filled, without outline
  void line(Rgb colour, double width);
  void shadow();  // what a thing throws on the ground; some styles know none

  // Coordinates of a thing: the box -1..1 by -1..1 (y down) lies around (x, y) with the given half height; tilt in radians.
  struct Box {
    double x, y, half_height, tilt = 0, stretch = 1;  // stretch: width over height
    bool mirrored = false;
  };
  void enter(const Box& box);
  void leave();

  // For styles.
  cairo_t* cairo() { return cairo_; }
  Random& random() { return random_; }  // apart from what decides the shapes: all styles draw the same scene
  double px(double share) const { return share * side_px_; }
  void fill(Rgb colour, double alpha = 1);                  // keeps the path
  void stroke(Rgb colour, double width, double alpha = 1);  // width: share of the picture's side; keeps the path
  void end_path() { cairo_new_path(cairo_); }
  struct Bounds {
    double left, top, right, bottom;  // pixels
  };
  Bounds path_bounds();

 private:
  double scale() const;  // of the coordinates of the path to shares of the picture's side
  cairo_t* cairo_;
  const Style& style_;
  double side_px_;
  Random random_;
};

}  // namespace lorikeet::painter
