// Sea, meadow, night, snow, desert, plain: sky and ground, and a few soft strokes.
#include "painter/settings.h"

#include <array>
#include <cmath>

namespace lorikeet::painter {

namespace {

// Small differences of tone from picture to picture.
Rgb tinted(Rgb colour, Random& random) {
  const double shift = random.between(-.025, .025);
  return {colour.r + shift, colour.g + shift, colour.b + shift * .5};
}

void draw_sky(Pen& pen, double horizon, Rgb top, Rgb bottom, Random& random) {
  pen.box(-.05, -.05, 1.1, horizon + .15).area(tinted(top, random), tinted(bottom, random));
}

// Ground with a softly curved edge; `swing` is how far it rises and falls.
void draw_ground(Pen& pen, double horizon, double swing, Rgb top, Rgb bottom, Random& random) {
  const double left = horizon + random.between(-swing, swing), right = horizon + random.between(-swing, swing);
  const double middle = horizon + random.between(-swing, swing);
  pen.move(-.05, left).curve({.3, middle - swing}, {.6, middle + swing}, {1.05, right}).to(1.05, 1.05).to(-.05, 1.05).close();
  pen.area(tinted(top, random), tinted(bottom, random));
}

void draw_sea(Pen& pen, double horizon, bool shore, Random& random) {
  draw_sky(pen, horizon, {.74, .88, .97}, {.95, .97, .97}, random);
  draw_ground(pen, horizon, 0, {.28, .68, .78}, {.10, .47, .66}, random);
  for (int i = 0; i < 9; ++i) {
    const double x = random.between(-.02, .95), y = random.between(horizon + .04, .98), w = random.between(.05, .09);
    pen.move(x, y).curve({x + w * .3, y - .025}, {x + w * .7, y - .025}, {x + w, y}).line({.62, .86, .90}, .011);
  }
  if (shore) draw_ground(pen, .80, .02, {.96, .87, .64}, {.90, .78, .52}, random);
}

void draw_meadow(Pen& pen, double horizon, bool, Random& random) {
  draw_sky(pen, horizon, {.58, .80, .97}, {.88, .95, .99}, random);
  draw_ground(pen, horizon, .035, {.66, .85, .38}, {.48, .74, .27}, random);
  for (int i = 0; i < 16; ++i) {
    const double x = random.between(0, 1), y = random.between(horizon + .08, 1);
    pen.move(x, y).to(x - .012, y - .035).move(x + .01, y).to(x + .022, y - .03).line({.36, .62, .22}, .009);
  }
}

void draw_night(Pen& pen, double horizon, bool, Random& random) {
  draw_sky(pen, horizon, {.07, .09, .30}, {.22, .22, .50}, random);
  for (int i = 0; i < 16; ++i) {
    pen.circle(random.between(0, 1), random.between(0, horizon - .03), random.between(.005, .010)).spot({.95, .94, .80});
  }
  draw_ground(pen, horizon, .03, {.15, .25, .34}, {.09, .15, .24}, random);
}

void draw_snow(Pen& pen, double horizon, bool, Random& random) {
  draw_sky(pen, horizon, {.62, .70, .80}, {.82, .87, .92}, random);
  draw_ground(pen, horizon, .03, {.96, .98, 1}, {.86, .91, .97}, random);
  for (int i = 0; i < 22; ++i) pen.circle(random.between(0, 1), random.between(0, 1), random.between(.007, .014)).spot({1, 1, 1});
}

void draw_desert(Pen& pen, double horizon, bool, Random& random) {
  draw_sky(pen, horizon, {.99, .80, .58}, {1, .93, .78}, random);
  draw_ground(pen, horizon - .03, .05, {.90, .70, .44}, {.88, .68, .42}, random);
  draw_ground(pen, horizon + .08, .05, {.95, .80, .53}, {.87, .68, .40}, random);
  for (int i = 0; i < 6; ++i) {
    const double x = random.between(-.05, .85), y = random.between(horizon + .16, .98), w = random.between(.12, .2);
    pen.move(x, y).curve({x + w * .3, y - .02}, {x + w * .6, y + .02}, {x + w, y}).line({.80, .62, .36}, .009);
  }
}

void draw_plain(Pen& pen, double horizon, bool, Random& random) {
  draw_sky(pen, horizon, {.93, .90, .85}, {.89, .85, .79}, random);
  draw_ground(pen, horizon + .06, 0, {.81, .76, .70}, {.86, .81, .75}, random);
}

}  // namespace

std::span<const Setting> settings() {
  static constexpr std::array kSettings{
      Setting{"sea", "by the sea", "sea", draw_sea},
      Setting{"meadow", "in a meadow", "meadow", draw_meadow},
      Setting{"night", "at night", "night", draw_night},
      Setting{"snow", "in the snow", "snow", draw_snow},
      Setting{"desert", "in the desert", "desert", draw_desert},
      Setting{"plain", "on a plain background", "plain background", draw_plain},
  };
  return kSettings;
}

}  // namespace lorikeet::painter
