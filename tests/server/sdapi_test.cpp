// A1111's interface as its clients know it.
#include <gtest/gtest.h>

#include <fstream>

#include "base/text.h"
#include "io/picture_base64.h"
#include "scene.h"
#include "server/styles.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using testing::shared_server;
using testing::small_sdapi;

json made(const json& request, const std::string& route = "txt2img") {
  const auto answer = shared_server().post("/sdapi/v1/" + route, request);
  EXPECT_EQ(answer.status, 200) << answer.body;
  return answer.json();
}

json info_of(const json& answer) { return json::parse(answer.at("info").get<std::string>()); }
Picture picture_of_answer(const json& answer, size_t index = 0) {
  return picture_from_base64(answer.at("images").at(index).get<std::string>()).picture;
}

TEST(Sdapi, Txt2imgAnswersWithPicturesInfoAndTheRequestWithItsDefaults) {
  json request = small_sdapi();
  request["batch_size"] = 2;
  request["n_iter"] = 2;
  const json answer = made(request);
  ASSERT_EQ(answer.at("images").size(), 4u);
  EXPECT_EQ(picture_of_answer(answer).width_px, 64);
  EXPECT_EQ(answer.at("parameters").at("cfg_scale"), 7.0);
  EXPECT_EQ(answer.at("parameters").at("prompt"), "a house");
  const json info = info_of(answer);
  EXPECT_EQ(info.at("all_seeds"), json({7, 8, 9, 10}));
  EXPECT_EQ(info.at("all_prompts").size(), 4u);
  EXPECT_EQ(info.at("infotexts").size(), 4u);
  EXPECT_EQ(info.at("sampler_name"), "Euler");
  EXPECT_EQ(info.at("sd_model_name"), "tiny");
  EXPECT_EQ(info.at("sd_model_hash").get<std::string>().size(), 10u);
  for (const char* key : {"all_negative_prompts",
                          "subseed",
                          "all_subseeds",
                          "subseed_strength",
                          "width",
                          "height",
                          "steps",
                          "batch_size",
                          "restore_faces",
                          "face_restoration_model",
                          "sd_vae_name",
                          "sd_vae_hash",
                          "seed_resize_from_w",
                          "seed_resize_from_h",
                          "denoising_strength",
                          "extra_generation_params",
                          "index_of_first_image",
                          "styles",
                          "job_timestamp",
                          "clip_skip",
                          "is_using_inpainting_conditioning",
                          "version"})
    EXPECT_TRUE(info.contains(key)) << key;
}

TEST(Sdapi, TheSameSeedGivesTheSamePictureAndPngInfoTellsIt) {
  const json answer = made(small_sdapi("a house", 5));
  EXPECT_EQ(picture_of_answer(answer), picture_of_answer(made(small_sdapi("a house", 5))));
  const json read = shared_server().post("/sdapi/v1/png-info", {{"image", answer["images"][0]}}).json();
  EXPECT_EQ(read.at("info"), info_of(answer).at("infotexts").at(0));
  EXPECT_EQ(read.at("parameters").at("Seed"), "5");
  EXPECT_EQ(read.at("parameters").at("Size-1"), "64");
  EXPECT_EQ(read.at("parameters").at("Prompt"), "a house");
  const json ours =
      shared_server().post("/api/v1/pictures/info", {{"image", "data:image/png;base64," + answer["images"][0].get<std::string>()}}).json();
  EXPECT_EQ(ours.at("request").at("seed"), 5);
  EXPECT_EQ(ours.at("checkpoint"), "tiny");
}

TEST(Sdapi, ALoraInThePromptChangesThePictureAndAMissingOneIsToldInTheInfo) {
  const Picture base = picture_of_answer(made(small_sdapi("a house")));
  const json with = made(small_sdapi("a house <lora:tiny-style:1>"));
  EXPECT_NE(base, picture_of_answer(with));
  EXPECT_EQ(info_of(with).at("loras").at(0).at("name"), "tiny-style");
  const json without = made(small_sdapi("a house <lora:nowhere:1>"));
  EXPECT_EQ(base, picture_of_answer(without));
  EXPECT_NE(info_of(without).at("warnings").dump().find("nowhere"), std::string::npos);
}

TEST(Sdapi, ASamplersNameMayCarryItsScheduleAndAnUnknownOneIs400WithTheNearNames) {
  json request = small_sdapi();
  request["sampler_name"] = "DPM++ 2M SDE Karras";
  const json info = info_of(made(request));
  EXPECT_EQ(info.at("sampler_name"), "DPM++ 2M SDE");
  EXPECT_NE(info.at("infotexts").at(0).get<std::string>().find("Schedule type: Karras"), std::string::npos);
  request["sampler_name"] = "Eulr";
  const auto answer = shared_server().post("/sdapi/v1/txt2img", request);
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.json().at("detail").get<std::string>().find("euler"), std::string::npos) << answer.body;
}

TEST(Sdapi, WrongTypesAre422WithTheFieldAndNumbersMayBeTexts) {
  json request = small_sdapi();
  request["steps"] = "many";
  const auto answer = shared_server().post("/sdapi/v1/txt2img", request);
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.json().at("detail").at(0).at("loc"), json({"body", "steps"}));
  for (const char* key : {"error", "detail", "body", "errors"}) EXPECT_TRUE(answer.json().contains(key)) << key;
  request["steps"] = "2";
  request["seed"] = nullptr;  // as if it were not there
  EXPECT_EQ(info_of(made(request)).at("steps"), 2);
}

TEST(Sdapi, WhatHasNoEffectIsAnErrorOrAWarningNeverSilence) {
  json request = small_sdapi();
  request["restore_faces"] = true;
  request["no_such_field"] = 1;
  const std::string warnings = info_of(made(request)).at("warnings").dump();
  EXPECT_NE(warnings.find("restore_faces"), std::string::npos);
  EXPECT_NE(warnings.find("no_such_field"), std::string::npos);
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, json>>{{"refiner_checkpoint", "other"},
                                                 {"script_name", "x/y/z plot"},
                                                 {"alwayson_scripts", {{"ControlNet", {{"args", json::array({{{"enabled", true}}})}}}}},
                                                 {"styles", json::array({"no such style"})}}) {
    json wrong = small_sdapi();
    wrong[field] = value;
    EXPECT_EQ(shared_server().post("/sdapi/v1/txt2img", wrong).status, 422) << field;
  }
  json hires = small_sdapi();
  hires["enable_hr"] = true;
  hires["hr_upscaler"] = "R-ESRGAN 4x+";
  const auto answer = shared_server().post("/sdapi/v1/txt2img", hires);
  EXPECT_EQ(answer.status, 422);
  EXPECT_NE(answer.body.find("Latent (nearest)"), std::string::npos);
}

TEST(Sdapi, Img2imgStartsFromAPictureAndAMaskKeepsTheRest) {
  const json first = made(small_sdapi("a house"));
  json request = small_sdapi("a tree");
  request["init_images"] = json::array({first["images"][0]});
  request["denoising_strength"] = 0.6;
  const json whole = made(request, "img2img");
  EXPECT_NE(picture_of_answer(first), picture_of_answer(whole));
  EXPECT_TRUE(whole.at("parameters").at("init_images").is_null());
  Picture mask{.width_px = 64, .height_px = 64, .channels = 1, .pixels = std::vector<uint8_t>(64 * 64, 0)};
  for (int y = 0; y < 64; ++y)
    for (int x = 40; x < 64; ++x) mask.pixels[static_cast<size_t>(y * 64 + x)] = 255;
  request["mask"] = to_data_uri(mask);
  request["mask_blur"] = 0;
  request["inpaint_full_res"] = false;
  const Picture painted = picture_of_answer(made(request, "img2img")), before = picture_of_answer(first);
  const auto pixel = [](const Picture& picture, int x) { return picture.pixels[static_cast<size_t>(32 * 64 + x) * 3]; };
  for (int x = 0; x < 24; ++x) EXPECT_EQ(pixel(painted, x), pixel(before, x)) << x;
  EXPECT_EQ(shared_server().post("/sdapi/v1/img2img", small_sdapi()).status, 404);  // "Init image not found"
  request["init_images"] = json::array({"https://example.org/a.png"});
  const auto url = shared_server().post("/sdapi/v1/img2img", request);
  EXPECT_EQ(url.status, 422);
  EXPECT_NE(url.body.find("fetches nothing"), std::string::npos);
  request["init_images"] = json::array({"/etc/passwd"});
  EXPECT_EQ(shared_server().post("/sdapi/v1/img2img", request).status, 400);
}

TEST(Sdapi, OptionsAreKeptAndOverridesLastForOneRequest) {
  EXPECT_EQ(shared_server().post("/sdapi/v1/options", {{"CLIP_stop_at_last_layers", 2}, {"randn_source", "CPU"}}).status, 200);
  json options = shared_server().get("/sdapi/v1/options").json();
  EXPECT_EQ(options.at("CLIP_stop_at_last_layers"), 2);
  EXPECT_TRUE(starts_with(options.at("sd_model_checkpoint").get<std::string>(), "tiny.safetensors"));
  EXPECT_NE(info_of(made(small_sdapi())).at("infotexts").at(0).get<std::string>().find("Clip skip: 2"), std::string::npos);
  json request = small_sdapi();
  request["override_settings"] = {{"CLIP_stop_at_last_layers", 1}, {"samples_format", "jpg"}};
  const json answer = made(request);
  EXPECT_EQ(info_of(answer).at("infotexts").at(0).get<std::string>().find("Clip skip"), std::string::npos);
  EXPECT_EQ(picture_info(from_base64(answer["images"][0].get<std::string>())).format, PictureFormat::jpeg);
  EXPECT_EQ(shared_server().get("/sdapi/v1/options").json().at("CLIP_stop_at_last_layers"), 2);
  EXPECT_EQ(shared_server().post("/sdapi/v1/options", {{"CLIP_stop_at_last_layers", 1}, {"randn_source", "GPU"}}).status, 200);
  EXPECT_EQ(shared_server().post("/sdapi/v1/options", {{"sd_model_checkpoint", "nowhere"}}).status, 404);
  EXPECT_EQ(shared_server().post("/sdapi/v1/options", {{"CLIP_stop_at_last_layers", "two"}}).status, 422);
  EXPECT_NE(shared_server().post("/sdapi/v1/options", {{"no_such_option", 1}}).body.find("no_such_option"), std::string::npos);
  // What a client got it may send back.
  EXPECT_EQ(shared_server().post("/sdapi/v1/options", shared_server().get("/sdapi/v1/options").json()).body, "null");
}

TEST(Sdapi, InterruptEndsTheRequestWhichAnswersWithWhatThereIs) {
  json request = small_sdapi();
  request["steps"] = 400;
  request["n_iter"] = 50;
  request["force_task_id"] = "task(test)";
  testing::Answer answer;
  std::thread client([&] { answer = shared_server().post("/sdapi/v1/txt2img", request); });
  json progress;
  EXPECT_TRUE(testing::eventually([&] {
    progress = shared_server().get("/sdapi/v1/progress").json();
    return progress.at("progress") > 0.0 && progress.at("state").at("sampling_step") > 1;
  }));
  EXPECT_EQ(progress.at("state").at("job_count"), 50);
  EXPECT_EQ(progress.at("current_task"), "task(test)");
  EXPECT_TRUE(shared_server().post("/internal/progress", {{"id_task", "task(test)"}}).json().at("active"));
  EXPECT_TRUE(testing::eventually([&] { return shared_server().get("/sdapi/v1/progress").json().at("current_image").is_string(); }));
  EXPECT_TRUE(shared_server().get("/sdapi/v1/progress?skip_current_image=true").json().at("current_image").is_null());
  EXPECT_EQ(shared_server().post("/sdapi/v1/skip").status, 200);
  EXPECT_TRUE(testing::eventually([&] { return shared_server().get("/sdapi/v1/progress").json().at("state").at("job_no") > 0; }));
  EXPECT_EQ(shared_server().post("/sdapi/v1/interrupt").status, 200);
  client.join();
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_LT(answer.json().at("images").size(), 50u);
  EXPECT_TRUE(testing::eventually([&] { return shared_server().get("/sdapi/v1/progress").json().at("state").at("job_count") == 0; }));
  EXPECT_EQ(shared_server().get("/sdapi/v1/progress").json().at("progress"), 0.0);
}

TEST(Sdapi, ListsHaveTheFieldsThatClientsRead) {
  const auto list = [](const std::string& name) { return shared_server().get("/sdapi/v1/" + name).json(); };
  EXPECT_EQ(list("samplers").at(0).at("name"), "DPM++ 2M");
  EXPECT_TRUE(list("samplers").at(0).at("aliases").is_array());
  EXPECT_EQ(list("schedulers").at(0).at("label"), "Automatic");
  EXPECT_EQ(list("upscalers").at(1).at("name"), "Lanczos");
  EXPECT_EQ(list("latent-upscale-modes").at(0).at("name"), "Latent");
  EXPECT_EQ(list("sd-models").at(0).at("model_name"), "tiny");
  EXPECT_EQ(list("loras").at(0).at("name"), "tiny-style");
  EXPECT_TRUE(list("loras").at(0).at("metadata").is_object());
  EXPECT_TRUE(list("embeddings").at("loaded").is_object());
  EXPECT_GT(list("memory").at("ram").at("total"), 0);
  EXPECT_TRUE(list("scripts").at("txt2img").is_array());
  EXPECT_TRUE(list("cmd-flags").is_object());
  for (const char* name : {"sd-vae", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "script-info", "extensions"})
    EXPECT_TRUE(list(name).is_array()) << name;
  for (const char* name :
       {"refresh-loras", "refresh-checkpoints", "refresh-embeddings", "refresh-vae", "unload-checkpoint", "reload-checkpoint"})
    EXPECT_EQ(shared_server().post(std::string("/sdapi/v1/") + name).status, 200) << name;
  EXPECT_EQ(shared_server().get("/internal/ping").status, 200);
  EXPECT_EQ(shared_server().get("/internal/pending-tasks").json().at("size"), 0);
  EXPECT_EQ(shared_server().post("/sdapi/v1/server-stop").status, 404);  // only with --api-server-stop
  EXPECT_EQ(shared_server().post("/sdapi/v1/interrogate", {{"image", std::string(100, 'A')}}).status, 404);
  EXPECT_EQ(shared_server().post("/sdapi/v1/create/hypernetwork", json::object()).status, 422);
}

TEST(Sdapi, ExtrasEnlargeAndNameTheUpscalersThatThereAre) {
  const json first = made(small_sdapi());
  json request{{"image", first["images"][0]}, {"upscaler_1", "Lanczos"}, {"upscaling_resize", 2}};
  const json big = shared_server().post("/sdapi/v1/extra-single-image", request).json();
  EXPECT_EQ(picture_from_base64(big.at("image").get<std::string>()).picture.width_px, 128);
  request["resize_mode"] = 1;
  request["upscaling_resize_w"] = 100;
  request["upscaling_resize_h"] = 50;
  const Picture cut =
      picture_from_base64(shared_server().post("/sdapi/v1/extra-single-image", request).json().at("image").get<std::string>()).picture;
  EXPECT_EQ(cut.width_px, 100);
  EXPECT_EQ(cut.height_px, 50);
  request["upscaler_1"] = "4x-UltraSharp";
  const auto answer = shared_server().post("/sdapi/v1/extra-single-image", request);
  EXPECT_EQ(answer.status, 422);
  EXPECT_NE(answer.body.find("Lanczos"), std::string::npos);
  json batch{
      {"imageList", json::array({{{"data", first["images"][0]}, {"name", "a.png"}}})}, {"upscaler_1", "Nearest"}, {"upscaling_resize", 3}};
  EXPECT_EQ(picture_from_base64(shared_server().post("/sdapi/v1/extra-batch-images", batch).json().at("images").at(0).get<std::string>())
                .picture.width_px,
            192);
}

TEST(Sdapi, SavedPicturesLieInTheOutputsFolder) {
  const auto total = [] { return shared_server().get("/api/v1/pictures").json().at("total").get<int64_t>(); };
  const int64_t before = total();
  made(small_sdapi());
  EXPECT_EQ(total(), before);
  json request = small_sdapi();
  request["save_images"] = true;
  request["send_images"] = false;
  EXPECT_TRUE(made(request).at("images").empty());
  EXPECT_EQ(total(), before + 1);
}

TEST(Styles, AreReadFromCsvAndPutRoundThePromptOrBehindIt) {
  const auto styles = parse_styles(
      "\xEF\xBB\xBFname,prompt,negative_prompt\r\noil,\"oil painting of {prompt}, \"\"thick\"\"\",blurry\r\nplain,detailed,\r\n");
  ASSERT_EQ(styles.size(), 2u);
  EXPECT_EQ(with_style("a fox", styles[0].prompt), "oil painting of a fox, \"thick\"");
  EXPECT_EQ(styles[0].negative_prompt, "blurry");
  EXPECT_EQ(with_style("a fox", styles[1].prompt), "a fox, detailed");
  EXPECT_EQ(with_style("", styles[1].prompt), "detailed");
}

}  // namespace
}  // namespace lorikeet
