// generate(): from a request to pictures. The page that a newcomer reads first.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "generate/request.h"
#include "io/picture.h"
#include "lora/apply.h"

namespace lorikeet {

class Engine;  // generate/engine.h: a loaded checkpoint with its LoRA and embedding caches

struct GeneratedPicture {
  Picture picture;
  std::string infotext;  // A1111's, to be stored in the file
  int64_t seed = 0;
};

struct GenerateResult {
  std::vector<GeneratedPicture> pictures;
  std::vector<LoraReport> loras;
  std::vector<std::string> warnings;  // everything that was changed or passed over
  double seconds = 0;
};

GenerateResult generate(Engine& engine, const Request& request, Progress& progress);

// The same with seeds of their own for the pictures, none negative, in the place of seed + i and subseed + i: one for each of
// all_pictures(request), else Error{internal}.
struct PictureSeeds {
  int64_t seed = 0, subseed = 0;
};
GenerateResult generate(Engine& engine, const Request& request, std::span<const PictureSeeds> seeds, Progress& progress);

}  // namespace lorikeet
