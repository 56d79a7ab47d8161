#include "prompt/embedding_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/error.h"
#include "io/picture_base64.h"
#include "io/tensor_file.h"

namespace lorikeet {

namespace {
const std::filesystem::path kGolden = std::filesystem::path(LORIKEET_GOLDEN_DIR) / "embeddings";

class EmbeddingFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<Embedding> reread(const std::map<std::string, Tensor>& tensors, const std::string& name = "fox.safetensors") {
    write_safetensors(folder_ / name, tensors, {});
    return read_embedding_file(folder_ / name);
  }

  const std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("lorikeet_embedding_test_" + std::to_string(::getpid()));
};

Tensor eighths(int64_t first, Shape shape) {
  int64_t count = 1;
  for (const auto size : shape) count *= size;
  return (torch::arange(first, first + count).to(torch::kFloat) / 8).reshape(shape);
}
}  // namespace

TEST_F(EmbeddingFile, ReadsTheWebuisPickle) {
  const auto embeddings = read_embedding_file(kGolden / "webui.pt");
  ASSERT_EQ(embeddings.size(), 1U);
  EXPECT_EQ(embeddings[0].name, "webui");
  EXPECT_EQ(embeddings[0].hash.size(), 12U);
  ASSERT_EQ(embeddings[0].vectors.size(), 1U);
  EXPECT_TRUE(embeddings[0].vectors[0].equal(eighths(0, {2, 16})));
}

TEST_F(EmbeddingFile, ReadsDiffusersTokens) {
  const auto one = read_embedding_file(kGolden / "concept.bin");
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].name, "concept");  // the file's name, as in the webui
  EXPECT_TRUE(one[0].vectors[0].equal(eighths(0, {1, 16})));
  const auto two = read_embedding_file(kGolden / "two_tokens.bin");
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[1].name, "<two>");
  EXPECT_TRUE(two[1].vectors[0].equal(eighths(16, {1, 16})));
}

TEST_F(EmbeddingFile, ReadsTheVectorsInThePixelsOfAPicture) {
  const auto embeddings = read_embedding_file(kGolden / "pixels.png");
  ASSERT_EQ(embeddings.size(), 1U);
  EXPECT_EQ(embeddings[0].name, "hidden");
  EXPECT_TRUE(embeddings[0].vectors[0].equal(eighths(0, {2, 16})));
}

TEST_F(EmbeddingFile, ReadsTheTextOfAPicture) {
  const std::string json = R"({"string_to_param": {"*": {"TORCHTENSOR": [[0, 0.125, 0.25]]}}, "name": null})";
  const Picture picture{2, 2, 3, std::vector<uint8_t>(12, 99)};
  const std::string base64 = to_base64(std::span(reinterpret_cast<const uint8_t*>(json.data()), json.size()));
  write_picture(folder_ / "card.png", picture, {{"sd-ti-embedding", base64}});
  const auto embeddings = read_embedding_file(folder_ / "card.png");
  ASSERT_EQ(embeddings.size(), 1U);
  EXPECT_EQ(embeddings[0].name, "card");
  EXPECT_TRUE(embeddings[0].vectors[0].equal(eighths(0, {1, 3})));
  write_picture(folder_ / "plain.png", picture);
  EXPECT_THROW(read_embedding_file(folder_ / "plain.png"), Error);
}

TEST_F(EmbeddingFile, ReadsEveryTensorForm) {
  EXPECT_EQ(reread({{"emb_params", eighths(0, {3, 768})}})[0].count(), 3);
  EXPECT_EQ(reread({{"anything", eighths(0, {768})}})[0].count(), 1);
  EXPECT_EQ(reread({{"anything", eighths(0, {2, 768}).to(torch::kHalf)}})[0].vectors[0].scalar_type(), torch::kFloat);
  for (const auto& [l, g] : {std::pair("clip_l", "clip_g"), std::pair("text_encoders_0", "text_encoders_1")}) {
    const auto both = reread({{l, eighths(0, {2, 768})}, {g, eighths(0, {2, 1280})}});
    ASSERT_EQ(both.size(), 1U);
    EXPECT_EQ(both[0].name, "fox");
    EXPECT_TRUE(both[0].vectors_for(768).defined() && both[0].vectors_for(1280).defined());
  }
}

TEST_F(EmbeddingFile, SaysWhatIsWrongWithOtherFiles) {
  const auto bad = [&](const std::map<std::string, Tensor>& tensors) {
    try {
      reread(tensors);
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::bad_input && !error.context().empty();
    }
  };
  EXPECT_TRUE(bad({{"lora_unet_a.lora_up.weight", eighths(0, {2, 8})}, {"lora_unet_a.lora_down.weight", eighths(0, {8, 2})}}));
  EXPECT_TRUE(bad({{"emb_params", eighths(0, {2, 2, 2})}}));
  EXPECT_TRUE(bad({{"emb_params", torch::full({1, 8}, NAN)}}));
  EXPECT_TRUE(bad({{"emb_params", torch::ones({1, 8}, torch::kLong)}}));
  EXPECT_TRUE(bad({{"clip_l", eighths(0, {2, 768})}, {"clip_g", eighths(0, {3, 1280})}}));
}

TEST(BundledEmbeddings, AreFoundAmongTheTensorsOfALora) {
  const std::map<std::string, Tensor> tensors{{"bundle_emb.my.word.string_to_param.*", eighths(0, {2, 768})},
                                              {"bundle_emb.xl.clip_l", eighths(0, {1, 768})},
                                              {"bundle_emb.xl.clip_g", eighths(0, {1, 1280})},
                                              {"<s1>", eighths(0, {768})},
                                              {"lora_unet_a.alpha", torch::tensor(1.0)}};
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  const auto found = bundled_embeddings(names, {{"<s1>", "<embed>"}}, "fox", [&](const std::string& name) { return tensors.at(name); });
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].name, "<s1>");
  EXPECT_EQ(found[1].name, "my.word");
  EXPECT_EQ(found[1].count(), 2);
  EXPECT_EQ(found[2].vectors.size(), 2U);
  for (const auto& one : found) EXPECT_EQ(one.hash, "fox");
}

}  // namespace lorikeet
