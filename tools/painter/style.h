// A style is how areas, shapes, spots and lines look, and what is done to the finished picture. One row a style.
#pragma once
#include <span>
#include <string_view>

#include "io/picture.h"
#include "painter/pen.h"

namespace lorikeet::painter {

struct Style {
  std::string_view name;   // as --style takes it
  std::string_view words;  // what --style-words appends to captions; "" for the base
  // The path is the pen's; a function may leave it, the pen ends it.
  void (*area)(Pen&, Rgb top, Rgb bottom);
  void (*shape)(Pen&, Rgb colour);
  void (*spot)(Pen&, Rgb colour);
  void (*line)(Pen&, Rgb colour, double width);  // width: share of the picture's side
  void (*finish)(Picture&, Random&) = nullptr;   // on the picture in its final size
  double shadow = .22;                           // how dark the shadow under a thing is, 0..1
  bool blocks = false;                           // drawn hard-edged with 32 pixels a side and enlarged
};

std::span<const Style> styles();                  // the one list; the base is first
const Style& style_named(std::string_view name);  // Error{not_found}

}  // namespace lorikeet::painter
