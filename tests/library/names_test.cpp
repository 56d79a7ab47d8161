#include "library/names.h"

#include <gtest/gtest.h>

namespace lorikeet {
namespace {

std::vector<std::string> shown(const std::vector<ModelFile>& files) {
  std::vector<std::string> names;
  for (const NamedFile& file : name_files(files)) names.push_back((file.shown ? "" : "hidden ") + file.name);
  return names;
}

TEST(NameFiles, OneFileOfANameKeepsItTheOthersCarryTheirExtension) {
  const auto kind = ModelKind::lora;
  EXPECT_EQ(shown({{kind, "fox", "/a/fox.ckpt"}, {kind, "fox", "/a/fox.safetensors"}, {kind, "x/fox", "/a/x/fox.pt"}}),
            (std::vector<std::string>{"fox.ckpt", "fox", "x/fox"}));
}

TEST(NameFiles, AnEarlierPlaceHidesTheSameNameInALaterOne) {
  const auto kind = ModelKind::lora;
  EXPECT_EQ(shown({{kind, "fox", "/a/fox.safetensors"}, {kind, "fox", "/b/fox.safetensors"}, {kind, "fox", "/b/fox.pt"}}),
            (std::vector<std::string>{"fox", "hidden fox.safetensors", "fox.pt"}));
}

TEST(NameFiles, NamesThatAreNoUtf8AreMadeValid) {
  const auto files = name_files({{ModelKind::lora, "f\xffx", "/a/f\xffx.safetensors"}, {ModelKind::lora, "f\xfex", "/a/f\xfex.safetensors"}});
  EXPECT_EQ(files[0].name, "f\xEF\xBF\xBDx");
  EXPECT_FALSE(files[1].shown);
}

}  // namespace
}  // namespace lorikeet
