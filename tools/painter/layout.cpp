// Where things stand: large, apart from each other, on the ground unless they belong to the sky or the water.
#include <algorithm>

#include "painter/scene.h"

namespace lorikeet::painter {

namespace {

struct Slot {
  double x, width;   // the middle and what may be filled, shares of the picture
  double low, high;  // range of heights
  double y = 0;      // the middle, where `free`; else the habitat decides
  bool free = false;
};

double half_height(const Thing& thing, const Slot& slot, Random& random) {
  return std::min(random.between(slot.low, slot.high), slot.width / thing.aspect) / 2;
}

double y_of(const Scene& scene, const Thing& thing, double half, Random& random) {
  const bool on_sea = scene.setting == kSea;
  if (thing.habitat == Habitat::sky) return std::max(half + .05, random.between(.36, .46));
  if (thing.habitat == Habitat::water && on_sea) return std::min(.95 - half, std::max(scene.horizon + half * .7, random.between(.55, .66)));
  return random.between(.86, .93) - half;
}

void place(Scene& scene, const Group& group, const Slot& slot, Random& random) {
  const double half = half_height(*group.thing, slot, random);
  const double most = group.thing->habitat == Habitat::ground ? .07 : .16;  // radians
  Pen::Box box{.x = slot.x + random.between(-.03, .03), .y = 0, .half_height = half, .tilt = random.between(-most, most)};
  box.y = slot.free ? slot.y + random.between(-.02, .02) : y_of(scene, *group.thing, half, random);
  box.stretch = random.between(.94, 1.06);
  box.mirrored = random.chance(.5);
  const double half_width = half * group.thing->aspect * box.stretch + .02;  // with the outline
  box.x = std::clamp(box.x, half_width, 1 - half_width);
  scene.actors.push_back({group.thing, group.colour, box, random.next()});
}

void lay_out_count(Scene& scene, Random& random) {
  const Group& group = scene.groups[0];
  if (group.count == 2) {
    for (const double x : {.26, .74}) place(scene, group, {.x = x, .width = .43, .low = .38, .high = .48}, random);
  } else if (group.thing->aspect < 1.2 && random.chance(.5)) {  // wide things in a row would be small
    for (const double x : {.18, .50, .82}) place(scene, group, {.x = x, .width = .29, .low = .30, .high = .38}, random);
  } else {
    const double across = random.between(.4, .6);
    place(scene, group, {.x = across, .width = .42, .low = .32, .high = .38, .y = .29, .free = true}, random);
    for (const double x : {.27, .73}) place(scene, group, {.x = x, .width = .42, .low = .32, .high = .38, .y = .72, .free = true}, random);
  }
}

void lay_out_pair(Scene& scene, Random& random) {
  const Group &first = scene.groups[0], &second = scene.groups[1];
  if (scene.relation == Relation::left_of || scene.relation == Relation::right_of) {
    const double x = scene.relation == Relation::left_of ? .27 : .73;
    place(scene, first, {.x = x, .width = .44, .low = .38, .high = .48}, random);
    place(scene, second, {.x = 1 - x, .width = .44, .low = .38, .high = .48}, random);
    return;
  }
  const double x = random.between(.40, .60);
  const bool first_above = scene.relation == Relation::above;
  place(scene, first_above ? first : second, {.x = x, .width = .66, .low = .36, .high = .42, .y = .26, .free = true}, random);
  place(scene, first_above ? second : first, {.x = x, .width = .66, .low = .36, .high = .42, .y = .73, .free = true}, random);
}

}  // namespace

void lay_out(Scene& scene, Random& random) {
  const auto lives = [&](Habitat habitat) {
    return std::any_of(scene.groups.begin(), scene.groups.end(), [&](const Group& group) { return group.thing->habitat == habitat; });
  };
  scene.shore = scene.setting == kSea && lives(Habitat::ground);
  // Fish swim under the horizon.
  scene.horizon =
      scene.setting == kSea && lives(Habitat::water) && !lives(Habitat::ground) ? random.between(.28, .40) : random.between(.52, .66);
  scene.actors.clear();
  if (scene.composition == Composition::count) return lay_out_count(scene, random);
  if (scene.composition == Composition::pair) return lay_out_pair(scene, random);
  place(scene, scene.groups[0], {.x = random.between(.42, .58), .width = .82, .low = .48, .high = .70}, random);
}

}  // namespace lorikeet::painter
