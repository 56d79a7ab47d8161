// Things that stand on the ground. Each fills the box -1..1 in height.
#include <cmath>
#include <numbers>

#include "painter/thing_shapes.h"

namespace lorikeet::painter {

namespace {
constexpr Rgb kGlass{.80, .92, .98};
constexpr Rgb kLeaf{.22, .52, .20};
constexpr Rgb kCream{.97, .93, .84};
}  // namespace

void draw_house(Pen& pen, Rgb colour, Random& random) {
  const double wall = random.between(.68, .76), eaves = wall + .15, roof = random.between(-.20, -.05);
  pen.box(random.chance(.5) ? .30 : -.52, -.88, .22, .60).shape(mix(dark(colour), kWood, .5));
  pen.box(-wall, roof - .05, 2 * wall, 1.05 - roof).shape(colour);
  pen.polygon({{-eaves, roof}, {0, -1}, {eaves, roof}}).shape(dark(colour));
  const Rgb wood = mix(kWood, contrast(colour), luma(colour) < .35 ? .45 : .1);
  pen.box(-.17, .42, .34, .58).shape(wood);
  for (const double x : {-.46, .46}) {
    pen.box(x - .16, .10, .32, .32).shape({1, .95, .66});
    pen.move(x, .10).to(x, .42).move(x - .16, .26).to(x + .16, .26).line(dark(wood), .035);
  }
}

void draw_tree(Pen& pen, Rgb colour, Random& random) {
  const double trunk = random.between(.12, .16), lean = random.between(-.05, .05), wide = random.between(.92, 1.06);
  const Rgb bark = luma(colour) < .34 && colour.r > colour.b ? Rgb{.66, .50, .34} : kWood;  // apart from a brown crown
  pen.polygon({{-trunk, 1}, {-trunk * .75, .1}, {trunk * .75, .1}, {trunk, 1}}).shape(bark);
  pen.circle(lean - .40 * wide, .05, .38).circle(lean + .40 * wide, .05, .38);
  pen.circle(lean - .27, -.42, .40).circle(lean + .28, -.40, .38).circle(lean, -.58, .42).circle(lean, -.05, .42).shape(colour);
  for (const auto& [x, y] : {Point{-.35, -.15}, Point{.12, -.55}, Point{.34, .02}}) {
    pen.move(x - .13, y).curve({x - .08, y + .14}, {x + .08, y + .14}, {x + .13, y}).line(dark(colour), .05);
  }
}

void draw_car(Pen& pen, Rgb colour, Random& random) {
  const double roof = random.between(-.95, -.85), front = random.between(.62, .78);
  pen.move(-1.0, -.05)
      .curve({-.85, roof}, {-.75, roof}, {-.45, roof})
      .to(.22, roof)
      .curve({.45, roof}, {.6, -.5}, {front + .1, -.05})
      .close();
  pen.box(-1.62, -.12, 3.24, .80, .26).shape(colour);
  pen.move(-.84, -.08)
      .curve({-.72, roof + .2}, {-.62, roof + .2}, {-.5, roof + .2})
      .to(-.22, roof + .2)
      .to(-.22, -.08)
      .close()
      .shape(kGlass);
  pen.move(-.08, -.08).to(-.08, roof + .2).to(.2, roof + .2).curve({.35, roof + .2}, {.45, -.4}, {.6, -.08}).close().shape(kGlass);
  pen.move(-.15, .05).to(-.15, .52).line(dark(colour), .05);
  pen.box(1.42, .08, .18, .2, .08).spot({1, .95, .6});
  for (const double x : {-.90, .90}) {
    pen.circle(x, .62, .38).shape({.22, .22, .25});
    pen.circle(x, .62, .17).spot({.80, .80, .82});
  }
}

void draw_flower(Pen& pen, Rgb colour, Random& random) {
  const double bend = random.between(-.12, .12), turn = random.between(0, 1.2);
  pen.move(0, -.35).curve({bend, .2}, {bend, .6}, {0, 1}).line(kLeaf, .13);
  pen.move(.02, .82).curve({.1, .35}, {.45, .30}, {.60, .32}).curve({.58, .62}, {.4, .85}, {.02, .82}).close();
  pen.move(-.02, .68).curve({-.1, .25}, {-.42, .22}, {-.56, .22}).curve({-.55, .5}, {-.35, .72}, {-.02, .68}).close().shape(kLeaf);
  constexpr int kPetals = 6;
  for (int i = 0; i < kPetals; ++i) {
    const double angle = turn + i * 2 * std::numbers::pi / kPetals;
    pen.circle(.38 * std::cos(angle), -.38 + .38 * std::sin(angle), .235);
  }
  pen.circle(0, -.38, .4).shape(colour);
  const bool yellowish = colour.r > .9 && colour.g > .8 && colour.b < .5;
  pen.circle(0, -.38, .20).shape(yellowish ? Rgb{.80, .45, .10} : Rgb{1, .85, .25});
}

void draw_mountain(Pen& pen, Rgb colour, Random& random) {
  const double peak = random.between(-.25, .05), second = random.between(.60, .75), low = random.between(-.25, -.05);
  const Rgb snow = luma(colour) > .85 ? Rgb{.70, .80, .92} : Rgb{.98, .99, 1};
  pen.polygon({{second - .75, 1}, {second, low}, {1.45, 1}}).shape(dark(colour));
  pen.polygon({{-1.45, 1}, {peak, -1}, {peak + 1.1, 1}}).shape(colour);
  const auto left = [&](double y) { return peak + (-1.45 - peak) * (y + 1) / 2; };
  const auto right = [&](double y) { return peak + 1.1 * (y + 1) / 2; };
  pen.polygon({{peak, -1}, {left(-.40), -.40}, {peak - .18, -.52}, {peak - .05, -.28}, {peak + .1, -.50}, {right(-.36), -.36}}).shape(snow);
  pen.move(peak - .2, 0).to(peak - .45, .5).move(peak + .2, .2).to(peak + .38, .62).line(dark(colour), .06);
}

void draw_mushroom(Pen& pen, Rgb colour, Random& random) {
  const double stem = random.between(.26, .34), brim = random.between(.10, .2);
  const Rgb flesh = luma(colour) > .85 ? Rgb{.88, .78, .64} : kCream;
  pen.move(-stem * .8, -.1).curve({-stem * .7, .4}, {-stem * 1.3, .7}, {-stem * 1.25, 1}).to(stem * 1.25, 1);
  pen.curve({stem * 1.3, .7}, {stem * .7, .4}, {stem * .8, -.1}).close().shape(flesh);
  pen.move(-.95, brim)
      .curve({-1.0, -1.35}, {1.0, -1.35}, {.95, brim})
      .curve({.5, brim + .2}, {-.5, brim + .2}, {-.95, brim})
      .close()
      .shape(colour);
  const Rgb dots = luma(colour) > .75 ? Rgb{.86, .36, .30} : Rgb{.99, .98, .94};
  pen.circle(-.05 + random.between(-.08, .08), -.55, .17).circle(-.52, -.18, .14).circle(.48, -.25, .16).circle(.02, -.06, .11).spot(dots);
}

void draw_cup(Pen& pen, Rgb colour, Random& random) {
  const double base = random.between(.48, .60), rim = random.between(.76, .82);
  pen.move(rim - .08, -.30).curve({1.32, -.42}, {1.35, .58}, {base + .08, .50}).line(outline(colour), .27);
  pen.move(rim - .08, -.30).curve({1.32, -.42}, {1.35, .58}, {base + .08, .50}).line(colour, .17);
  pen.move(-rim, -.55).curve({-rim, .2}, {-base - .05, .6}, {-base, .92}).curve({-base * .5, 1.02}, {base * .5, 1.02}, {base, .92});
  pen.curve({base + .05, .6}, {rim, .2}, {rim, -.55}).close().shape(colour);
  pen.ellipse(0, -.55, rim, .17).shape(light(colour));
  pen.ellipse(0, -.53, rim - .13, .10).spot({.36, .22, .13});
  const Rgb steam{.85, .85, .90};
  for (const double x : {-.25, .2}) pen.move(x, -.74).curve({x - .15, -.82}, {x + .15, -.9}, {x, -.98}).line(steam, .07);
  pen.move(-.42, -.1).curve({-.4, .2}, {-.36, .4}, {-.32, .6}).line(light(colour), .08);
}

void draw_umbrella(Pen& pen, Rgb colour, Random& random) {
  const double hook = random.between(.17, .22), deep = random.between(.10, .16);
  pen.move(0, -.95).to(0, .78).curve({0, 1.04}, {hook * 2, 1.04}, {hook * 2, .76}).line(kInk, .15);
  pen.move(0, -.95).to(0, .78).curve({0, 1.04}, {hook * 2, 1.04}, {hook * 2, .76}).line({.72, .50, .28}, .08);
  pen.move(-1, .0).curve({-.95, -1.15}, {.95, -1.15}, {1, .0});
  for (int i = 0; i < 4; ++i) {
    const double right = 1 - i * .5;
    pen.curve({right - .12, -deep}, {right - .38, -deep}, {right - .5, 0});
  }
  pen.close().shape(colour);
  pen.move(-.5, -.0).curve({-.48, -.5}, {-.2, -.8}, {0, -.86}).curve({.2, -.8}, {.48, -.5}, {.5, 0}).line(dark(colour), .06);
  pen.move(0, 0).to(0, -.86).line(dark(colour), .06);
}

}  // namespace lorikeet::painter
