#include "library/facts.h"

#include <gtest/gtest.h>

#include "io/tensor_file.h"
#include "shelf.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using namespace lorikeet::testing;

class Facts : public ::testing::Test {
 protected:
  FileFacts read(ModelKind kind, const std::string& name) const { return read_facts({kind, fs::path(name).stem(), folder_ / name}); }
  ScratchFolder folder_;
};

TEST_F(Facts, OfALoraComeFromItsHeaderAlone) {
  write_lora(folder_ / "fox.safetensors", {.modules = 3, .rank = 8, .context = 2048, .metadata = {{"ss_base_model_version", "sd_v1"}}});
  const FileFacts facts = read(ModelKind::lora, "fox.safetensors");
  ASSERT_TRUE(facts.lora) << facts.error;
  EXPECT_EQ(facts.family, "sdxl");
  EXPECT_EQ(facts.claim, "sd_v1");
  EXPECT_EQ(facts.lora->modules, 3);
  EXPECT_EQ(facts.lora->ranks.begin()->first, 8);
  EXPECT_EQ(facts.tensors, 9);
  EXPECT_EQ(facts.dtype, "F16");
}

TEST_F(Facts, CaptionsThatAreSentencesGiveTheirWords) {
  write_lora(folder_ / "fox.safetensors",
             {.metadata = {{"ss_tag_frequency", R"({"1_a": {"a red fox in the deep snow": 2, "the red fox sleeps under a tree": 3}})"}}});
  write_lora(folder_ / "cat.safetensors", {.metadata = {{"ss_tag_frequency", R"({"1_a": {"red cat": 2}, "2_b": {"red cat ": 3, "hat": 1}})"}}});
  using Tags = std::vector<std::pair<std::string, int64_t>>;
  EXPECT_EQ(read(ModelKind::lora, "fox.safetensors").lora->tags,
            (Tags{{"fox", 5}, {"red", 5}, {"the", 5}, {"sleeps", 3}, {"tree", 3}, {"under", 3}, {"deep", 2}, {"snow", 2}}));
  EXPECT_EQ(read(ModelKind::lora, "cat.safetensors").lora->tags, (Tags{{"red cat", 5}, {"hat", 1}}));
}

TEST_F(Facts, OfACheckpointAreItsFamilyAndPrecision) {
  for (const char* family : {"sd1", "sd2", "sdxl"}) {
    const TinyModel model = tiny_model(family);
    write_single_file(folder_ / "model.safetensors", model, file_of(model));
    const FileFacts facts = read(ModelKind::checkpoint, "model.safetensors");
    EXPECT_EQ(facts.error, "");
    EXPECT_EQ(facts.family, family);
    EXPECT_EQ(facts.dtype, "F32");
    EXPECT_GT(facts.tensors, 100);
  }
}

TEST_F(Facts, OfAnEmbeddingAreItsVectorsAndTheFamilyOfItsWidth) {
  write_safetensors(folder_ / "one.safetensors", {{"emb_params", torch::zeros({3, 768})}}, {});
  write_safetensors(folder_ / "two.safetensors", {{"clip_l", torch::zeros({2, 768})}, {"clip_g", torch::zeros({2, 1280})}}, {});
  write_safetensors(folder_ / "wide.safetensors", {{"emb_params", torch::zeros({1, 1024})}}, {});
  EXPECT_EQ(read(ModelKind::embedding, "one.safetensors").vectors, 3);
  EXPECT_EQ(read(ModelKind::embedding, "one.safetensors").family, "sd1");
  EXPECT_EQ(read(ModelKind::embedding, "two.safetensors").vectors, 2);
  EXPECT_EQ(read(ModelKind::embedding, "two.safetensors").family, "sdxl");
  EXPECT_EQ(read(ModelKind::embedding, "wide.safetensors").family, "sd2");
}

TEST_F(Facts, OfThePicklesOfOlderProgramsAreReadToo) {
  const FileFacts facts = read_facts({ModelKind::embedding, "webui", fs::path(LORIKEET_GOLDEN_DIR) / "embeddings" / "webui.pt"});
  EXPECT_EQ(facts.error, "");
  EXPECT_GT(facts.vectors.value_or(0), 0);
}

TEST_F(Facts, OfAVaeTellThatItIsOne) {
  write_safetensors(folder_ / "vae.safetensors", {{"decoder.conv_in.weight", torch::zeros({4, 4, 3, 3})}}, {});
  EXPECT_EQ(read(ModelKind::vae, "vae.safetensors").error, "");
  write_lora(folder_ / "fox.safetensors");
  EXPECT_NE(read(ModelKind::vae, "fox.safetensors").error.find("no VAE"), std::string::npos);
}

TEST_F(Facts, WhatCannotBeReadSaysWhyWithoutNamingTheFolder) {
  write_text(folder_ / "empty.safetensors", "");
  write_text(folder_ / "page.safetensors", "<!DOCTYPE html><html><body>login</body></html>");
  write_text(folder_ / "junk.safetensors", std::string("\x10\0\0\0\0\0\0\0{\"a\": 1", 15));
  write_text(folder_ / "junk.pt", "PK\x03\x04 and so on");
  write_lora(folder_ / "cut.safetensors");
  fs::resize_file(folder_ / "cut.safetensors", 1000);
  write_safetensors(folder_ / "embedding.safetensors", {{"emb_params", torch::zeros({1, 768})}}, {});
  fs::create_symlink("nowhere", folder_ / "link.safetensors");
  for (const char* name : {"empty.safetensors", "page.safetensors", "junk.safetensors", "junk.pt", "cut.safetensors", "embedding.safetensors",
                           "link.safetensors", "missing.safetensors"}) {
    for (const ModelKind kind : {ModelKind::lora, ModelKind::checkpoint, ModelKind::vae}) {
      const FileFacts facts = read(kind, name);
      EXPECT_NE(facts.error, "") << name;
      EXPECT_EQ(facts.error.find(folder_.path().string()), std::string::npos) << facts.error;
      EXPECT_FALSE(facts.lora);
    }
  }
}

TEST_F(Facts, AHeaderAloneIsTheWholeFilesHeader) {
  for (const auto& entry : fs::directory_iterator(fs::path(LORIKEET_GOLDEN_DIR) / "lora")) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto describe = [&](auto&& open) {
      std::string text;
      try {
        const auto file = open(entry.path());
        for (const auto& [name, tensor] : file->tensors()) text += name + " " + tensor.stored_dtype + " " + to_string(tensor.shape) + "\n";
        for (const auto& [key, value] : file->metadata()) text += key + "=" + value + "\n";
      } catch (const Error& error) {
        text = error.what();
      }
      return text;
    };
    EXPECT_EQ(describe(TensorFile::open_header), describe(TensorFile::open)) << entry.path();
  }
}

TEST(FamilyOfWords, KnowsWhatPeopleAndProgramsWrite) {
  EXPECT_EQ(family_of_words("SD 1.5"), "sd1");
  EXPECT_EQ(family_of_words("sd_v1"), "sd1");
  EXPECT_EQ(family_of_words("stable-diffusion-v1/lora"), "sd1");
  EXPECT_EQ(family_of_words("SD2"), "sd2");
  EXPECT_EQ(family_of_words("SD 2.1 768"), "sd2");
  for (const char* words : {"SDXL 1.0", "sdxl_base_v1-0", "Pony", "Illustrious", "NoobAI", "stable-diffusion-xl-v1-base/lora"})
    EXPECT_EQ(family_of_words(words), "sdxl") << words;
  EXPECT_EQ(family_of_words("Flux.1 D"), "flux");
  EXPECT_EQ(family_of_words("SD 3.5"), "sd3");
  EXPECT_EQ(family_of_words("Other"), "");
}

}  // namespace
}  // namespace lorikeet
