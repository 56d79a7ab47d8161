#include "lora/block_presets.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/scratch.h"
#include "lora/models.h"

namespace lorikeet::block_presets_test {
namespace {

// A U-Net of so many sizes with two residual blocks each on the way down, as SD1 (4) and SDXL (3) have it; one layer a block.
LayerMap unet_of(int levels) {
  LayerMap layers;
  const auto add = [&](const std::string& path) { layers[path] = testing::layer_for(path, torch::zeros({1, 1}), Tensor()); };
  add("unet.conv_in");
  add("unet.time_embedding.linear_1");
  for (int i = 0; i < levels; ++i) {
    const std::string down = "unet.down_blocks." + std::to_string(i), up = "unet.up_blocks." + std::to_string(i);
    for (int j = 0; j < 2; ++j) add(down + ".resnets." + std::to_string(j) + ".time_emb_proj");
    for (int j = 0; j < 3; ++j) add(up + ".resnets." + std::to_string(j) + ".time_emb_proj");
    if (i + 1 < levels) add(down + ".downsamplers.0.conv");
  }
  add("unet.mid_block.resnets.0.time_emb_proj");
  return layers;
}

const LayerMap& sd1() {
  static const LayerMap layers = unet_of(4);
  return layers;
}
const LayerMap& sdxl() {
  static const LayerMap layers = unet_of(3);
  return layers;
}

// The blocks with a weight other than 0, in order.
std::string blocks_in(const BlockWeights& weights, const LayerMap& layers) {
  std::map<std::string, double> by_block;
  for (const auto& [path, layer] : layers) by_block[block_of(path)] = weights.at(path);
  std::string text;
  for (const char* group : {"BASE", "IN", "MID", "OUT"})
    for (const auto& [block, weight] : by_block)
      if (block.starts_with(group) && weight != 0) text += (text.empty() ? "" : " ") + block;
  return text;
}

std::string error_of(const BlockPresets& presets, const std::string& text, ErrorKind kind = ErrorKind::bad_input) {
  try {
    presets.weights(text, sd1());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << text;
    return error.what();
  }
  return "";
}

TEST(BlockPresets, TheBuiltInOnesAreTheExtensionsWithTheBlocksBetween) {
  const BlockPresets presets;
  const auto of = [&](const char* name, const LayerMap& layers) { return blocks_in(presets.weights(name, layers), layers); };
  EXPECT_EQ(of("NONE", sd1()), "");
  EXPECT_EQ(of("INS", sd1()), "BASE IN00 IN01 IN02 IN03 IN04");
  EXPECT_EQ(of("IND", sd1()), "BASE IN05 IN06 IN07 IN08 IN09 IN10 IN11");
  EXPECT_EQ(of("MIDD", sd1()), "BASE IN05 IN06 IN07 IN08 IN09 IN10 IN11 MID OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06");
  EXPECT_EQ(of("OUTD", sd1()), "BASE OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06");
  EXPECT_EQ(of("OUTS", sd1()), "BASE OUT07 OUT08 OUT09 OUT10 OUT11");
  EXPECT_EQ(of("MIDD", sdxl()), "BASE IN06 IN07 IN08 MID OUT00 OUT01 OUT02");
  EXPECT_EQ(of("IN04", sd1()), "IN04");
  EXPECT_EQ(of("MID", sdxl()), "MID");
  for (const LayerMap* layers : {&sd1(), &sdxl()}) {
    EXPECT_EQ(of("ALL", *layers), of("INALL", *layers) + " MID" + of("OUTALL", *layers).substr(std::string("BASE").size()));
    for (const auto& [path, layer] : *layers) {
      EXPECT_EQ(presets.weights("ALL", *layers).at(path), 1) << path;
      EXPECT_EQ(presets.weights("ALL0.5", *layers).at(path), 0.5) << path;
    }
  }
}

TEST(BlockPresets, NumbersAndAnyCaseWillDo) {
  const BlockPresets presets;
  EXPECT_EQ(presets.weights("midd", sd1()), presets.weights("MIDD", sd1()));
  const char* numbers = "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0";
  EXPECT_EQ(presets.weights(numbers, sd1()), BlockWeights::parse(numbers));
  // What a recipe keeps of a preset can be read again.
  const BlockWeights middle = presets.weights("MIDD", sd1());
  EXPECT_EQ(BlockWeights::parse(middle.text()), middle);
}

TEST(BlockPresets, AFileAddsLinesAndItsNamesComeFirst) {
  BlockPresets presets;
  presets.add("my presets:\n\n FACE : 1,0,0,0,0,0,0,0,1,1,1,0,0,0,0,0,0 \nMIDD:0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0\nBAD:1,2,3\n#OFF:1,1\n",
              "mine.txt");
  EXPECT_EQ(blocks_in(presets.weights("FACE", sd1()), sd1()), "BASE OUT03 OUT04 OUT05");
  EXPECT_EQ(blocks_in(presets.weights("MIDD", sd1()), sd1()), "MID");
  EXPECT_EQ(blocks_in(presets.weights("OUTS", sd1()), sd1()), "BASE OUT07 OUT08 OUT09 OUT10 OUT11");
  const std::string bad = error_of(presets, "BAD");
  EXPECT_NE(bad.find("3 block weights"), std::string::npos) << bad;
  EXPECT_NE(bad.find("mine.txt, line 5"), std::string::npos) << bad;
  EXPECT_NE(error_of(presets, "OFF").find("no block weights \"OFF\""), std::string::npos);
}

TEST(BlockPresets, OfSeveralLinesOfOneNameTheOneForTheModelIsTaken) {
  BlockPresets presets;
  presets.add("FACE:0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0\nFACE:0,0,0,0,0,0,1,0,0,0,0,0", "mine.txt");
  EXPECT_EQ(blocks_in(presets.weights("FACE", sd1()), sd1()), "OUT03");
  EXPECT_EQ(blocks_in(presets.weights("FACE", sdxl()), sdxl()), "OUT00");
}

TEST(BlockPresets, AnUnknownNameIsAnErrorWithTheNearOnes) {
  EXPECT_NE(error_of({}, "MIDDD").find("did you mean MIDD"), std::string::npos) << error_of({}, "MIDDD");
  EXPECT_NE(error_of({}, "portrait").find("the presets are ALL"), std::string::npos) << error_of({}, "portrait");
}

TEST(BlockPresets, WrongCountsAndSpecialValuesSayWhatTheyAre) {
  const auto list = [](int count, const std::string& value) {
    std::string text = value;
    for (int i = 1; i < count; ++i) text += "," + value;
    return text;
  };
  EXPECT_NE(error_of({}, list(18, "1")).find("18 block weights"), std::string::npos);
  EXPECT_NE(error_of({}, list(61, "1"), ErrorKind::unsupported).find("Flux"), std::string::npos);
  EXPECT_NE(error_of({}, list(17, "R"), ErrorKind::unsupported).find("random"), std::string::npos);
  EXPECT_NE(error_of({}, list(17, "X"), ErrorKind::unsupported).find("X"), std::string::npos);
  EXPECT_NE(error_of({}, list(17, "much")).find("\"much\" is no number"), std::string::npos);
}

TEST(BlockPresets, AVectorForAnotherFamilyIsTold) {
  const BlockWeights for_sd1 = BlockWeights::parse("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"),
                     for_sdxl = BlockWeights::parse("1,1,1,1,1,1,1,1,1,1,1,1");
  EXPECT_EQ(misfit(for_sd1, sd1()), "");
  EXPECT_EQ(misfit(for_sdxl, sdxl()), "");
  EXPECT_EQ(misfit(BlockPresets().weights("INS", sdxl()), sdxl()), "");
  EXPECT_EQ(misfit(BlockWeights(), sd1()), "");
  EXPECT_NE(misfit(for_sdxl, sd1()).find("takes 17 or 26"), std::string::npos);
  EXPECT_NE(misfit(for_sd1, sdxl()).find("takes 12 or 20"), std::string::npos);
}

TEST(BlockPresets, FilesAreFoundInTheModelsFolderAndBesideTheLoras) {
  const testing::ScratchFolder scratch;
  const std::filesystem::path& root = scratch.path();
  std::filesystem::create_directories(root / "loras");
  std::ofstream(root / "lbwpresets.txt") << "ONE:1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\nTWO:1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n";
  std::ofstream(root / "loras" / "lbwpresets.txt") << "TWO:0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0\n";
  ModelFolders folders;
  folders.add_root(root);
  const BlockPresets presets = BlockPresets::in(folders);
  EXPECT_EQ(blocks_in(presets.weights("ONE", sd1()), sd1()), "BASE");
  EXPECT_EQ(blocks_in(presets.weights("TWO", sd1()), sd1()), "MID");  // the nearer file wins
}

}  // namespace
}  // namespace lorikeet::block_presets_test
