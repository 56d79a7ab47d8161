// The operations of `lorikeet lora …` on files of a full-size SD1.5: time and memory.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

namespace lorikeet {

struct WorkshopFiles {
  std::filesystem::path checkpoint;
  std::filesystem::path first, second;  // LoRAs of rank 32 on 264 modules
  std::filesystem::path large;          // one of rank 128
  std::filesystem::path whole;          // a LoCon of rank 32 on every layer of the U-Net
};

// What is written lies below `folder` and is removed at the end. `add` is called with each row: name, value, unit ("s" or "MB"); wanted(name): whether to measure.
void measure_workshop(const WorkshopFiles& files, const std::filesystem::path& folder, const std::function<bool(const std::string&)>& wanted,
                      const std::function<void(const std::string&, double, const std::string&)>& add);

}  // namespace lorikeet
