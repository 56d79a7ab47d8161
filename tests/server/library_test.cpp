// The library through /api/v1/library and A1111's /sd_extra_networks.
#include <gtest/gtest.h>

#include <fstream>

#include "io/picture.h"
#include "io/picture_base64.h"
#include "scene.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Some LoRAs beside the tiny one, on a server of their own.
class LibraryApi : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folders_ = std::make_unique<testing::Folders>();
    loras_ = folders_->models() / "loras";
    const fs::path tiny = loras_ / "tiny-style.safetensors";
    fs::create_directories(loras_ / "animals");
    fs::copy(tiny, loras_ / "animals/red fox.safetensors");
    std::ofstream(loras_ / "animals/red fox.json") << R"({"activation text": "foxy, snow", "preferred weight": 0.7, "theirs": [1]})";
    std::ofstream(loras_ / "page.safetensors") << "<html>";
    server_ = std::make_unique<testing::Running>(folders_->options());
    server_->post("/api/v1/library/refresh");
  }
  static void TearDownTestSuite() {
    server_.reset();
    folders_.reset();
  }
  static json get(const std::string& target) { return server_->get("/api/v1/library/" + target).json(); }
  static int status(const std::string& target) { return server_->get("/api/v1/library/" + target).status; }

  static inline std::unique_ptr<testing::Folders> folders_;
  static inline std::unique_ptr<testing::Running> server_;
  static inline fs::path loras_;
};

std::string data_uri(int width_px, int height_px) {
  return to_data_uri(Picture{width_px, height_px, 3, std::vector<uint8_t>(static_cast<size_t>(width_px * height_px * 3), 90)});
}

TEST_F(LibraryApi, ListsCardsWithEveryKeyOfTheContract) {
  const json page = get("loras?sort=name&order=asc&limit=10");
  EXPECT_EQ(page.at("total"), 3);
  EXPECT_EQ(page.at("offset"), 0);
  EXPECT_EQ(page.at("folders"), json::array({"animals"}));
  for (const char* key : {"families", "scanning", "version"}) EXPECT_TRUE(page.contains(key)) << key;
  for (const json& card : page.at("items"))
    for (const char* key : {"name", "file_name", "folder", "title", "alias", "family", "kinds", "rank", "size_bytes", "modified", "sha256", "autov2", "autov3", "has_preview",
                            "preview_version", "trigger_words", "tags", "preferred_multiplier", "negative_text", "description", "notes", "favourite", "rating",
                            "base_model_claim", "duplicates"})
      EXPECT_TRUE(card.contains(key)) << key;
  const json fox = get("loras?query=foxy").at("items").at(0);
  EXPECT_EQ(fox.at("name"), "animals/red fox");
  EXPECT_EQ(fox.at("trigger_words"), json::array({"foxy", "snow"}));
  EXPECT_EQ(fox.at("preferred_multiplier"), 0.7);
  EXPECT_TRUE(get("loras?query=page").at("items").at(0).contains("error"));
  EXPECT_EQ(get("checkpoints").at("total"), 1);
}

TEST_F(LibraryApi, AWrongParameterIsABadInputThatSaysWhich) {
  for (const char* target : {"loras?sort=colour", "loras?order=up", "loras?limit=x", "loras?limit=5000", "loras?offset=-1", "loras?colour=red", "loras/item", "loras/preview?name=page&width=1"}) {
    const auto answer = server_->get("/api/v1/library/" + std::string(target));
    EXPECT_EQ(answer.status, 400) << target;
    EXPECT_EQ(answer.json().at("error"), "bad_input") << answer.body;
  }
  EXPECT_EQ(status("hats"), 404);
  EXPECT_EQ(status("loras/item?name=nobody"), 404);
}

TEST_F(LibraryApi, AnItemHasItsMetadataSidecarAndWarnings) {
  const json item = get("loras/item?name=animals%2Fred%20fox");
  EXPECT_EQ(item.at("sidecar").at("theirs"), json::array({1}));
  EXPECT_EQ(item.at("path_in_folder"), "animals/red fox.safetensors");
  EXPECT_GT(item.at("modules"), 0);
  EXPECT_GT(item.at("tensors"), 0);
  EXPECT_TRUE(item.at("metadata").is_object() && item.at("warnings").is_array() && item.at("duplicates_of").is_array());
  EXPECT_EQ(item.dump().find(folders_->root().string()), std::string::npos);
}

TEST_F(LibraryApi, AnEditIsWrittenBesideTheFileAndAnswersWithTheCard) {
  const json card = server_->post("/api/v1/library/loras/item?name=animals%2Fred%20fox", {{"notes", "sleeps"}, {"rating", 4}, {"favourite", true}}).json();
  EXPECT_EQ(card.at("notes"), "sleeps");
  EXPECT_EQ(card.at("rating"), 4);
  std::ifstream in(loras_ / "animals/red fox.json");
  const json written = json::parse(in);
  EXPECT_EQ(written.at("notes"), "sleeps");
  EXPECT_EQ(written.at("theirs"), json::array({1}));
  EXPECT_EQ(get("loras?favourite=true").at("total"), 1);
  for (const json& wrong : {json{{"note", "x"}}, json{{"rating", 9}}, json{{"notes", 5}}, json::array()})
    EXPECT_EQ(server_->post("/api/v1/library/loras/item?name=animals%2Fred%20fox", wrong).status, 400) << wrong;
  EXPECT_EQ(server_->post("/api/v1/library/loras/item?name=nobody", {{"notes", "x"}}).status, 404);
  EXPECT_EQ(server_->post("/api/v1/library/loras/item?name=..%2F..%2Fx", {{"notes", "x"}}).status, 404);
}

TEST_F(LibraryApi, APreviewIsSetShownSmallAndKnownByItsTag) {
  EXPECT_EQ(status("loras/preview?name=tiny-style"), 404);
  const auto set = server_->post("/api/v1/library/loras/preview?name=tiny-style", {{"image", data_uri(600, 300)}});
  ASSERT_EQ(set.status, 200) << set.body;
  EXPECT_EQ(set.json().at("has_preview"), true);
  EXPECT_TRUE(fs::exists(loras_ / "tiny-style.preview.png"));
  const auto whole = server_->get("/api/v1/library/loras/preview?name=tiny-style");
  EXPECT_EQ(whole.headers.at("content-type"), "image/png");
  const auto small = server_->get("/api/v1/library/loras/preview?name=tiny-style&width=128");
  EXPECT_EQ(picture_info(std::span(reinterpret_cast<const uint8_t*>(small.body.data()), small.body.size())).width_px, 128);
  const auto again = server_->get("/api/v1/library/loras/preview?name=tiny-style", {{"If-None-Match", whole.headers.at("etag")}});
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(server_->post("/api/v1/library/loras/preview?name=tiny-style", {{"image", "data:image/png;base64,AAAA"}}).status, 400);
  const auto thumb = server_->get("/sd_extra_networks/thumb?filename=tiny-style.preview.png");
  EXPECT_EQ(thumb.body, whole.body);
  EXPECT_EQ(server_->get("/sd_extra_networks/cover-images?page=lora&item=tiny-style").body, whole.body);
}

TEST_F(LibraryApi, FitsTellsMatchedOfTotal) {
  const std::string checkpoint = get("checkpoints").at("items").at(0).at("name");
  const json fit = get("fits?name=tiny-style&checkpoint=" + checkpoint);
  EXPECT_EQ(fit.at("fits"), true) << fit;
  EXPECT_EQ(fit.at("matched"), fit.at("total"));
  const json broken = get("fits?name=page&checkpoint=" + checkpoint);
  EXPECT_EQ(broken.at("fits"), false);
  EXPECT_NE(broken.at("reason"), "");
  EXPECT_EQ(status("fits?name=nobody&checkpoint=" + checkpoint), 404);
}

TEST_F(LibraryApi, ANewFileIsThereAfterARefreshAndTheVersionGrows) {
  const json before = get("loras?limit=0");
  fs::copy(loras_ / "tiny-style.safetensors", loras_ / "zebra.safetensors");
  const json version = server_->post("/api/v1/library/refresh").json().at("version");
  EXPECT_GT(version, before.at("version"));
  EXPECT_EQ(get("loras?query=zebra").at("total"), 1);
  fs::remove(loras_ / "zebra.safetensors");
  server_->post("/api/v1/library/refresh");
  EXPECT_EQ(get("loras?query=zebra").at("total"), 0);
}

TEST_F(LibraryApi, A1111sRoutesOfCardsAnswer) {
  const auto metadata = server_->get("/sd_extra_networks/metadata?page=lora&item=tiny-style");
  EXPECT_TRUE(json::parse(metadata.json().at("metadata").get<std::string>()).is_object());
  EXPECT_NE(server_->get("/sd_extra_networks/get-single-card?page=lora&tabname=txt2img&name=tiny-style").json().at("html").get<std::string>().find("tiny-style"), std::string::npos);
  EXPECT_EQ(server_->get("/sd_extra_networks/metadata?page=lora&item=nobody").status, 404);
  EXPECT_EQ(server_->get("/sd_extra_networks/thumb?filename=%2Fetc%2Fpasswd").status, 404);
}

}  // namespace
}  // namespace lorikeet
