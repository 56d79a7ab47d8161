#include "io/hash.h"

#include "io/atomic_file.h"
#include "tensor_test.h"

namespace lorikeet {

TEST(Hash, Sha256MatchesTheStandard) {
  // FIPS 180-4, examples "abc" and the empty message.
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Hash, FilesHaveTheHashesThatAnIndependentProgramFinds) {
  // Computed by Python's hashlib.
  const auto small = golden("sd1c/small.expected.safetensors"), ckpt = golden("sd1c/sd1c.ckpt");
  EXPECT_EQ(sha256_file(small), "a609dae559ceef2828c51307dccf021613ce2e0c3e6d1ef6007ebbca1f32b716");
  EXPECT_EQ(auto_v2(small), "a609dae559");
  EXPECT_EQ(auto_v3(small), "cdf7595920c819a1527b50453a593971d95aaf7e6c07099a3136b4a9a776c328");
  EXPECT_EQ(auto_v3(ckpt), "7f90a7ac3d44c8e711bea197199caec91d85ebd5c28a96bff676da8d1dc4629a");
  EXPECT_EQ(legacy_model_hash(ckpt), "6cdd5bc0");
  EXPECT_EQ(legacy_model_hash(small), "e3b0c442");  // shorter than 1 MiB: the hash of nothing, as in the webui
}

TEST(Hash, AutoV3IgnoresMetadataAndNothingElse) {
  const ScratchFolder folder;
  const Tensor t = torch::randn({5});
  write_safetensors(folder / "a", {{"t", t}}, {});
  write_safetensors(folder / "b", {{"t", t}}, {{"note", "changed"}});
  write_safetensors(folder / "c", {{"t", t + 1}}, {});
  EXPECT_EQ(auto_v3(folder / "a"), auto_v3(folder / "b"));
  EXPECT_NE(auto_v3(folder / "a"), auto_v3(folder / "c"));
  EXPECT_NE(sha256_file(folder / "a"), sha256_file(folder / "b"));
  EXPECT_NE(error_of([&] { sha256_file(folder / "none"); }).find("there is no file"), std::string::npos);
}

TEST(Hash, TheCacheFollowsTheFileAndSurvivesBeingDamaged) {
  const ScratchFolder folder;
  const char* before = std::getenv("XDG_CACHE_HOME");
  const std::string restored = before ? before : "";
  ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
  const auto file = folder / "model", cache = folder / "cache" / "lorikeet" / "hashes.json";
  write_file_atomically(file, "abc");
  EXPECT_EQ(cached_sha256_file(file), sha256("abc"));
  EXPECT_TRUE(std::filesystem::exists(cache));
  EXPECT_EQ(cached_sha256_file(file), sha256("abc"));
  write_file_atomically(file, "abcd");
  EXPECT_EQ(cached_sha256_file(file), sha256("abcd"));
  for (const char* damage : {"", "[1]", "{\"x\": 1", "{\"/\": {\"size\": \"large\"}}"}) {
    write_file_atomically(cache, damage);
    EXPECT_EQ(cached_sha256_file(file), sha256("abcd")) << damage;
  }
  before ? ::setenv("XDG_CACHE_HOME", restored.c_str(), 1) : ::unsetenv("XDG_CACHE_HOME");
}

}  // namespace lorikeet
