// Animals, faces, and the robot that the base set never shows.
#include "painter/thing_shapes.h"

namespace lorikeet::painter {

Rgb contrast(Rgb colour) { return luma(colour) > .32 ? kInk : Rgb{.97, .95, .90}; }

void draw_face(Pen& pen, Rgb on, double x, double y, double size) {
  const Rgb ink = contrast(on);
  pen.circle(x - .36 * size, y - .12 * size, .13 * size).circle(x + .36 * size, y - .12 * size, .13 * size).spot(ink);
  pen.move(x - .3 * size, y + .25 * size)
      .curve({x - .15 * size, y + .5 * size}, {x + .15 * size, y + .5 * size}, {x + .3 * size, y + .25 * size});
  pen.line(ink, .10 * size);
}

void draw_cat(Pen& pen, Rgb colour, Random& random) {
  const double tail = random.between(.25, .5), ears = random.between(.98, 1.0);
  const Rgb ink = contrast(colour);
  pen.move(.42, .80).curve({.9, .85}, {.85, tail}, {.68, tail - .25}).line(outline(colour), .25);
  pen.move(.42, .80).curve({.9, .85}, {.85, tail}, {.68, tail - .25}).line(colour, .17);
  pen.move(-.48, 1).curve({-.62, .3}, {-.35, -.1}, {0, -.1}).curve({.35, -.1}, {.62, .3}, {.48, 1}).close().shape(colour);
  pen.polygon({{-.54, -.50}, {-.50, -ears}, {-.10, -.76}}).polygon({{.54, -.50}, {.10, -.76}, {.50, -ears}});
  pen.ellipse(0, -.36, .58, .46).shape(colour);
  pen.polygon({{-.44, -.70}, {-.43, -.86}, {-.28, -.76}}).polygon({{.44, -.70}, {.43, -.86}, {.28, -.76}}).spot({.98, .68, .70});
  pen.ellipse(-.23, -.42, .10, .12).ellipse(.23, -.42, .10, .12).spot(luma(colour) > .32 ? Rgb{.16, .30, .14} : Rgb{.85, .95, .40});
  pen.polygon({{-.08, -.25}, {.08, -.25}, {0, -.16}}).spot({.95, .45, .50});
  for (const double side : {-1.0, 1.0}) {
    pen.move(side * .22, -.18).to(side * .68, -.26).move(side * .22, -.12).to(side * .66, -.05).line(ink, .035);
  }
  pen.move(-.13, .55).to(-.13, .98).move(.13, .55).to(.13, .98).line(outline(colour), .05);
}

void draw_fish(Pen& pen, Rgb colour, Random& random) {
  const double belly = random.between(.72, .86), fork = random.between(.7, .9);
  pen.polygon({{-.75, 0}, {-1.52, -fork}, {-1.28, 0}, {-1.52, fork}}).shape(dark(colour));
  pen.move(-.5, -.55).curve({-.35, -1.05}, {.2, -1.1}, {.45, -.95}).to(.4, -.5).close();
  pen.move(-.1, .6).to(-.3, 1).to(.3, .75).close().shape(dark(colour));
  pen.move(-.98, 0)
      .curve({-.5, -belly * 1.25}, {1.0, -belly * 1.3}, {1.5, 0})
      .curve({1.0, belly * 1.3}, {-.5, belly * 1.25}, {-.98, 0})
      .close();
  pen.shape(colour);
  pen.move(.62, -.55).curve({.42, -.2}, {.42, .2}, {.62, .55}).line(dark(colour), .09);
  for (const double x : {-.4, .05}) pen.move(x, -.28).curve({x - .16, -.1}, {x - .16, .1}, {x, .28}).line(light(colour), .10);
  pen.circle(.98, -.18, .19).shape({1, 1, 1});
  pen.circle(1.02, -.18, .10).spot(kInk);
  pen.move(1.42, .14).curve({1.3, .24}, {1.2, .24}, {1.1, .2}).line(contrast(colour), .06);
}

void draw_bird(Pen& pen, Rgb colour, Random& random) {
  const double lift = random.between(-1.0, -.85), beak = random.between(1.15, 1.22);
  pen.polygon({{-.6, .25}, {-1.2, .0}, {-1.12, .35}, {-1.2, .65}}).shape(dark(colour));
  pen.polygon({{.9, -.12}, {beak, .06}, {.88, .16}}).shape({1, .62, .12});
  pen.move(-.9, .32).curve({-.6, -.2}, {.1, -.1}, {.35, -.1}).curve({.4, -.55}, {1.05, -.5}, {1.0, .05});
  pen.curve({.98, .6}, {.4, 1.0}, {-.1, .92}).curve({-.5, .85}, {-.8, .6}, {-.9, .32}).close().shape(colour);
  pen.move(.15, .30).curve({.1, -.4}, {-.3, lift + .1}, {-.75, lift}).curve({-.7, -.3}, {-.6, .3}, {-.25, .48}).close().shape(dark(colour));
  pen.move(-.5, -.35).curve({-.42, -.05}, {-.3, .15}, {-.1, .25}).line(light(colour), .06);
  pen.circle(.70, -.10, .13).spot({1, 1, 1});
  pen.circle(.73, -.10, .075).spot(kInk);
}

// The design is fixed: a pupil has to learn this one robot.
void draw_robot(Pen& pen, Rgb, Random&) {
  constexpr Rgb kTeal{.10, .62, .62}, kOrange{.98, .50, .10}, kStripe{.93, .25, .50}, kSteel{.93, .94, .92};
  pen.move(0, -.60).to(0, -.82).line(kOrange, .09);
  pen.circle(0, -.88, .12).shape(kOrange);
  for (const double side : {-1.0, 1.0}) {
    pen.move(side * .55, .02).to(side * .78, .28).line(outline(kTeal), .17);
    pen.circle(side * .76, .32, .12).shape(kOrange);
    const double x = side * .28;
    for (int i = 0; i < 4; ++i) pen.box(x - .14, .44 + i * .12, .28, .14).shape(i % 2 ? kSteel : kStripe);
    pen.box(x - .20, .88, .42, .12, .05).shape(dark(kTeal));
  }
  pen.box(-.60, -.64, 1.20, 1.12, .12).shape(kTeal);
  pen.circle(0, -.24, .34).shape(kSteel);
  pen.circle(.04, -.22, .17).shape({.15, .16, .30});
  pen.circle(.10, -.28, .06).spot({1, 1, 1});
  pen.box(-.32, .22, .64, .14, .04).shape({.98, .86, .25});
  pen.move(-.11, .22).to(-.11, .36).move(.11, .22).to(.11, .36).line(kInk, .04);
}

}  // namespace lorikeet::painter
