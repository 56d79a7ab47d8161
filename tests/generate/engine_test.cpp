// What an Engine keeps in memory.
#include "generate/engine.h"

#include <gtest/gtest.h>

#include "../model/tiny.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

struct TwoLoras {
  testing::ScratchFolder folder;
  std::unique_ptr<Engine> engine;

  explicit TwoLoras(uintmax_t cache_bytes) {
    fs::create_directories(folder / "loras");
    for (const char* name : {"one", "two"}) fs::copy_file(LORIKEET_TINY_DIR "/loras/tiny-style.safetensors", (folder / "loras") / (std::string(name) + ".safetensors"));
    EngineOptions options{.checkpoint = LORIKEET_TINY_DIR "/checkpoints/tiny.safetensors", .device = "cpu", .precision = "f32"};
    options.folders.add_root(folder.path());
    options.lora_cache_bytes = cache_bytes;
    engine = std::make_unique<Engine>(std::move(options));
  }
  std::weak_ptr<const LoadedLora> load(const std::string& name) const { return engine->lora(engine->options().folders.find(ModelKind::lora, name).file); }
};

TEST(Engine, KeepsLorasThatFitIntoItsCache) {
  const TwoLoras loras(uintmax_t{1} << 30);
  const auto one = loras.load("one"), two = loras.load("two");
  EXPECT_FALSE(one.expired());
  EXPECT_FALSE(two.expired());
  EXPECT_EQ(loras.load("one").lock(), one.lock());
}

TEST(Engine, ForgetsTheLoraThatWasNotUsedForTheLongestTimeWhenTheCacheIsFull) {
  const TwoLoras loras(1);
  const auto one = loras.load("one");
  EXPECT_FALSE(one.expired());  // the last one stays, however small the cache
  const auto two = loras.load("two");
  EXPECT_TRUE(one.expired());
  EXPECT_FALSE(two.expired());
}

}  // namespace
}  // namespace lorikeet
