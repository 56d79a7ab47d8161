#include "generate/request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "sampling/sampler.h"

using namespace lorikeet;
using nlohmann::json;

namespace {
std::string refusal(Request request) {
  try {
    validate(request);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    return error.what();
  }
  return {};
}

std::string refusal_of_json(const json& object) {
  try {
    request_from_json(object);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    return error.what();
  }
  return {};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST(Request, TheDefaultsAreValidAndComplete) {
  Request request;
  EXPECT_EQ(refusal(request), "");
  EXPECT_EQ(request.steps, 20);
  EXPECT_EQ(all_pictures(request), 1);
}

TEST(Request, EverySettingHasItsOwnNameFlagHelpAndReadableDefault) {
  std::set<std::string> names;
  for (const FieldInfo& info : field_list()) {
    EXPECT_TRUE(names.insert(std::string(info.field.name)).second) << info.field.name;
    EXPECT_TRUE(names.insert(info.flag).second) << info.flag;
    EXPECT_EQ(info.field.help.back(), '.') << info.field.name;
    if (info.default_text.empty()) continue;
    Request request;
    set_field(request, info.field.name, info.default_text);
    EXPECT_EQ(request, Request()) << info.field.name;
  }
  std::set<std::string> more;
  for (const FieldInfo& info : field_list()) {
    EXPECT_TRUE(info.field.flags.empty() || more.insert(std::string(info.field.flags)).second) << info.field.flags;
  }
}

TEST(Request, EveryMemberReachesJsonAndComesBack) {
  Request request;
  request.prompts = {"a", "b"};
  request.seed = 9007199254740993;  // more than a double can hold
  request.eta = 0.5;
  request.rng = Rng::nv;
  request.inpainting_fill = InpaintingFill::latent_nothing;
  request.hr_upscaler = HrUpscaler::latent_nearest_exact;
  request.tiling = true;
  request.cfg_scale = 6.5;
  request.init_image.path = "a/b.png";
  EXPECT_EQ(request_from_json(request_to_json(request)), request);
  EXPECT_EQ(request_to_json(request).size(), field_list().size());
  EXPECT_EQ(request_to_json(Request{})["prompt"], "");
  EXPECT_TRUE(request_to_json(Request{})["eta"].is_null());
}

TEST(Request, JsonStartsFromWhatIsThereAndTakesPicturesAsDataUris) {
  Request base;
  base.steps = 7;
  const Request read = request_from_json({{"width", 640}, {"cfg_scale", 3}, {"resize_mode", 2}, {"steps", 7.0}}, base);
  EXPECT_EQ(read.steps, 7);
  EXPECT_EQ(read.width, 640);
  EXPECT_EQ(read.resize_mode, ResizeMode::fill);
  Request with_picture;
  with_picture.init_image.picture = std::make_shared<const Picture>(Picture{2, 1, 3, {1, 2, 3, 4, 5, 6}});
  const Request back = request_from_json(request_to_json(with_picture));
  ASSERT_TRUE(back.init_image.picture);
  EXPECT_EQ(*back.init_image.picture, *with_picture.init_image.picture);
}

TEST(Request, BadJsonNamesTheSettingAndTheNearOnes) {
  EXPECT_TRUE(has(refusal_of_json({{"stepz", 3}}), "did you mean steps"));
  EXPECT_TRUE(has(refusal_of_json({{"steps", "many"}}), "\"steps\" wants a whole number, not \"many\""));
  EXPECT_TRUE(has(refusal_of_json({{"steps", 2.5}}), "steps"));
  EXPECT_TRUE(has(refusal_of_json({{"steps", 3000000000}}), "steps"));
  EXPECT_TRUE(has(refusal_of_json({{"seed", 18446744073709551615u}}), "seed"));
  EXPECT_TRUE(has(refusal_of_json({{"tiling", 1}}), "true or false"));
  EXPECT_TRUE(has(refusal_of_json({{"prompt", {"a", 1}}}), "prompt"));
  EXPECT_TRUE(has(refusal_of_json({{"rng", "cpuu"}}), "did you mean cpu"));
  EXPECT_TRUE(has(refusal_of_json({{"resize_mode", 9}}), "stretch"));
  EXPECT_TRUE(has(refusal_of_json({{"init_image", "data:image/png;base64,AAAA"}}), "init_image"));
  EXPECT_TRUE(has(refusal_of_json(json::array()), "object"));
}

TEST(Request, EveryRangeIsChecked) {
  for (const FieldInfo& info : field_list()) {
    if (info.type != FieldType::whole_number && info.type != FieldType::number) continue;
    for (const double value : {info.field.range.least - 1, info.field.range.most + 1}) {
      if (std::abs(value) > 2147483646) continue;
      Request request;
      set_field(request, info.field.name, std::to_string(static_cast<int64_t>(value)));
      const std::string text = refusal(request);
      EXPECT_TRUE(has(text, info.field.name) && has(text, "range")) << info.field.name << " " << value << ": " << text;
    }
  }
}

TEST(Request, FaultsSayWhatWouldDo) {
  Request request;
  request.width = 500;
  EXPECT_TRUE(has(refusal(request), "496 and 504")) << refusal(request);
  request = {};
  request.steps = 0;
  EXPECT_TRUE(has(refusal(request), "from 1 to 1000")) << refusal(request);
  request = {};
  request.mask_image.path = "m.png";
  EXPECT_TRUE(has(refusal(request), "--init-image"));
  request = {};
  request.sampler = "dpmpp_2n";
  EXPECT_TRUE(has(refusal(request), "dpmpp_2m")) << refusal(request);
  request = {};
  request.prompts = {"\xff"};
  EXPECT_TRUE(has(refusal(request), "UTF-8"));
  request = {};
  request.enable_hr = true;
  request.hr_scale = 8;
  request.width = 2048;
  EXPECT_TRUE(has(refusal(request), "hr_scale"));
  request = {};
  request.prompts.assign(100, "a");
  request.batch_size = 100;
  EXPECT_TRUE(has(refusal(request), "batch"));
}

TEST(Request, SamplerNamesWithAScheduleAreSplit) {
  const auto split = [](std::string sampler) {
    Request request;
    request.sampler = std::move(sampler);
    validate(request);
    return std::pair(request.sampler, request.schedule);
  };
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(split("Euler a"), (Pair{"euler_a", "automatic"}));
  EXPECT_EQ(split("Euler Karras"), (Pair{"euler", "karras"}));
  EXPECT_EQ(split("euler a exponential"), (Pair{"euler_a", "exponential"}));
  EXPECT_EQ(split("DPM++ 2M Karras"), (Pair{"dpmpp_2m", "automatic"}));  // karras is what automatic means there, as in A1111
  EXPECT_EQ(split("DPM++ 2M SGM Uniform"), (Pair{"dpmpp_2m", "sgm_uniform"}));
  EXPECT_EQ(split("DDIM"), (Pair{"ddim", "automatic"}));
  for (const Sampler& sampler : samplers()) {
    EXPECT_EQ(split(std::string(sampler.label)).first, sampler.name);
    EXPECT_EQ(split(std::string(sampler.name)), (Pair{sampler.name, "automatic"}));
  }
}

TEST(Request, TextIsReadStrictly) {
  Request request;
  set_field(request, "cfg_scale", " 4.5 ");
  EXPECT_EQ(request.cfg_scale, 4.5);
  set_field(request, "tiling", "yes");
  EXPECT_TRUE(request.tiling);
  for (const auto& [name, text] :
       {std::pair{"steps", "3x"}, {"steps", ""}, {"cfg_scale", "nan"}, {"tiling", "maybe"}, {"rng", "x"}, {"nothing", "1"}})
    EXPECT_THROW(set_field(request, name, text), Error) << name << text;
}
