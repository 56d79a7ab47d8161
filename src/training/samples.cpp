#include "training/samples.h"

#include <cstdio>

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

// Side by side; RGB, all of one size.
Picture row_of(const std::vector<Picture>& pictures) {
  const Picture& first = pictures.front();
  Picture row;
  row.width_px = first.width_px * static_cast<int>(pictures.size());
  row.height_px = first.height_px;
  const size_t line = static_cast<size_t>(first.width_px) * 3;
  for (size_t y = 0; y < static_cast<size_t>(first.height_px); ++y) {
    for (const Picture& picture : pictures) row.pixels.insert(row.pixels.end(), &picture.pixels[y * line], &picture.pixels[y * line] + line);
  }
  return row;
}

std::vector<std::string> prompts_of(const TrainConfig& config) {
  if (!config.sample_prompts.empty()) return config.sample_prompts;
  return {config.method == TrainMethod::slider ? config.slider_target : config.trigger};
}

}  // namespace

void make_samples(const TrainConfig& config, const std::shared_ptr<Networks>& networks, Trainable& trainable, int64_t step, const TrainHooks& hooks) {
  if (!hooks.generate) return;
  const bool slides = config.method == TrainMethod::slider;
  const std::vector<double> multipliers = slides ? std::vector<double>{-1, 0, 1} : std::vector<double>{1};
  std::vector<Picture> pictures;
  for (const std::string& prompt : prompts_of(config))
    for (const double multiplier : multipliers) {
      if (slides) trainable.set_multiplier(multiplier);
      const auto made = hooks.generate({networks, prompt, {config.seed}, config.width, config.height, trainable.embedding()});
      pictures.insert(pictures.end(), made.begin(), made.end());
    }
  const fs::path folder = fs::path(config.run_dir) / "samples";
  fs::create_directories(folder);
  char name[32];
  std::snprintf(name, sizeof name, "step-%06lld.png", static_cast<long long>(step));
  write_picture(folder / name, row_of(pictures), {});
  if (hooks.sampled) hooks.sampled(folder / name, step);
}

}  // namespace lorikeet
