// The things that pictures show. One row and one draw function a thing.
#pragma once
#include <span>
#include <string_view>

#include "painter/pen.h"

namespace lorikeet::painter {

enum class Habitat { ground, sky, water };  // where a thing is put when nothing else is asked for

struct Thing {
  std::string_view name, plural;
  Habitat habitat;
  double aspect;  // width over height of what is drawn; the height is 2 (y from -1 to 1)
  // Draws into the box of Pen::enter(); the main parts have `colour`. The random numbers vary proportions.
  void (*draw)(Pen&, Rgb colour, Random&);
};

std::span<const Thing> things();    // what the base set shows
std::span<const Thing> subjects();  // what it never shows: fixed designs to teach by a LoRA; `colour` is not used

}  // namespace lorikeet::painter
