// Whether a LoRA fits a checkpoint, by headers alone.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "library/card.h"
#include "nn/layer.h"

namespace lorikeet {

// Keeps the layers of the last checkpoint: to ask for many LoRAs costs little. For several threads.
class FitCheck {
 public:
  // Never throws for what is wrong with the files: then nothing fits, for that reason.
  LoraFit check(const std::filesystem::path& lora, const std::filesystem::path& checkpoint);

 private:
  struct Outline {
    std::filesystem::path path;
    std::filesystem::file_time_type changed;
    std::string family, label;
    LayerMap layers;  // shapes; the weights are views of the checkpoint's mapping
  };
  std::shared_ptr<const Outline> outline_of(const std::filesystem::path& checkpoint);

  std::mutex mutex_;
  std::shared_ptr<const Outline> last_;
};

}  // namespace lorikeet
