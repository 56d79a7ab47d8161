#include "targets.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tensor_targets.h"

namespace lorikeet {

std::vector<std::string> golden_seeds(std::initializer_list<std::string_view> names) {
  std::vector<std::filesystem::path> paths;
  for (const auto name : names) {
    const auto path = std::filesystem::path(LORIKEET_GOLDEN_DIR) / name;
    if (std::filesystem::is_directory(path)) {
      std::copy(std::filesystem::directory_iterator(path), {}, std::back_inserter(paths));
    } else {
      paths.push_back(path);
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

const std::vector<FuzzTarget>& fuzz_targets() {
  static const std::vector<FuzzTarget> targets{
      {"safetensors",
       fuzz_tensor_file,
       [] {
         return golden_seeds({"lora/edge_missing_up.safetensors", "lora/edge_no_tensors.safetensors"});
       },
       {"__metadata__", "\"F8_E4M3\"", "\"U64\"", "\"BOOL\"", "9223372036854775807", "-1", "[", "{", "null", "\\ud83d", "\"shape\":[]"},
       3000},
      {"torch_zip", fuzz_tensor_file, [] { return golden_seeds({"io"}); }, {"PK\x05\x06", "PK\x06\x06", "PK\x01\x02", "PK\x06\x07"}, 6000},
      {"torch_legacy",
       fuzz_tensor_file,
       [] { return golden_seeds({"sd1c/legacy_small.pt"}); },
       {"LongStorage", "BoolStorage", "\x8a\x08"},
       3000},
      {"pickle", fuzz_pickle, pickle_seeds, {"cposix\nsystem\n", "\x93", "\x94", "R", "b", "e", "u", "(", "t", "\x8a\xff"}, 20000},
  };
  return targets;
}

}  // namespace lorikeet
