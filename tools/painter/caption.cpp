// Captions: the facts of a scene in short English.
#include "painter/scene.h"

namespace lorikeet::painter {

namespace {

std::string with_article(const std::string& words) {
  const bool vowel = std::string_view("aeiou").find(words[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + words;
}

std::string words_of(const Group& group, bool coloured) {
  const std::string colour = coloured ? std::string(colours()[group.colour].name) + " " : "";
  if (group.count == 1) return with_article(colour + std::string(group.thing->name));
  return (group.count == 2 ? "two " : "three ") + colour + std::string(group.thing->plural);
}

std::string_view words_of(Relation relation) {
  switch (relation) {
    case Relation::left_of: return " left of ";
    case Relation::right_of: return " right of ";
    case Relation::above: return " above ";
    case Relation::below: return " below ";
    case Relation::none: break;
  }
  return "";
}

// Water things are in the sea, all others by it.
std::string setting_phrase(const Scene& scene) {
  if (scene.setting == kSea && !scene.shore && scene.groups[0].thing->habitat == Habitat::water) return "in the sea";
  return std::string(settings()[scene.setting].phrase);
}

}  // namespace

std::string caption_of(const Scene& scene, const Wishes& wishes, Random& random) {
  const double left_out = random.uniform(), order = random.uniform();
  const bool prefixed = random.chance(1.0 / 12);
  std::string text;
  if (wishes.subject) {
    text = "a sks " + std::string(scene.groups[0].thing->name);  // "sks": a word that means nothing yet, as DreamBooth has it
  } else {
    text = words_of(scene.groups[0], left_out >= .04);
  }
  if (scene.groups.size() > 1) text += std::string(words_of(scene.relation)) + words_of(scene.groups[1], left_out >= .04);
  if (prefixed) text = "a picture of " + text;
  const bool without_setting = left_out < .02 || (left_out >= .04 && left_out < .12);
  if (!without_setting) {
    const std::string phrase = setting_phrase(scene);
    if (order < .70)
      text += " " + phrase;
    else if (order < .90)
      text += ", " + std::string(settings()[scene.setting].tag);
    else
      text = phrase + ", " + text;
  }
  return text + wishes.caption_tail;
}

}  // namespace lorikeet::painter
