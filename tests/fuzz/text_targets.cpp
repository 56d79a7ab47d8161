#include "text_targets.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "generate/infotext.h"
#include "generate/request.h"
#include "io/picture.h"

namespace lorikeet {

// Text that claims to be a request: what is taken can be written and read again.
int fuzz_request(const uint8_t* data, size_t size) {
  const auto json = nlohmann::json::parse(data, data + size, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return 0;
  try {
    Request request = request_from_json(json);
    if (!(request_from_json(request_to_json(request)) == request)) __builtin_trap();
    validate(request);
  } catch (const Error&) {
  }
  return 0;
}

std::vector<std::string> prompt_seeds() {
  std::vector<std::string> seeds{"<lora:a:0@0,1@0.5;0.5@1:2:4:lbw=1,0,MIDD:step=2-4><lora:b:1:x=0-0.5:y=0.2-1:mask=left.png:start=0.5:stop=9:hr=0@1,1@3>"};
  for (const std::string& file : golden_seeds({"prompts/attention.json", "prompts/schedules.json", "prompts/extra_networks.json", "prompts/and.json"})) {
    const auto golden = nlohmann::json::parse(file);
    for (const auto& one : golden.at("cases")) seeds.push_back(one.at("input").get<std::string>());
  }
  return seeds;
}

std::vector<std::string> infotext_seeds() {
  Request request;
  request.prompts = {"a lighthouse, (oil:1.2) <lora:monet:0.7>\nat dusk"};
  request.negative_prompt = "blurry: \"very\", Steps: 3";
  request.enable_hr = true;
  request.hr_prompt = "a castle";
  request.denoising_strength = 0.5;
  request.subseed_strength = 0.25;
  InfotextFacts facts{.seed = 7, .subseed = 8, .model = "tiny, 2", .model_hash = "0123456789"};
  facts.lora_hashes = {{"monet", "0123456789ab"}, {"a, b", "ba9876543210"}};
  return {write_infotext(request, facts), write_infotext({}, {}),
          "a\nNegative prompt: b\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 512x768, AddNet Enabled: True, AddNet Module 1: LoRA, "
          "AddNet Model 1: monet(0123456789ab), AddNet Weight A 1: 0.5, AddNet Weight B 1: 0.5, Lora hashes: \"x: 1, y: 2\", Version: v1.7.0"};
}

std::vector<std::string> picture_seeds() {
  std::vector<std::string> seeds = golden_seeds({"embeddings/pixels.png"});
  for (const int channels : {1, 3, 4}) {
    Picture picture{.width_px = 9, .height_px = 5, .channels = channels, .pixels = std::vector<uint8_t>(size_t{45} * static_cast<size_t>(channels))};
    for (size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<uint8_t>(i * 37);
    for (const auto format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
      const auto bytes = encode_picture(format, picture, {{"parameters", "a lighthouse, \xE7\x81\xAF\xE5\x8F\xB0\nSteps: 20"}});
      seeds.emplace_back(bytes.begin(), bytes.end());
    }
  }
  return seeds;
}

std::vector<std::string> request_seeds() {
  return {request_to_json({}).dump(), R"({"prompt": ["a", "b <lora:x:1>"], "steps": 5, "sampler": "DPM++ 2M Karras", "eta": null, "tiling": true})",
          R"({"prompt": "a", "init_image": "data:image/png;base64,iVBORw0KGgo=", "width": 512.0, "seed": -1})"};
}

}  // namespace lorikeet
