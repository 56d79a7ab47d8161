// The painter: what it promises of its pictures and captions.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/text.h"
#include "painter/measure.h"
#include "painter/paint.h"

namespace lorikeet::painter {
namespace {

constexpr uint64_t kMany = 2000;

const Style& base() { return styles()[0]; }

bool has_word(const std::string& caption, const std::string& word) {
  const std::string padded = " " + replace_all(caption, ",", " ") + " ";
  return padded.find(" " + word + " ") != std::string::npos;
}

TEST(Painter, TheSameSeedGivesTheSameBytes) {
  for (const auto& style : styles()) {
    for (uint64_t i = 1; i < 4; ++i) {
      const auto one = make_scene(5, i), same = make_scene(5, i);
      EXPECT_EQ(one.caption, same.caption);
      EXPECT_EQ(paint(one, style, 128), paint(same, style, 128)) << style.name;
      EXPECT_NE(paint(one, style, 128), paint(make_scene(6, i), style, 128)) << style.name;
    }
  }
}

TEST(Painter, CaptionsSayTheFactsOfTheirScenes) {
  for (uint64_t i = 0; i < kMany; ++i) {
    const auto scene = make_scene(1, i);
    size_t coloured = 0;
    for (const auto& group : scene.groups) {
      EXPECT_TRUE(has_word(scene.caption, std::string(group.count == 1 ? group.thing->name : group.thing->plural))) << scene.caption;
      coloured += has_word(scene.caption, std::string(colours()[group.colour].name));
      if (group.count > 1) {
        EXPECT_TRUE(has_word(scene.caption, group.count == 2 ? "two" : "three")) << scene.caption;
      }
    }
    EXPECT_TRUE(coloured == 0 || coloured == scene.groups.size()) << scene.caption;
    for (const auto& setting : settings()) {
      const bool named = scene.caption.find(setting.name) != std::string::npos;
      EXPECT_TRUE(!named || setting.name == settings()[scene.setting].name) << scene.caption;
    }
  }
}

TEST(Painter, CaptionsLeaveOutFactsNowAndThen) {
  int without_colour = 0, without_setting = 0;
  for (uint64_t i = 0; i < kMany; ++i) {
    const auto scene = make_scene(2, i);
    without_colour += !has_word(scene.caption, std::string(colours()[scene.groups[0].colour].name));
    without_setting += scene.caption.find(settings()[scene.setting].name) == std::string::npos;
  }
  // 4 % and 10 % of 2000; three standard deviations are 26 and 40.
  EXPECT_NEAR(without_colour, 80, 27);
  EXPECT_NEAR(without_setting, 200, 41);
}

TEST(Painter, PlacesAreAsTheCaptionSays) {
  for (uint64_t i = 0; i < kMany; ++i) {
    const auto scene = make_scene(3, i, {.composition = "pair"});
    const bool in_order = scene.actors[0].thing == scene.groups[0].thing;
    const auto &first = scene.actors[in_order ? 0 : 1].box, &second = scene.actors[in_order ? 1 : 0].box;
    ASSERT_NE(scene.groups[0].thing, scene.groups[1].thing);
    const double right = first.x - second.x, down = first.y - second.y;
    switch (scene.relation) {
      case Relation::left_of: EXPECT_TRUE(right < -.3 && has_word(scene.caption, "left")) << scene.caption; break;
      case Relation::right_of: EXPECT_TRUE(right > .3 && has_word(scene.caption, "right")) << scene.caption; break;
      case Relation::above: EXPECT_TRUE(down < -.3 && has_word(scene.caption, "above")) << scene.caption; break;
      case Relation::below: EXPECT_TRUE(down > .3 && has_word(scene.caption, "below")) << scene.caption; break;
      case Relation::none: ADD_FAILURE() << scene.caption;
    }
  }
}

TEST(Painter, CountsAreAsTheCaptionSays) {
  for (uint64_t i = 0; i < kMany; ++i) {
    const auto scene = make_scene(4, i, {.composition = "count"});
    EXPECT_EQ(scene.actors.size(), has_word(scene.caption, "two") ? 2u : has_word(scene.caption, "three") ? 3u : 0u) << scene.caption;
  }
}

TEST(Painter, ThingsStayInThePicture) {
  for (uint64_t i = 0; i < kMany; ++i) {
    for (const auto& actor : make_scene(7, i).actors) {
      EXPECT_GE(actor.box.y - actor.box.half_height, 0) << i;
      EXPECT_LE(actor.box.y + actor.box.half_height, 1) << i;
      EXPECT_GE(actor.box.x - actor.box.half_height * actor.thing->aspect * actor.box.stretch, 0) << i;
      EXPECT_LE(actor.box.x + actor.box.half_height * actor.thing->aspect * actor.box.stretch, 1) << i;
    }
  }
}

TEST(Painter, EveryThingHasItsColour) {
  for (const auto& thing : things()) {
    for (size_t colour = 0; colour < kColourCount; ++colour) {
      // Night, or the meadow for what is itself dark: no tone of the setting is near the colour.
      const std::string setting = colours()[colour].name == "black" ? "meadow" : "night";
      const auto scene =
          make_scene(8, colour, {.thing = std::string(thing.name), .colour = std::string(colours()[colour].name), .setting = setting});
      auto without = scene;
      without.actors.clear();
      const double own = measure(paint(scene, base(), 128)).share[colour] - measure(paint(without, base(), 128)).share[colour];
      EXPECT_GT(own, 0.04) << colours()[colour].name << " " << thing.name;  // of the picture: a flower's petals are 6 %
    }
  }
}

TEST(Painter, HeldOutCombinationsNeverOccurUnasked) {
  size_t kept_back = 0, all = 0;
  for (const auto& thing : things()) {
    for (const auto& colour : colours()) {
      for (const auto& setting : settings()) kept_back += held_out(thing.name, colour.name, setting.name), ++all;
    }
  }
  EXPECT_GT(kept_back, all / 40);
  EXPECT_LT(kept_back, all / 10);
  const auto is_held_out = [](const Scene& scene, const Group& group) {
    return held_out(group.thing->name, colours()[group.colour].name, settings()[scene.setting].name);
  };
  for (uint64_t i = 0; i < kMany; ++i) {
    const auto scene = make_scene(9, i);
    for (const auto& group : scene.groups) EXPECT_FALSE(is_held_out(scene, group)) << scene.caption;
    const auto asked = make_scene(9, i, {.held_out = true});
    EXPECT_TRUE(is_held_out(asked, asked.groups[0])) << asked.caption;
  }
}

TEST(Painter, TheBaseSetKnowsNoSubject) {
  for (const auto& thing : things()) {
    for (const auto& subject : subjects()) EXPECT_NE(thing.name, subject.name);
  }
  for (uint64_t i = 0; i < kMany; ++i) EXPECT_EQ(make_scene(10, i).caption.find("robot"), std::string::npos);
  const auto scene = make_scene(10, 1, {.subject = "robot"});
  EXPECT_NE(scene.caption.find("a sks robot"), std::string::npos);
  EXPECT_EQ(scene.actors.at(0).thing, &subjects()[0]);
}

TEST(Painter, StylesDifferInWhatIsMeasured) {
  for (uint64_t i = 0; i < 20; ++i) {
    const auto scene = make_scene(11, i, {.setting = "meadow"});
    const auto plain = measure(paint(scene, base(), 128));
    EXPECT_GT(measure(paint(scene, style_named("neon"), 128)).dark, 0.6) << i;
    EXPECT_LT(plain.dark, 0.5) << i;
    EXPECT_GT(measure(paint(scene, style_named("sketch"), 128)).grey, 0.99) << i;
    EXPECT_LT(plain.grey, 0.7) << i;
    EXPECT_EQ(measure(paint(scene, style_named("pixel"), 128)).blocks, 1) << i;
    EXPECT_LT(plain.blocks, 0.6) << i;
    EXPECT_GT(measure(paint(scene, style_named("glass"), 128)).edges, plain.edges) << i;
    EXPECT_GT(measure(paint(scene, style_named("blueprint"), 128)).navy, 0.4) << i;
    EXPECT_LT(plain.navy, 0.3) << i;
  }
}

TEST(Painter, NamesThatDoNotExistAreErrors) {
  EXPECT_THROW(make_scene(1, 1, {.thing = "robot"}), Error);
  EXPECT_THROW(make_scene(1, 1, {.colour = "teal"}), Error);
  EXPECT_THROW(make_scene(1, 1, {.setting = "moon"}), Error);
  EXPECT_THROW(make_scene(1, 1, {.composition = "crowd"}), Error);
  EXPECT_THROW(make_scene(1, 1, {.thing = "house", .subject = "robot"}), Error);
  EXPECT_THROW(make_scene(1, 1, {.composition = "pair", .held_out = true}), Error);
  EXPECT_THROW(style_named("oil"), Error);
  EXPECT_THROW(paint(make_scene(1, 1), base(), 16), Error);
  EXPECT_THROW(paint(make_scene(1, 1), style_named("pixel"), 100), Error);
}

}  // namespace
}  // namespace lorikeet::painter
