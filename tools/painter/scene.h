// A scene: what a picture shows, as facts, where it stands, and the caption that says the facts. Drawn at random, but scene i of a seed
// depends on (seed, i) and the wishes alone.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "painter/settings.h"
#include "painter/things.h"

namespace lorikeet::painter {

enum class Relation { none, left_of, right_of, above, below };
enum class Composition { single, count, pair };

// One kind of thing in the picture.
struct Group {
  const Thing* thing;
  size_t colour;  // of colours()
  int count = 1;  // 1..3
};

// One thing as it stands in the picture.
struct Actor {
  const Thing* thing;
  size_t colour;
  Pen::Box box;
  uint64_t seed;  // of its proportions
};

struct Scene {
  Composition composition = Composition::single;
  std::vector<Group> groups;           // one, or two in a pair
  Relation relation = Relation::none;  // where the first group is, seen from the second
  size_t setting = 0;                  // of settings()
  double horizon = 0.6;                // y, 0..1
  bool shore = false;                  // the sea with a beach for what stands on the ground
  std::vector<Actor> actors;           // back to front
  std::string caption;
  uint64_t seed = 0;  // of the background and of the style's strokes
};

// What is asked for; empty: at random.
struct Wishes {
  std::optional<std::string> thing{}, colour{}, setting{}, composition{}, subject{};  // names; composition: "single", "count", "pair"
  bool held_out = false;       // only single things in the combinations that held_out() keeps back
  std::string caption_tail{};  // appended to every caption: ", neon style"
};

// About one in twenty combinations of thing, colour and setting is kept out of the base set, to test composition: those whose FNV-1a hash
// of "thing/colour/setting" is divisible by 20.
bool held_out(std::string_view thing, std::string_view colour, std::string_view setting);

// Facts that are not asked for are drawn at random: single 50 %, counts of two and three 20 %, pairs 30 %; with a thing or a colour
// asked for, single. Combinations that are held out appear only with `held_out` or when thing, colour and setting are all asked for.
// Errors: not_found (a name), bad_input (the wishes contradict each other).
Scene make_scene(uint64_t seed, uint64_t index, const Wishes& wishes = {});

// caption.cpp: "two blue fish in the sea". The same facts always have the same words; their order varies, one in ten leaves facts out, and
// one in twelve begins with "a picture of".
std::string caption_of(const Scene& scene, const Wishes& wishes, Random& random);

// layout.cpp: fills in horizon, shore and actors.
void lay_out(Scene& scene, Random& random);

}  // namespace lorikeet::painter
