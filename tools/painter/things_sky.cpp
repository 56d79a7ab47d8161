// Things of the sky and the boat.
#include <cmath>
#include <numbers>

#include "painter/thing_shapes.h"

namespace lorikeet::painter {

void draw_moon(Pen& pen, Rgb colour, Random& random) {
  const double bite = random.between(-.02, .12);
  pen.move(.38, -.98)
      .curve({-1.05, -1.0}, {-1.05, 1.0}, {.38, .98})
      .curve({-.38 + bite, .55}, {-.38 + bite, -.55}, {.38, -.98})
      .close()
      .shape(colour);
  pen.circle(-.45, -.12, .085).circle(-.27, -.62, .07).circle(-.34, .38, .10).spot(dark(colour));
}

void draw_sun(Pen& pen, Rgb colour, Random& random) {
  const double turn = random.between(0, .5), size = random.between(.56, .62);
  constexpr int kRays = 10;
  for (int i = 0; i < kRays; ++i) {
    const double angle = turn + i * 2 * std::numbers::pi / kRays;
    const auto at = [&](double radius, double off) { return Point{radius * std::cos(angle + off), radius * std::sin(angle + off)}; };
    pen.polygon({at(size + .06, -.20), at(1, 0), at(size + .06, .20)});
  }
  pen.shape(mix(colour, dark(colour), .35));
  pen.circle(0, 0, size).shape(colour);
  draw_face(pen, colour, 0, 0, size * .9);
}

void draw_cloud(Pen& pen, Rgb colour, Random& random) {
  const double left = random.between(.40, .50), right = random.between(.48, .6);
  pen.circle(-.55, .0, left + .1).circle(.15, -.32, .66).circle(.72, .08, right).circle(-1.05, .42, .48).circle(1.12, .46, .44);
  pen.box(-1.05, .1, 2.17, .8, .1).shape(colour);
  pen.move(-.75, .1)
      .curve({-.6, -.2}, {-.3, -.2}, {-.15, 0})
      .move(.25, .25)
      .curve({.4, -.05}, {.75, -.05}, {.9, .2})
      .line(dark(colour), .07);
}

void draw_star(Pen& pen, Rgb colour, Random& random) {
  const double inner = random.between(.46, .54);
  for (int i = 0; i < 10; ++i) {
    const double angle = -std::numbers::pi / 2 + i * std::numbers::pi / 5, radius = i % 2 ? inner : 1.08;
    pen.to(radius * std::cos(angle), .08 + radius * std::sin(angle));
  }
  pen.close().shape(colour);
  draw_face(pen, colour, 0, .08, .5);
}

void draw_balloon(Pen& pen, Rgb colour, Random& random) {
  const double sway = random.between(-.25, .25), wide = random.between(.54, .60);
  pen.move(0, .38).curve({sway, .55}, {-sway, .8}, {sway * .4, 1}).line(mix(kInk, {1, 1, 1}, .35), .06);
  pen.polygon({{0, .24}, {-.11, .44}, {.11, .44}}).shape(dark(colour));
  pen.move(0, -1)
      .curve({wide * 1.32, -1}, {wide * 1.25, 0}, {0, .32})
      .curve({-wide * 1.25, 0}, {-wide * 1.32, -1}, {0, -1})
      .close()
      .shape(colour);
  pen.ellipse(-.22, -.58, .10, .17).spot(mix(colour, {1, 1, 1}, luma(colour) > .9 ? 1 : .6));
}

void draw_boat(Pen& pen, Rgb colour, Random& random) {
  const double top = random.between(-.98, -.9), mast = random.between(-.08, .05);
  pen.move(mast, top).to(mast, .4).line(kWood, .10);
  pen.move(mast + .10, top + .06).curve({.75, -.3}, {.82, .0}, {.84, .24}).to(mast + .10, .24).close().shape(light(colour));
  pen.move(mast - .10, top + .3).curve({-.3, -.1}, {-.5, .1}, {-.72, .24}).to(mast - .10, .24).close().shape(light(colour));
  pen.move(-1, .38)
      .to(1, .38)
      .curve({.92, .75}, {.75, 1}, {.55, 1})
      .to(-.55, 1)
      .curve({-.8, 1}, {-.92, .75}, {-1, .38})
      .close()
      .shape(colour);
  pen.move(-.88, .58).to(.88, .58).line(contrast(colour) == kInk ? dark(colour) : light(colour), .08);
}

}  // namespace lorikeet::painter
