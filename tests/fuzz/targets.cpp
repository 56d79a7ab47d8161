#include "targets.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tensor_targets.h"
#include "text_targets.h"

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
      {"lora",
       fuzz_lora,
       [] {
         return golden_seeds({"lora/edge_missing_up.safetensors", "lora/a6_kohya_1x1conv_as_2d_sd1.safetensors", "lora/b3_locon_extras_sd1.safetensors"});
       },
       {"bundle_emb.", "<s1>", ".alpha", "hada_w1_a", "lora_unet_", "ss_tag_frequency", "{\\\"a\\\":", ".processor.", ".lora_up.weight"},
       1500},
      {"prompt",
       fuzz_prompt,
       prompt_seeds,
       {"(", ")", "[", "]", ":", "|", "\\", " AND ", "BREAK", "<lora:", ":1.5>", ":0.5]", "\xC3\x83\xC2\xA9", "&amp;", "1e9", "\xFF", "nan"},
       4000},
      {"infotext",
       fuzz_infotext,
       infotext_seeds,
       {", ", ": ", "\"", "\\", "\n", "Negative prompt: ", "Steps: ", "Size: ", "9999999999999999999", "-1", "nan", "Lora hashes: ", "AddNet Model 1: "},
       4000},
      {"picture", fuzz_picture, picture_seeds, {"IHDR", "iTXt", "zTXt", "IDAT", "Exif", "UNICODE", "RIFF", "VP8X", "\xFF\xE1", "\xFF\xC0", "EXIF"}, 6000},
      {"request",
       fuzz_request,
       request_seeds,
       {"null", "[", "{", "\"\"", "-1", "1e400", "18446744073709551616", "\"prompt\":", "true", "0.5", "data:image/png;base64,"},
       4000},
      {"sidecar",
       fuzz_sidecar,
       sidecar_seeds,
       {"null", "[", "{", "\"\"", "-1", "1e400", "\\ud83d", "\xFF", "<script>", "&#x110000;", "\"trainedWords\":", "\"preferred weight\":"},
       3000},
  };
  return targets;
}

}  // namespace lorikeet
