#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "io/atomic_file.h"
#include "tensor_test.h"

namespace lorikeet {

TEST(WriteSafetensors, WhatIsWrittenReadsBackBitForBit) {
  const ScratchFolder folder;
  const std::map<std::string, Tensor> tensors{
      {"half", torch::randn({3, 5}).to(torch::kHalf)},
      {"brain", torch::randn({7}).to(torch::kBFloat16)},
      {"single", torch::randn({2, 3, 4})},
      {"double", torch::randn({}, torch::kDouble)},
      {"long", torch::arange(9)},
      {"int", torch::arange(3, torch::kInt)},
      {"short", torch::arange(3, torch::kShort)},
      {"char", torch::arange(3, torch::kChar)},
      {"byte", torch::arange(3, torch::kByte)},
      {"bool", torch::tensor({true, false, true})},
      {"transposed \"☃\"\n", torch::randn({4, 6}).transpose(0, 1)},
      {"empty", torch::empty({0, 4})},
      {"trained", torch::randn({2, 2}).requires_grad_()},
  };
  const std::map<std::string, std::string> metadata{{"ss_network_dim", "4"}, {"tags", "{\"a\": 1}\n☃"}};
  write_safetensors(folder / "out.safetensors", tensors, metadata);
  const auto file = TensorFile::open(folder / "out.safetensors");
  EXPECT_EQ(file->metadata(), metadata);
  ASSERT_EQ(file->tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file->tensors().at(name).dtype, tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(file->read(name), tensor)) << name;
  }
  EXPECT_EQ(folder.count(), 1U);  // no temporary file is left
}

TEST(WriteSafetensors, TheBytesAreThoseOfTheReferenceWriter) {
  const ScratchFolder folder;
  const Tensor half = torch::ones({1}, torch::kHalf);
  write_safetensors(folder / "out", {{"b", half}, {"a", half}, {"w", torch::ones({1})}, {"i", torch::ones({1}, torch::kLong)}},
                    {{"k", "v"}});
  // I64 stands above F32 above F16 in the reference's list of dtypes, then comes the name.
  const std::string header =
      R"({"__metadata__":{"k":"v"},"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
      R"("a":{"dtype":"F16","shape":[1],"data_offsets":[12,14]},"b":{"dtype":"F16","shape":[1],"data_offsets":[14,16]}})";
  const std::string bytes = read_bytes(folder / "out");
  ASSERT_EQ(bytes.substr(8, header.size()), header);
  const size_t padded = (header.size() + 7) / 8 * 8;
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]) + 256U * static_cast<unsigned char>(bytes[1]), padded);
  EXPECT_EQ(bytes.size(), 8 + padded + 16);
}

TEST(WriteSafetensors, WhatCannotBeStoredIsNamed) {
  const ScratchFolder folder;
  const auto path = folder / "out.safetensors";
  const auto error = [&](const std::map<std::string, Tensor>& tensors, const std::map<std::string, std::string>& metadata) {
    return error_of([&] { write_safetensors(path, tensors, metadata); });
  };
  EXPECT_NE(error({{"c", torch::ones({1}, torch::kComplexFloat)}}, {}).find("\"c\""), std::string::npos);
  EXPECT_NE(error({{"__metadata__", torch::ones({1})}}, {}), "");
  EXPECT_NE(error({}, {{"k", "\xff"}}).find("not UTF-8"), std::string::npos);
  EXPECT_EQ(folder.count(), 0U);
}

TEST(AtomicFile, AFailedWriteLeavesTheOldFileAndNoOther) {
  const ScratchFolder folder;
  write_file_atomically(folder / "file", "old");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto text = error_of([&] { write_safetensors(folder / "file", {{"t", torch::zeros({4096})}}, {}); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_NE(text.find("cannot write"), std::string::npos) << text;
  EXPECT_EQ(read_bytes(folder / "file"), "old");
  EXPECT_EQ(folder.count(), 1U);
}

TEST(AtomicFile, ReplacesAndFollowsLinksAndNamesWhatItCannotWrite) {
  const ScratchFolder folder;
  write_file_atomically(folder / "file", "one");
  std::filesystem::create_symlink("file", folder / "link");
  write_file_atomically(folder / "link", "two");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_bytes(folder / "file"), "two");
  EXPECT_NE(error_of([&] { write_file_atomically(folder / "none/file", "x"); }).find("there is no folder"), std::string::npos);
  std::filesystem::create_directory(folder / "dir");
  EXPECT_NE(error_of([&] { write_file_atomically(folder / "dir", "x"); }).find("is a folder"), std::string::npos);
  EXPECT_EQ(folder.count(), 3U);
}

}  // namespace lorikeet
