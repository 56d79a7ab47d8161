// The draw functions of things.cpp's table, one a thing. They lie in files by habitat.
#pragma once
#include "painter/things.h"

namespace lorikeet::painter {

// things_ground.cpp
void draw_house(Pen&, Rgb, Random&);
void draw_tree(Pen&, Rgb, Random&);
void draw_car(Pen&, Rgb, Random&);
void draw_flower(Pen&, Rgb, Random&);
void draw_mountain(Pen&, Rgb, Random&);
void draw_mushroom(Pen&, Rgb, Random&);
void draw_cup(Pen&, Rgb, Random&);
void draw_umbrella(Pen&, Rgb, Random&);
// things_animals.cpp
void draw_cat(Pen&, Rgb, Random&);
void draw_fish(Pen&, Rgb, Random&);
void draw_bird(Pen&, Rgb, Random&);
void draw_robot(Pen&, Rgb, Random&);
// things_sky.cpp
void draw_moon(Pen&, Rgb, Random&);
void draw_sun(Pen&, Rgb, Random&);
void draw_cloud(Pen&, Rgb, Random&);
void draw_star(Pen&, Rgb, Random&);
void draw_balloon(Pen&, Rgb, Random&);
void draw_boat(Pen&, Rgb, Random&);

// Details that several things share.
inline constexpr Rgb kInk{.12, .10, .14};
inline constexpr Rgb kWood{.45, .27, .14};
Rgb contrast(Rgb colour);                                       // for details on a part of this colour: dark on light, light on dark
void draw_face(Pen&, Rgb on, double x, double y, double size);  // two eyes and a smile; things_animals.cpp

}  // namespace lorikeet::painter
