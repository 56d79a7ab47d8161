// What styles.cpp's table takes from styles_line.cpp: styles that live by their lines.
#pragma once
#include "painter/style.h"

namespace lorikeet::painter {

// Glowing outlines in the dark.
void neon_area(Pen&, Rgb top, Rgb bottom);
void neon_shape(Pen&, Rgb);
void neon_spot(Pen&, Rgb);
void neon_line(Pen&, Rgb, double width);

// Pencil on paper: wobbly double outlines, and hatching the closer the darker the colour. No colour.
void sketch_area(Pen&, Rgb top, Rgb bottom);
void sketch_shape(Pen&, Rgb);
void sketch_spot(Pen&, Rgb);
void sketch_line(Pen&, Rgb, double width);
void sketch_finish(Picture&, Random&);

// White lines on blue with a grid.
void blueprint_area(Pen&, Rgb top, Rgb bottom);
void blueprint_shape(Pen&, Rgb);
void blueprint_spot(Pen&, Rgb);
void blueprint_line(Pen&, Rgb, double width);

}  // namespace lorikeet::painter
