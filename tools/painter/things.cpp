// The tables of things.
#include "painter/things.h"

#include <array>

#include "painter/thing_shapes.h"

namespace lorikeet::painter {

std::span<const Thing> things() {
  static constexpr std::array kThings{
      Thing{"house", "houses", Habitat::ground, 0.92, draw_house},
      Thing{"tree", "trees", Habitat::ground, 0.80, draw_tree},
      Thing{"boat", "boats", Habitat::water, 1.00, draw_boat},
      Thing{"car", "cars", Habitat::ground, 1.65, draw_car},
      Thing{"fish", "fish", Habitat::water, 1.55, draw_fish},
      Thing{"bird", "birds", Habitat::sky, 1.20, draw_bird},
      Thing{"flower", "flowers", Habitat::ground, 0.66, draw_flower},
      Thing{"moon", "moons", Habitat::sky, 0.75, draw_moon},
      Thing{"mountain", "mountains", Habitat::ground, 1.45, draw_mountain},
      Thing{"sun", "suns", Habitat::sky, 1.00, draw_sun},
      Thing{"cloud", "clouds", Habitat::sky, 1.60, draw_cloud},
      Thing{"star", "stars", Habitat::sky, 1.04, draw_star},
      Thing{"mushroom", "mushrooms", Habitat::ground, 0.96, draw_mushroom},
      Thing{"cat", "cats", Habitat::ground, 0.80, draw_cat},
      Thing{"cup", "cups", Habitat::ground, 1.25, draw_cup},
      Thing{"balloon", "balloons", Habitat::sky, 0.60, draw_balloon},
      Thing{"umbrella", "umbrellas", Habitat::ground, 1.00, draw_umbrella},
  };
  return kThings;
}

std::span<const Thing> subjects() {
  static constexpr std::array kSubjects{
      Thing{"robot", "robots", Habitat::ground, 0.84, draw_robot},
  };
  return kSubjects;
}

}  // namespace lorikeet::painter
