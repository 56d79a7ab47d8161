// The judge of the demo model: it knows what the painter painted, and the wishes say what they ask for.
#include "demo/judge.h"

#include <gtest/gtest.h>

#include <set>

#include "demo/studio.h"

namespace lorikeet::demo {
namespace {

int64_t fact(const Facts& facts, Fact which) { return facts[static_cast<size_t>(which)]; }

TEST(Wishes, NameEverythingThatTheyAskFor) {
  std::set<int64_t> things, settings;
  for (const Wish& wish : single_wishes(50)) {
    const auto& group = wish.scene.groups.at(0);
    EXPECT_NE(wish.prompt().find(group.thing->name), std::string::npos) << wish.prompt();
    EXPECT_NE(wish.prompt().find(painter::colours()[group.colour].name), std::string::npos) << wish.prompt();
    EXPECT_FALSE(painter::held_out(group.thing->name, painter::colours()[group.colour].name, painter::settings()[wish.scene.setting].name));
    things.insert(fact(wish.facts, Fact::thing));
    settings.insert(fact(wish.facts, Fact::setting));
  }
  EXPECT_EQ(things.size(), painter::things().size());
  EXPECT_EQ(settings.size(), painter::settings().size());
  for (const Wish& wish : held_out_wishes(20)) {
    const auto& group = wish.scene.groups.at(0);
    EXPECT_TRUE(painter::held_out(group.thing->name, painter::colours()[group.colour].name, painter::settings()[wish.scene.setting].name));
  }
  for (const Wish& wish : subject_wishes(5, "robot")) EXPECT_NE(wish.prompt().find("sks robot"), std::string::npos);
  EXPECT_EQ(single_wishes(3)[2].prompt(), single_wishes(50)[2].prompt());
}

TEST(Wishes, TheFirstOfAPairIsTheLeftOrTheUpperOne) {
  for (const Wish& wish : pair_wishes(40)) {
    const auto place = [&](int64_t thing) {
      for (const auto& actor : wish.scene.actors)
        if (actor.thing == &painter::things()[static_cast<size_t>(thing)]) return std::pair(actor.box.x, actor.box.y);
      ADD_FAILURE() << wish.prompt();
      return std::pair(0.0, 0.0);
    };
    const auto first = place(fact(wish.facts, Fact::thing)), second = place(fact(wish.facts, Fact::second_thing));
    if (fact(wish.facts, Fact::layout) == static_cast<int64_t>(Layout::side_by_side))
      EXPECT_LT(first.first, second.first) << wish.prompt();
    else
      EXPECT_LT(first.second, second.second) << wish.prompt();
  }
}

TEST(Judge, LearnsWhatThePainterPaints) {
  // A short schooling: far from what the tool reports, far above chance (setting 1 of 6, style 1 of 6, thing 1 of 18).
  const Judge judge({.pictures = 640, .rounds = 4});
  const auto samples = painted_samples(2000, 200);
  std::vector<Picture> pictures;
  for (const Sample& sample : samples) pictures.push_back(sample.picture);
  const auto verdicts = judge.judge(pictures);
  int setting = 0, style = 0, thing = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    setting += verdicts[i].says(Fact::setting, samples[i].facts);
    style += verdicts[i].says(Fact::style, samples[i].facts);
    thing += verdicts[i].says(Fact::thing, samples[i].facts);
    float sum = 0;
    for (const float p : verdicts[i].probability[0]) sum += p;
    EXPECT_NEAR(sum, 1, 1e-4);
  }
  // Of 200; chance: 33, 33, 11. What so short a schooling reaches varies with the processor's rounding.
  EXPECT_GT(setting, 90);
  EXPECT_GT(style, 100);
  EXPECT_GT(thing, 22);
}

}  // namespace
}  // namespace lorikeet::demo
