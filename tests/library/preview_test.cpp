#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/picture.h"
#include "io/picture_base64.h"
#include "library/embedded_picture.h"
#include "library/library.h"
#include "shelf.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace lorikeet::testing;

std::span<const uint8_t> as_bytes(const std::string& text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }
std::string base64(const std::string& bytes) { return to_base64(as_bytes(bytes)); }

class Previews : public ::testing::Test {
 protected:
  void SetUp() override {
    shelf_.lora("fox");
    library_ = shelf_.open();
  }
  std::optional<PreviewFile> preview(int width_px = 0) const { return library_->preview(ModelKind::lora, "fox", width_px); }
  Shelf shelf_;
  std::unique_ptr<Library> library_;
};

TEST_F(Previews, ThereIsNoneWithoutAPicture) { EXPECT_FALSE(preview()); }

TEST_F(Previews, ThePictureBesideTheFileIsGivenAsItIs) {
  const std::string picture = png(8, 8);
  write_text(shelf_.loras() / "fox.png", picture);
  library_->refresh();
  ASSERT_TRUE(preview());
  EXPECT_EQ(preview()->bytes, picture);
  EXPECT_EQ(preview()->media_type, "image/png");
  EXPECT_EQ(preview()->version, library_->card(ModelKind::lora, "fox")->preview_version);
}

TEST_F(Previews, WhatIsNoPictureIsNotGivenWhateverItsName) {
  write_text(shelf_.loras() / "fox.png", "<script>alert(1)</script>");
  library_->refresh();
  EXPECT_FALSE(preview());
  write_text(shelf_.loras() / "fox.png", "GIF89a and so on");
  EXPECT_EQ(preview()->media_type, "image/gif");
}

TEST_F(Previews, APictureWithinTheFileIsFound) {
  const std::string picture = png(8, 8);
  shelf_.lora("cover", {.metadata = {{"ssmd_cover_images", nlohmann::json(std::vector<std::string>{base64(picture)}).dump()}}});
  shelf_.lora("thumb", {.metadata = {{"modelspec.thumbnail", "data:image/png;base64," + base64(picture)}}});
  shelf_.lora("wrong", {.metadata = {{"modelspec.thumbnail", "data:image/png;base64,!!"}, {"ssmd_cover_images", std::string(200, '[')}}});
  library_->refresh();
  for (const char* name : {"cover", "thumb"}) {
    EXPECT_TRUE(library_->card(ModelKind::lora, name)->has_preview);
    EXPECT_GT(library_->card(ModelKind::lora, name)->preview_version, 0);
    EXPECT_EQ(library_->preview(ModelKind::lora, name)->bytes, picture);
    EXPECT_EQ(library_->item(ModelKind::lora, name)->metadata.begin()->second, "(a picture)");
  }
  EXPECT_FALSE(library_->preview(ModelKind::lora, "wrong"));
}

TEST_F(Previews, ASmallOneIsMadeOnceAndHasTheWidth) {
  write_text(shelf_.loras() / "fox.png", png(600, 300));
  library_->refresh();
  const auto small = preview(200).value();
  EXPECT_EQ(small.media_type, "image/jpeg");
  const PictureInfo info = picture_info(as_bytes(small.bytes));
  EXPECT_EQ(info.width_px, 256);
  EXPECT_EQ(info.height_px, 128);
  size_t kept = 0;
  for (const auto& entry : fs::directory_iterator(shelf_.data() / "previews")) kept += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(kept, 1u);
  EXPECT_EQ(preview(256)->bytes, small.bytes);
  EXPECT_EQ(preview(1000)->media_type, "image/png");  // it is not that wide
  fs::remove_all(shelf_.data() / "previews");
  EXPECT_EQ(preview(256)->bytes, small.bytes);
}

TEST_F(Previews, ADamagedOneIsGivenAsItIsWhenASmallOneIsWanted) {
  const std::string damaged = png(600, 300).substr(0, 100);
  write_text(shelf_.loras() / "fox.png", damaged);
  library_->refresh();
  EXPECT_EQ(preview(64)->bytes, damaged);
}

TEST_F(Previews, ASetOneIsShownBeforeAnyOtherAndKeepsItsText) {
  write_text(shelf_.loras() / "fox.png", png(8, 8));
  library_->refresh();
  const auto before = library_->card(ModelKind::lora, "fox")->preview_version;
  const std::string chosen = png(16, 16, "a fox\nSteps: 3");
  fs::last_write_time(shelf_.loras() / "fox.png", fs::file_time_type::clock::now() - std::chrono::hours(1));
  const LibraryCard card = library_->set_preview(ModelKind::lora, "fox", chosen);
  EXPECT_TRUE(card.has_preview);
  EXPECT_NE(card.preview_version, 0);
  EXPECT_GE(card.preview_version, before);
  EXPECT_EQ(preview()->bytes, chosen);
  EXPECT_EQ(read_text(shelf_.loras() / "fox.preview.png"), chosen);
  const Picture picture{2, 2, 3, std::vector<uint8_t>(12, 9)};
  const auto webp = encode_picture(PictureFormat::webp, picture, {{"parameters", "p"}}, 100);
  library_->set_preview(ModelKind::lora, "fox", {reinterpret_cast<const char*>(webp.data()), webp.size()});
  const PictureFile again = read_picture(shelf_.loras() / "fox.preview.png");
  EXPECT_EQ(again.picture, picture);
  EXPECT_EQ(text_named(again.text, "parameters"), "p");
}

TEST_F(Previews, WhatIsNoPictureCannotBeSet) {
  for (const std::string& bytes : {std::string(), std::string("x"), png(9, 9).substr(0, 40)})
    EXPECT_NE(error_of([&] { library_->set_preview(ModelKind::lora, "fox", bytes); }), "");
  EXPECT_FALSE(fs::exists(shelf_.loras() / "fox.preview.png"));
}

}  // namespace
}  // namespace lorikeet
