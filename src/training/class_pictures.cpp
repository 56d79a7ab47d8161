#include "training/class_pictures.h"

#include <fstream>

#include "base/error.h"
#include "training/dataset.h"

namespace lorikeet {

namespace fs = std::filesystem;

void make_class_pictures(const TrainConfig& config, const std::shared_ptr<Networks>& networks, const TrainHooks& hooks, Progress& progress) {
  if (config.class_images.empty()) return;
  const int64_t present = count_pictures(config.class_images);
  if (present >= config.class_count) return;
  if (config.class_prompt.empty()) {
    if (present > 0) return;
    throw Error(ErrorKind::bad_input, "there is no class picture in " + config.class_images + ", and nothing says what to make them of",
                "say it with --class-prompt, like \"a robot\"");
  }
  if (!hooks.generate) {
    throw Error(ErrorKind::bad_input, config.class_images + " holds " + std::to_string(present) + " pictures; " + std::to_string(config.class_count) + " are asked for",
                "put more pictures there, or lower --class-count");
  }
  fs::create_directories(config.class_images);
  progress.stage("making class pictures", config.class_count);
  for (int64_t i = present; i < config.class_count; ++i) {
    progress.step(static_cast<int>(i));
    progress.check();
    const auto pictures = hooks.generate({networks, config.class_prompt, {config.seed + i}, config.width, config.height, nullptr});
    char name[32];
    std::snprintf(name, sizeof name, "class-%05lld.png", static_cast<long long>(i + 1));
    write_picture(fs::path(config.class_images) / name, pictures.front(), {});
  }
}

}  // namespace lorikeet
