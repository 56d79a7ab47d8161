// Jobs of all kinds through /api/v1: pictures, batches, plots, previews, training, the workshop; events and data sets.
#include <gtest/gtest.h>

#include <fstream>

#include "base/text.h"
#include "io/picture_base64.h"
#include "scene.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using testing::shared_server;
using testing::small_request;

Picture picture_at(const testing::Running& server, const json& entry) {
  const std::string bytes = server.get(entry.at("url").get<std::string>()).body;
  return decode_picture(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())).picture;
}

TEST(GenerateJob, IsDoneWithItsPicturesOnTheDisk) {
  json request = small_request("a house <lora:tiny-style:0.5>");
  request["n_iter"] = 2;
  const json job = shared_server().wait_for(shared_server().add_job("generate", request));
  ASSERT_EQ(job.at("state"), "done") << job.dump();
  const json& pictures = job.at("result").at("pictures");
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[1].at("seed"), 8);
  EXPECT_EQ(picture_at(shared_server(), pictures[0]).width_px, 64);
  EXPECT_EQ(shared_server().get(pictures[0].at("thumb_url").get<std::string>()).headers.at("content-type"), "image/jpeg");
  EXPECT_EQ(job.at("result").at("loras").at(0).at("name"), "tiny-style");
  EXPECT_EQ(job.at("progress"), 1.0);
  const json listed = shared_server().get("/api/v1/pictures?limit=2").json();
  EXPECT_EQ(listed.at("items").at(0).at("id"), pictures[1].at("id"));
  EXPECT_EQ(shared_server().del("/api/v1/pictures/file?id=" + pictures[0].at("id").get<std::string>()).status, 200);
  EXPECT_EQ(shared_server().get(pictures[0].at("url").get<std::string>()).status, 404);
}

TEST(GenerateJob, JobsMadeTogetherAreThePicturesThatEachIsAlone) {
  testing::Folders folders;
  ServerOptions options = folders.options();
  options.batch = 8;
  testing::Running server(std::move(options));
  json long_one = small_request("first");
  long_one["steps"] = 60;
  const int64_t first = server.add_job("generate", long_one);  // the others come while it runs
  const std::vector<json> requests{small_request("a house <lora:tiny-style:1>", 3), small_request("a tree", 40),
                                   small_request("a boat <lora:tiny-style:0.3>", 5)};
  std::vector<int64_t> ids;
  for (const json& request : requests) ids.push_back(server.add_job("generate", request));
  server.wait_for(first);
  for (size_t i = 0; i < ids.size(); ++i) {
    const json together = server.wait_for(ids[i]);
    ASSERT_EQ(together.at("state"), "done") << together.dump();
    const json alone = shared_server().wait_for(shared_server().add_job("generate", requests[i]));
    EXPECT_EQ(picture_at(server, together["result"]["pictures"].at(0)), picture_at(shared_server(), alone["result"]["pictures"].at(0)))
        << i;
    EXPECT_EQ(together["result"]["pictures"][0]["infotext"], alone["result"]["pictures"][0]["infotext"]);
    EXPECT_EQ(together["result"].value("loras", json::array()).size(), i == 1 ? 0u : 1u);
  }
  // They were: all three ended within one call of the engine.
  EXPECT_EQ(server.job(ids[0]).at("started"), server.job(ids[2]).at("started"));
}

TEST(GenerateJob, OneThatCannotBeMadeDoesNotTakeTheOthersAlong) {
  testing::Folders folders;
  ServerOptions options = folders.options();
  options.batch = 8;
  testing::Running server(std::move(options));
  json long_one = small_request("first");
  long_one["steps"] = 60;
  server.add_job("generate", long_one);
  const int64_t good = server.add_job("generate", small_request("a tree")),
                bad = server.add_job("generate", small_request("a <lora:nowhere:1>"));
  EXPECT_EQ(server.wait_for(good).at("state"), "done");
  const json failed = server.wait_for(bad);
  EXPECT_EQ(failed.at("state"), "failed");
  EXPECT_EQ(failed.at("error").at("error"), "not_found");
  EXPECT_EQ(failed.dump().find(folders.root().string()), std::string::npos);  // no folder in it
}

TEST(GenerateJob, CanBeCancelledWhileItWaitsAndWhileItRuns) {
  json request = small_request();
  request["n_iter"] = 200;
  const int64_t running = shared_server().add_job("generate", request), waiting = shared_server().add_job("generate", request);
  shared_server().wait_for(running, "running");
  EXPECT_EQ(shared_server().post("/api/v1/jobs/" + std::to_string(waiting) + "/cancel").json().at("state"), "cancelled");
  EXPECT_EQ(shared_server().post("/api/v1/jobs/" + std::to_string(running) + "/priority", {{"priority", 3}}).json().at("priority"), 3);
  shared_server().post("/api/v1/jobs/" + std::to_string(running) + "/skip");
  shared_server().post("/api/v1/jobs/" + std::to_string(running) + "/cancel");
  EXPECT_EQ(shared_server().wait_for(running).at("state"), "cancelled");
  EXPECT_EQ(shared_server().post("/api/v1/jobs/" + std::to_string(running) + "/cancel").status, 409);
  EXPECT_EQ(shared_server().del("/api/v1/jobs/" + std::to_string(running)).status, 200);
  EXPECT_EQ(shared_server().get("/api/v1/jobs/" + std::to_string(running)).status, 404);
}

TEST(GenerateJob, AWrongRequestIsRefusedAtOnceAndNamed) {
  const auto refused = [](const json& request, const std::string& word) {
    const auto answer = shared_server().post("/api/v1/jobs", {{"kind", "generate"}, {"request", request}});
    EXPECT_EQ(answer.status, 400) << answer.body;
    EXPECT_NE(answer.body.find(word), std::string::npos) << answer.body;
  };
  refused({{"prompt", "a"}, {"stepz", 3}}, "steps");  // the near name
  refused({{"prompt", "a"}, {"steps", "many"}}, "steps");
  refused({{"prompt", "a"}, {"width", 65}}, "width");
  refused({{"prompt", "a"}, {"init_image", "data:image/png;base64,AAAA"}}, "init_image");
  refused({{"prompt", "a"}, {"init_image", "data:image/png;base64,!!!"}}, "base64");
}

TEST(Events, TellOfJobsAndStatusAsTheyChange) {
  testing::Connection events(shared_server().port());
  events.send("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::string heard;
  const auto hear = [&](const std::string& text) {
    while (heard.find(text) == std::string::npos) {
      const std::string more = events.receive();
      if (more.empty()) return false;
      heard += more;
    }
    return true;
  };
  EXPECT_TRUE(hear("text/event-stream"));
  EXPECT_TRUE(hear("event: status"));
  const int64_t id = shared_server().add_job("generate", small_request());
  EXPECT_TRUE(hear("event: job"));
  EXPECT_TRUE(hear("\"id\":" + std::to_string(id) + ","));
  EXPECT_TRUE(hear("\"state\":\"done\""));
  EXPECT_EQ(heard.find("\"request\""), std::string::npos);  // events are brief
}

TEST(PlotJob, MakesOneSheet) {
  const json job = shared_server().wait_for(shared_server().add_job(
      "plot", {{"base", small_request("a {what}")}, {"x", "{what}=house, tree"}, {"y", "lora:tiny-style=0,1"}, {"title", "A test"}}));
  ASSERT_EQ(job.at("state"), "done") << job.dump();
  EXPECT_EQ(job.at("result").at("cells"), 4);
  EXPECT_GT(picture_at(shared_server(), job["result"]["pictures"].at(0)).width_px, 128);
  const auto wrong = shared_server().post("/api/v1/jobs", {{"kind", "plot"}, {"request", {{"base", small_request()}, {"x", "stepz=1,2"}}}});
  EXPECT_EQ(wrong.status, 400);
  EXPECT_NE(wrong.body.find("steps"), std::string::npos);
}

TEST(PreviewJob, PutsThePictureWithAndWithoutBesideTheLora) {
  shared_server().post("/api/v1/library/refresh");
  json body = small_request("a house");
  body["make"] = true;
  const auto answer = shared_server().post("/api/v1/library/loras/preview?name=tiny-style", body);
  ASSERT_EQ(answer.status, 202) << answer.body;
  const json job = shared_server().wait_for(answer.json().at("id"));
  ASSERT_EQ(job.at("state"), "done") << job.dump();
  const json card = shared_server().get("/api/v1/library/loras").json().at("items").at(0);
  EXPECT_EQ(card.at("has_preview"), true);
  const auto preview = shared_server().get("/api/v1/library/loras/preview?name=tiny-style");
  EXPECT_EQ(preview.headers.at("content-type"), "image/png");
  EXPECT_EQ(decode_picture(std::span(reinterpret_cast<const uint8_t*>(preview.body.data()), preview.body.size())).picture.width_px, 128);
}

// A data set of a few small pictures.
void add_dataset(const testing::Running& server, const std::string& name) {
  json pictures = json::array();
  for (int i = 0; i < 3; ++i) {
    Picture picture{.width_px = 64, .height_px = 64, .channels = 3, .pixels = {}};
    for (int p = 0; p < 64 * 64 * 3; ++p) picture.pixels.push_back(static_cast<uint8_t>((p * (i + 1) / 7) % 256));
    pictures.push_back({{"file", "photo" + std::to_string(i) + ".png"}, {"image", to_data_uri(picture)}, {"caption", "a fox"}});
  }
  const auto answer = server.post("/api/v1/datasets/item?name=" + name, {{"pictures", pictures}});
  ASSERT_EQ(answer.status, 200) << answer.body;
}

json small_training(const std::string& images, int steps) {
  return {{"images", images}, {"out", "fox"}, {"trigger", "sks"}, {"width", 64},       {"height", 64},
          {"buckets", false}, {"rank", 2},    {"steps", steps},   {"backup_every", 2}, {"sample_every", steps / 2}};
}

TEST(Datasets, AreMadeCaptionedAndRemoved) {
  add_dataset(shared_server(), "foxes");
  json item = shared_server().get("/api/v1/datasets/item?name=foxes").json();
  ASSERT_EQ(item.at("pictures").size(), 3u);
  EXPECT_EQ(item["pictures"][0].at("caption"), "a fox");
  EXPECT_EQ(item["pictures"][0].at("width"), 64);
  EXPECT_EQ(shared_server().post("/api/v1/datasets/caption?name=foxes&file=photo0.png", {{"caption", "a red fox"}}).status, 200);
  EXPECT_EQ(shared_server().get("/api/v1/datasets/item?name=foxes").json()["pictures"][0]["caption"], "a red fox");
  EXPECT_EQ(shared_server().get(item["pictures"][1].at("url").get<std::string>()).headers.at("content-type"), "image/png");
  EXPECT_EQ(shared_server().del("/api/v1/datasets/picture?name=foxes&file=photo2.png").status, 200);
  EXPECT_EQ(shared_server().get("/api/v1/datasets").json().at("datasets").at(0).at("pictures"), 2);
  EXPECT_EQ(shared_server().del("/api/v1/datasets/item?name=foxes").status, 200);
  EXPECT_EQ(shared_server().get("/api/v1/datasets/item?name=foxes").status, 404);
  for (const char* name : {"..", ".hidden", "a%2Fb", ""})
    EXPECT_EQ(shared_server().post(std::string("/api/v1/datasets/item?name=") + name, json::object()).status, 400) << name;
}

TEST(TrainJob, PausesGoesOnAndPutsItsLoraIntoTheLibrary) {
  testing::Folders folders;
  testing::Running server(folders.options());
  add_dataset(server, "foxes");
  const int64_t id = server.add_job("train", small_training("foxes", 40));
  ASSERT_TRUE(testing::eventually([&] { return server.job(id).at("step") >= 3; })) << server.job(id).dump();
  server.post("/api/v1/jobs/" + std::to_string(id) + "/pause");
  const json paused = server.wait_for(id, "paused");
  ASSERT_EQ(paused.at("state"), "paused") << paused.dump();
  const auto steps = paused.at("result").at("steps").get<int64_t>();
  EXPECT_LT(steps, 40);
  EXPECT_EQ(server.post("/api/v1/jobs/" + std::to_string(id) + "/resume").status, 200);
  const json job = server.wait_for(id);
  ASSERT_EQ(job.at("state"), "done") << job.dump();
  EXPECT_EQ(job.at("result").at("installed"), "fox");
  EXPECT_EQ(job.at("result").at("log").size(), 40u);
  EXPECT_GE(job.at("result").at("samples").size(), 1u);
  EXPECT_EQ(server.get(job["result"]["samples"][0].at("url").get<std::string>()).headers.at("content-type"), "image/png");
  const json cards = server.get("/api/v1/library/loras?query=fox").json();
  EXPECT_EQ(cards.at("total"), 1);
  const json picture = server.wait_for(server.add_job("generate", small_request("a sks <lora:fox:1>")));
  EXPECT_EQ(picture.at("state"), "done") << picture.dump();
  const auto settled = server.post("/api/v1/jobs", {{"kind", "train"}, {"request", {{"images", "foxes"}, {"run_dir", "/tmp/x"}}}});
  EXPECT_EQ(settled.status, 400);
  EXPECT_NE(settled.body.find("run_dir"), std::string::npos);
}

json workshop(const json& request) { return shared_server().wait_for(shared_server().add_job("workshop", request)); }

TEST(WorkshopJob, DoesWhatTheCommandLineDoes) {
  const json lora = json::array({{{"name", "tiny-style"}, {"multiplier", 0.5}}});
  const auto listed = [] { return shared_server().get("/api/v1/pictures").json().at("total").get<int64_t>(); };
  const int64_t before = listed();
  const json info = workshop({{"operation", "info"}, {"inputs", json::array({"tiny-style"})}});
  ASSERT_EQ(info.at("state"), "done") << info.dump();
  EXPECT_GT(info["result"]["data"].at("layers").size(), 0u);
  ASSERT_EQ(info["result"]["pictures"].size(), 1u);  // the heat map: it can be looked at, and is not among the pictures
  EXPECT_EQ(shared_server().get(info["result"]["pictures"][0].at("url").get<std::string>()).status, 200);
  EXPECT_EQ(listed(), before);
  const json check = workshop({{"operation", "check"}, {"inputs", json::array({"tiny-style"})}});
  EXPECT_NE(check["result"]["text"].get<std::string>().find("fit the checkpoint"), std::string::npos);
  const json mixed = workshop({{"operation", "mix"},
                               {"inputs", json::array({{{"name", "tiny-style"}, {"multiplier", 2}}})},
                               {"model", "tiny"},
                               {"output", "mixes/double"}});
  ASSERT_EQ(mixed.at("state"), "done") << mixed.dump();
  const json same = workshop({{"operation", "compare"}, {"inputs", json::array({"tiny-style", "mixes/double"})}, {"model", "tiny"}});
  ASSERT_EQ(same.at("state"), "done") << same.dump();
  EXPECT_NEAR(same["result"]["data"]["total"]["cosine"].get<double>(), 1, 1e-3);
  EXPECT_EQ(workshop({{"operation", "resize"}, {"inputs", json::array({"tiny-style"})}, {"rank", 1}, {"output", "small"}}).at("state"),
            "done");
  EXPECT_EQ(
      workshop({{"operation", "convert"}, {"inputs", json::array({"tiny-style"})}, {"to", "kohya"}, {"dtype", "f32"}, {"output", "wide"}})
          .at("state"),
      "done");
  const json baked = workshop({{"operation", "bake"}, {"inputs", lora}, {"output", "baked"}});
  ASSERT_EQ(baked.at("state"), "done") << baked.dump();
  json request = small_request();
  request["checkpoint"] = "baked";
  const json with_baked = shared_server().wait_for(shared_server().add_job("generate", request));
  EXPECT_EQ(with_baked.at("state"), "done") << with_baked.dump();
  EXPECT_EQ(workshop({{"operation", "extract"}, {"base", "tiny"}, {"tuned", "baked"}, {"rank", 2}, {"output", "difference"}}).at("state"),
            "done");
  const auto taken = shared_server().post(
      "/api/v1/jobs", {{"kind", "workshop"},
                       {"request", {{"operation", "resize"}, {"inputs", json::array({"tiny-style"})}, {"rank", 1}, {"output", "small"}}}});
  EXPECT_EQ(taken.status, 409);
  const auto unknown = shared_server().post(
      "/api/v1/jobs", {{"kind", "workshop"},
                       {"request", {{"operation", "resize"}, {"inputs", json::array({"tiny-style"})}, {"rnak", 1}, {"output", "x"}}}});
  EXPECT_EQ(unknown.status, 400);
  EXPECT_NE(unknown.body.find("rank"), std::string::npos);
}

TEST(Checkpoint, IsChosenForTheNextJobs) {
  EXPECT_EQ(shared_server().post("/api/v1/checkpoint", {{"name", "nowhere"}}).status, 404);
  EXPECT_EQ(shared_server().post("/api/v1/checkpoint", {{"name", "tiny"}}).json().at("checkpoint").at("name"), "tiny");
}

}  // namespace
}  // namespace lorikeet
