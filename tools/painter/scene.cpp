// The facts of a scene.
#include "painter/scene.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet::painter {

namespace {

template <class Rows>
size_t index_named(const Rows& rows, const std::string& wanted, const char* what) {
  std::vector<std::string> names;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].name == wanted) return i;
    names.emplace_back(rows[i].name);
  }
  throw Error(ErrorKind::not_found, std::string("the painter knows no ") + what + " \"" + wanted + "\"", "there are: " + join(names, ", "));
}

Composition choose_composition(const Wishes& wishes, Random& random) {
  if (wishes.composition) {
    if (*wishes.composition == "single") return Composition::single;
    if (*wishes.composition == "count") return Composition::count;
    if (*wishes.composition == "pair") return Composition::pair;
    throw Error(ErrorKind::not_found, "the painter knows no composition \"" + *wishes.composition + "\"", "there are: single, count, pair");
  }
  if (wishes.thing || wishes.colour || wishes.subject || wishes.held_out) return Composition::single;
  const double u = random.uniform();
  return u < 0.5 ? Composition::single : u < 0.7 ? Composition::count : Composition::pair;
}

Group choose_group(const Wishes& wishes, Random& random) {
  Group group{};
  if (wishes.subject) {
    group.thing = &subjects()[index_named(subjects(), *wishes.subject, "subject")];
  } else {
    group.thing = &things()[wishes.thing ? index_named(things(), *wishes.thing, "thing") : random.below(things().size())];
  }
  group.colour = wishes.colour ? index_named(colours(), *wishes.colour, "colour") : random.below(kColourCount);
  return group;
}

// What may stand above something, more often than not, belongs there.
void prefer_sky_above(Scene& scene, Random& random) {
  if (scene.relation != Relation::above && scene.relation != Relation::below) return;
  Group& upper = scene.groups[scene.relation == Relation::above ? 0 : 1];
  const Group& lower = scene.groups[scene.relation == Relation::above ? 1 : 0];
  for (int i = 0; i < 4 && (upper.thing->habitat != Habitat::sky || upper.thing == lower.thing); ++i) {
    upper.thing = &things()[random.below(things().size())];
  }
}

void choose_facts(Scene& scene, const Wishes& wishes, Random& random) {
  scene.groups = {choose_group(wishes, random)};
  scene.relation = Relation::none;
  scene.setting = wishes.setting ? index_named(settings(), *wishes.setting, "setting") : random.below(settings().size());
  if (scene.composition == Composition::count) scene.groups[0].count = 2 + static_cast<int>(random.below(2));
  if (scene.composition != Composition::pair) return;
  scene.groups.push_back(choose_group({}, random));
  scene.relation = static_cast<Relation>(1 + random.below(4));
  if (!wishes.thing && !wishes.subject) prefer_sky_above(scene, random);
  // Two of a kind would be a count; they have to differ in the thing.
  while (scene.groups[1].thing == scene.groups[0].thing) scene.groups[1].thing = &things()[random.below(things().size())];
}

bool shows_held_out(const Scene& scene) {
  return std::any_of(scene.groups.begin(), scene.groups.end(), [&](const Group& group) {
    return held_out(group.thing->name, colours()[group.colour].name, settings()[scene.setting].name);
  });
}

void check(const Wishes& wishes) {
  if (wishes.subject && (wishes.thing || wishes.colour || wishes.held_out)) {
    throw Error(ErrorKind::bad_input, "a subject has its own design: it goes without a thing, a colour and held-out combinations");
  }
  if (wishes.held_out && wishes.composition && *wishes.composition != "single") {
    throw Error(ErrorKind::bad_input, "held-out combinations are of single things");
  }
}

}  // namespace

bool held_out(std::string_view thing, std::string_view colour, std::string_view setting) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits (Fowler, Noll, Vo)
  const auto feed = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  };
  feed(thing);
  feed("/");
  feed(colour);
  feed("/");
  feed(setting);
  return hash % 20 == 0;
}

Scene make_scene(uint64_t seed, uint64_t index, const Wishes& wishes) {
  check(wishes);
  Random random(seed, index);
  Scene scene;
  scene.seed = random.next();
  scene.composition = choose_composition(wishes, random);
  const bool all_asked = wishes.thing && wishes.colour && wishes.setting;
  // A twentieth is kept back: among this many draws, one is certain for all that can be asked for.
  constexpr int kMostDraws = 10000;
  int draws = 0;
  do {
    if (++draws > kMostDraws) throw Error(ErrorKind::bad_input, "no held-out combination has what is asked for", "ask for less");
    choose_facts(scene, wishes, random);
  } while (!wishes.subject && shows_held_out(scene) != wishes.held_out && !(all_asked && !wishes.held_out));
  lay_out(scene, random);
  scene.caption = caption_of(scene, wishes, random);
  return scene;
}

}  // namespace lorikeet::painter
