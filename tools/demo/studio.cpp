#include "demo/studio.h"

#include <algorithm>
#include <cstdio>

#include "painter/paint.h"

namespace lorikeet::demo {

namespace {
constexpr uint64_t kWishSeed = 77;  // of the painter: neither the base set's nor the judge's
constexpr int kSidePx = 128;

bool names_everything(const painter::Scene& scene) {
  const auto has = [&](std::string_view word) { return scene.caption.find(word) != std::string::npos; };
  if (!has(painter::settings()[scene.setting].name)) return false;
  return std::ranges::all_of(scene.groups, [&](const painter::Group& group) {
    return has(painter::colours()[group.colour].name) && has(group.count > 1 ? group.thing->plural : group.thing->name);
  });
}

// adjust(i, wishes): what wish i must have.
template <class Adjust>
std::vector<Wish> wishes_for(size_t count, Adjust adjust) {
  std::vector<Wish> wishes;
  for (size_t i = 0; i < count; ++i) {
    painter::Wishes asked;
    adjust(i, asked);
    // Captions leave facts out now and then; the next scene is taken instead.
    for (uint64_t draw = 0;; ++draw) {
      painter::Scene scene = painter::make_scene(kWishSeed, i * 1000 + draw, asked);
      if (!asked.subject && !names_everything(scene)) continue;
      wishes.push_back({scene, facts_of(scene, painter::styles()[0])});
      break;
    }
  }
  return wishes;
}

std::string thing(size_t i) { return std::string(painter::things()[i % painter::things().size()].name); }
std::string setting(size_t i) { return std::string(painter::settings()[i % painter::settings().size()].name); }
}  // namespace

std::vector<Wish> single_wishes(size_t count) {
  return wishes_for(count, [](size_t i, painter::Wishes& wishes) {
    wishes.composition = "single";
    wishes.thing = thing(i);
    wishes.setting = setting(i);
  });
}
std::vector<Wish> held_out_wishes(size_t count) {
  return wishes_for(count, [](size_t, painter::Wishes& wishes) { wishes.held_out = true; });
}
std::vector<Wish> count_wishes(size_t count) {
  return wishes_for(count, [](size_t i, painter::Wishes& wishes) {
    wishes.composition = "count";
    wishes.thing = thing(i);
  });
}
std::vector<Wish> pair_wishes(size_t count) {
  return wishes_for(count, [](size_t i, painter::Wishes& wishes) {
    wishes.composition = "pair";
    wishes.setting = setting(i);
  });
}
std::vector<Wish> subject_wishes(size_t count, const std::string& subject) {
  return wishes_for(count, [&](size_t i, painter::Wishes& wishes) {
    wishes.subject = subject;
    wishes.composition = "single";
    wishes.setting = setting(i);
  });
}

std::vector<Picture> painted(const std::vector<Wish>& wishes) {
  std::vector<Picture> pictures;
  for (const Wish& wish : wishes) pictures.push_back(painter::paint(wish.scene, painter::styles()[0], kSidePx));
  return pictures;
}

Studio::Studio(Engine& engine, Request base, std::filesystem::path keep) : engine_(engine), base_(std::move(base)), keep_(std::move(keep)) {
  if (!keep_.empty()) std::filesystem::create_directories(keep_);
}

std::vector<Picture> Studio::pictures(const std::string& name, const std::vector<Wish>& wishes, const std::string& tail) {
  std::vector<Picture> pictures;
  Progress progress;
  for (size_t i = 0; i < wishes.size(); ++i) {
    std::fprintf(stderr, "\r\033[K%s  %zu/%zu", name.c_str(), i + 1, wishes.size());
    Request request = base_;
    request.prompts = {wishes[i].prompt() + tail};
    request.seed = static_cast<int64_t>(i) + 1;
    GenerateResult result = generate(engine_, request, progress);
    for (const std::string& warning : result.warnings) std::fprintf(stderr, "\nwarning: %s\n", warning.c_str());
    GeneratedPicture& made = result.pictures.at(0);
    char number[32];
    std::snprintf(number, sizeof number, "-%03zu.png", i + 1);
    if (!keep_.empty()) write_picture(keep_ / (name + number), made.picture, {{"parameters", made.infotext}});
    pictures.push_back(std::move(made.picture));
    seconds_ += result.seconds;
    ++made_;
  }
  std::fprintf(stderr, "\r\033[K");
  return pictures;
}

namespace {
bool has_model(const Engine& engine, ModelKind kind, const std::string& name) {
  const auto files = engine.options().folders.list(kind);
  return std::ranges::any_of(files, [&](const ModelFile& file) { return file.name == name; });
}
}  // namespace

bool Studio::has_lora(const std::string& name) const { return has_model(engine_, ModelKind::lora, name); }
bool Studio::has_embedding(const std::string& name) const { return has_model(engine_, ModelKind::embedding, name); }

}  // namespace lorikeet::demo
