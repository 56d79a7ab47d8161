// The studio: asks the model under test for pictures, and keeps count.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "demo/judge.h"
#include "generate/engine.h"
#include "generate/generate.h"

namespace lorikeet::demo {

// A scene that the painter made up, as a wish to the model. Its caption names every thing, colour and the setting.
struct Wish {
  painter::Scene scene;
  Facts facts;  // as the base style would show them
  std::string prompt() const { return scene.caption; }
};

// `count` wishes, always the same; every thing and setting about equally often.
std::vector<Wish> single_wishes(size_t count);
std::vector<Wish> held_out_wishes(size_t count);                             // combinations that training never showed
std::vector<Wish> count_wishes(size_t count);                                // two or three of a kind
std::vector<Wish> pair_wishes(size_t count);                                 // left of, right of, above, below
std::vector<Wish> subject_wishes(size_t count, const std::string& subject);  // captions with "sks"

// Their pictures by the painter itself: what a perfect model would give.
std::vector<Picture> painted(const std::vector<Wish>& wishes);

class Studio {
 public:
  // keep: a folder for all pictures; empty: none is kept.
  Studio(Engine& engine, Request base, std::filesystem::path keep);

  // Picture i is that of the prompt of wish i with `tail` behind it, seed i + 1.
  std::vector<Picture> pictures(const std::string& name, const std::vector<Wish>& wishes, const std::string& tail = {});
  bool has_lora(const std::string& name) const;
  bool has_embedding(const std::string& name) const;

  int made() const { return made_; }
  double seconds_a_picture() const { return made_ ? seconds_ / made_ : 0; }

 private:
  Engine& engine_;
  Request base_;
  std::filesystem::path keep_;
  int made_ = 0;
  double seconds_ = 0;
};

}  // namespace lorikeet::demo
