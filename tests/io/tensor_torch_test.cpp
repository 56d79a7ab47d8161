#include <cstring>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "io/atomic_file.h"
#include "io/hash.h"
#include "tensor_test.h"

namespace lorikeet {
namespace {

std::string digest(const Tensor& tensor) {
  const Tensor flat = tensor.contiguous();
  return sha256({static_cast<const char*>(flat.data_ptr()), static_cast<size_t>(flat.nbytes())}).substr(0, 16);
}

// A legacy file with one storage (none without a key) of `count` float32 0, 1, 2, … and an object given as the opcodes after the protocol.
std::string legacy(const std::string& object, int64_t count, const std::string& key = "0") {
  using namespace std::string_literals;
  std::string bytes = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."s + "\x80\x02" + object + ".";
  if (key.empty()) return bytes + "\x80\x02].";
  bytes += "\x80\x02](U" + std::string(1, static_cast<char>(key.size())) + key + "e.";
  bytes.append(reinterpret_cast<const char*>(&count), 8);
  for (int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), 4);
  }
  return bytes;
}

std::string number(int64_t value) { return "I" + std::to_string(value) + "\n"; }

std::string numbers(const Shape& values) {
  std::string text = "(";
  for (const int64_t value : values) text += number(value);
  return text + "t";
}

// {"t": a tensor}, view: "" or the opcodes of the storage's sixth value.
std::string tensor_object(int64_t storage_count, int64_t offset, const Shape& shape, const Shape& strides, const std::string& view = "",
                          const std::string& type = "FloatStorage") {
  return "}U\1tctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n" + type + "\nU\1" + "0U\3cpu" + number(storage_count) + view +
         "tQ" + number(offset) + numbers(shape) + numbers(strides) + "\x89}tRs";
}

Tensor arange(int64_t count) { return torch::arange(count, torch::kFloat); }

}  // namespace

TEST(TorchFile, BothContainersHoldWhatTheOracleSays) {
  const auto expected = TensorFile::open(golden("sd1c/small.expected.safetensors"));
  for (const char* name : {"sd1c/zip_small.pt", "sd1c/legacy_small.pt"}) {
    const auto file = TensorFile::open(golden(name));
    EXPECT_EQ(file->format(), ends_with(name, "zip_small.pt") ? FileFormat::torch_zip : FileFormat::torch_legacy);
    ASSERT_EQ(file->tensors().size(), expected->tensors().size());
    for (const auto& [key, entry] : expected->tensors()) {
      EXPECT_EQ(file->tensors().at(key).stored_dtype, entry.stored_dtype) << key;
      EXPECT_TRUE(torch::equal(file->read(key), expected->read(key))) << name << " " << key;
    }
  }
}

TEST(TorchFile, TheCheckpointHoldsWhatAnIndependentReaderFinds) {
  // Written by tests/golden/io/make_io_golden.py: name -> [dtype, shape, hash of the elements].
  const auto listed = nlohmann::json::parse(read_bytes(golden("io/sd1c.tensors.json")));
  const auto file = TensorFile::open(golden("sd1c/sd1c.ckpt"));
  ASSERT_EQ(file->tensors().size(), listed.size());
  for (const auto& [name, entry] : file->tensors()) {
    const auto& wanted = listed.at(name);
    EXPECT_EQ(entry.stored_dtype, wanted[0].get<std::string>()) << name;
    EXPECT_EQ(entry.shape, wanted[1].get<Shape>()) << name;
    EXPECT_EQ(digest(file->read(name)), wanted[2].get<std::string>()) << name;
  }
  const std::map<std::string, std::string> beside{{"epoch", "1"}, {"global_step", "4321"}, {"pytorch-lightning_version", "1.4.2"}};
  EXPECT_EQ(file->metadata(), beside);
  EXPECT_TRUE(file->unread().empty());  // "callbacks" is an empty dict
}

TEST(TorchFile, TensorsOfTheCheckpointAreViewsOfTheFile) {
  const auto file = TensorFile::open(golden("sd1c/sd1c.ckpt"));
  const std::string layer = "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.";
  const Tensor q = file->read(layer + "q_proj.bias"), k = file->read(layer + "k_proj.bias");  // two halves of one storage
  EXPECT_EQ(static_cast<const char*>(k.data_ptr()) - static_cast<const char*>(q.data_ptr()), 16);
  const Tensor transposed = file->read("model.diffusion_model.time_embed.0.weight");
  EXPECT_FALSE(transposed.is_contiguous());
  EXPECT_EQ(transposed.strides().vec(), (Shape{1, 128}));
}

TEST(TorchFile, EveryPickleProtocolGivesTheSame) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const auto file = TensorFile::open(golden("io/protocol" + std::to_string(protocol) + ".pt"));
    EXPECT_EQ(file->tensors().size(), 4U);
    EXPECT_TRUE(torch::equal(file->read("string_to_param.*"), torch::tensor({{0.5, 1.0, 1.5}, {2.0, 2.5, 3.0}}, torch::kHalf)))
        << protocol;
    EXPECT_TRUE(torch::equal(file->read("transposed"), arange(24).view({6, 4}).t())) << protocol;
    EXPECT_TRUE(torch::equal(file->read("middle"), arange(24).as_strided({2, 2, 2}, {8, 1, 4}, 8))) << protocol;
    EXPECT_EQ(file->read("steps.0").item<float>(), 23.0F);
    const std::map<std::string, std::string> wanted{{"name", "naïve \\ 'fox' \n☃ 𝄞"},
                                                    {"step", "1234"},
                                                    {"negative", "-5"},
                                                    {"large", "1099511627776"},
                                                    {"lr", "0.1"},
                                                    {"yes", "True"},
                                                    {"no", "False"},
                                                    {"loss", "0.25"},
                                                    {"both.0", "1"},
                                                    {"both.1", "two"},
                                                    {"tags.0", "7"},
                                                    {"frozen.0", "8"},
                                                    {"3", "three"}};
    EXPECT_EQ(file->metadata(), wanted) << protocol;
    const std::string model_checkpoint = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint";
    auto unread = file->unread();
    ASSERT_EQ(unread.size(), 4U) << join(unread, "; ");
    EXPECT_EQ(unread[0], "huge (a large number)");
    EXPECT_EQ(unread[1], "raw (bytes)");
    EXPECT_TRUE(unread[2] == "callback (" + model_checkpoint + ")" || unread[2] == "callback (copyreg._reconstructor)" ||
                unread[2] == "callback (copy_reg._reconstructor)")
        << unread[2];
    EXPECT_EQ(unread[3], "class (" + model_checkpoint + ")");
  }
}

TEST(TorchFile, PartsOfStoragesInOldFilesAreRespected) {
  const auto read = [](const std::string& object) { return parse_bytes(legacy(object, 10))->read("t"); };
  EXPECT_TRUE(torch::equal(read(tensor_object(10, 2, {2, 3}, {4, 1})), torch::tensor({{2.0F, 3.0F, 4.0F}, {6.0F, 7.0F, 8.0F}})));
  const std::string view = "(U\1v" + number(4) + number(5) + "t";  // elements 4 to 8 of the storage
  EXPECT_TRUE(torch::equal(read(tensor_object(10, 1, {3}, {1}, view)), torch::tensor({5.0F, 6.0F, 7.0F})));
  EXPECT_NE(error_of([&] { read(tensor_object(10, 3, {3}, {1}, view)); }).find("beyond its storage"), std::string::npos);
}

TEST(TorchFile, TensorsOutsideOfTheirStorageAreErrors) {
  const auto error = [](const std::string& object) { return error_of([&] { parse_bytes(legacy(object, 10)); }); };
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(error(tensor_object(10, 0, {10}, {1})), "");
  EXPECT_EQ(error(tensor_object(10, 9, {5}, {0})), "");  // an expanded scalar
  EXPECT_NE(error(tensor_object(10, 1, {10}, {1})).find("beyond its storage"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 11, {0}, {1})).find("beyond its storage"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, kHuge, {1}, {1})).find("beyond its storage"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, -1, {1}, {1})).find("whole number"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {2}, {-1})).find("whole number"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {2, 2}, {kHuge, kHuge})).find("impossible"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {kHuge, 4}, {0, 0})).find("impossible"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {kHuge}, {0})).find("repeats"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {2}, {})).find("impossible"), std::string::npos);
  EXPECT_NE(error(tensor_object(11, 0, {2}, {1})).find("shorter"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {1}, {1}, "", "ComplexFloatStorage")).find("not supported"), std::string::npos);
  EXPECT_NE(error(tensor_object(10, 0, {1}, {1}, "(U\1v" + number(8) + number(kHuge) + "t")).find("out of range"), std::string::npos);
}

TEST(TorchFile, TruncatedAndForeignArchivesAreNamed) {
  const std::string zip = read_bytes(golden("sd1c/zip_small.pt")), old = read_bytes(golden("sd1c/legacy_small.pt"));
  EXPECT_NE(error_of([&] { parse_bytes(zip.substr(0, zip.size() / 2)); }).find("truncated"), std::string::npos);
  EXPECT_NE(error_of([&] { parse_bytes(old.substr(0, old.size() - 1)); }).find("truncated"), std::string::npos);
  EXPECT_NE(error_of([&] { parse_bytes(replace_all(zip, "data.pkl", "data.txt")); }).find("no data.pkl"), std::string::npos);
  EXPECT_NE(error_of([&] { parse_bytes(replace_all(zip, "zip_small/data/3", "zip_small/data/X")); }).find("storage 3 is missing"),
            std::string::npos);
  // A packed entry whose bytes were changed: the checksum or zlib notices when the tensor is read.
  std::string packed = read_bytes(golden("io/protocol3.pt"));
  packed[packed.find("archive/data/0") + 20] ^= 1;
  EXPECT_NE(error_of([&] { parse_bytes(packed)->read("transposed"); }), "");
}

TEST(TorchFile, ZipBombsAreRefused) {
  std::string packed = read_bytes(golden("io/protocol3.pt"));
  const size_t record = packed.find("PK\x01\x02");  // the first entry of the directory; its unpacked size stands at 24
  const uint32_t huge = 0xF0000000;
  std::memcpy(packed.data() + record + 24, &huge, 4);
  EXPECT_NE(error_of([&] { parse_bytes(packed); }).find("zip bomb"), std::string::npos);
}

TEST(TorchFile, SharedAndCyclicValuesEnd) {
  using namespace std::string_literals;
  const auto error = [](const std::string& object) { return error_of([&] { parse_bytes(legacy(object, 0, "")); }); };
  EXPECT_EQ(error("}U\1aK\1s"), "");
  EXPECT_NE(error("]p0\nh\0a"s).find("64 levels"), std::string::npos) << "a list within itself";
  std::string doubling = "(K\1lq\0"s;  // a list that holds the last list twice, and so on
  for (int i = 0; i < 40; ++i) doubling += "(h\0h\0lq\0"s;
  EXPECT_NE(error(doubling).find("too many entries"), std::string::npos);
  const std::string deep = std::string(100000, '(') + "N" + std::string(100000, 'l');
  EXPECT_NE(error(deep).find("64 levels"), std::string::npos);
}

TEST(TensorFile, FilesOfOtherKindsAreNamed) {
  const std::pair<std::string, const char*> cases[] = {
      {"\x89PNG\r\n\x1a\n", "a PNG picture"},
      {"\xff\xd8\xff\xe0", "a JPEG picture"},
      {std::string("RIFF\1\0\0\0WEBPVP8 ", 16), "a WebP picture"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-lfs"},
      {"<!DOCTYPE html><html>", "an HTML page"},
      {"\n<html lang=en>", "an HTML page"},
      {"GGUF\3", "GGUF"},
      {"{\"error\": \"not found\"}", "a text file"},
      {"Entry not found", "a text file"},
      {std::string("\x80\4K\1.", 5), "a Python pickle"},
      {std::string("\0\1\2\3\4", 5), "no file of tensors"},
      {std::string(257, 'x') + "ustar", "a tar archive"},
      {"", "is empty"},
  };
  for (const auto& [bytes, what] : cases) {
    const auto text = error_of([&] { parse_bytes(bytes); });
    EXPECT_NE(text.find(what), std::string::npos) << what << ": " << text;
  }
  EXPECT_NE(error_of([] { TensorFile::open(golden("sd1c")); }).find("is a folder"), std::string::npos);
  EXPECT_NE(error_of([] { TensorFile::open(golden("sd1c/none")); }).find("there is no file"), std::string::npos);
  EXPECT_NE(error_of([] { TensorFile::open("/dev/null"); }).find("no regular file"), std::string::npos);
}

TEST(ShardFiles, AreListedOnceAndCheckedForTheirNames) {
  const ScratchFolder folder;
  write_file_atomically(folder / "a-1.safetensors", "x");
  write_file_atomically(folder / "a-2.safetensors", "x");
  const auto index = folder / "index.json";
  const auto with = [&](const std::string& json) {
    write_file_atomically(index, json);
    return shard_files(index);
  };
  const auto shards = with(R"({"metadata":{},"weight_map":{"x":"a-2.safetensors","y":"a-1.safetensors","z":"a-2.safetensors"}})");
  EXPECT_EQ(shards, (std::vector<std::filesystem::path>{folder / "a-1.safetensors", folder / "a-2.safetensors"}));
  EXPECT_NE(error_of([&] { with(R"({"weight_map":{"x":"../a"}})"); }).find("no plain file name"), std::string::npos);
  EXPECT_NE(error_of([&] { with(R"({"weight_map":{"x":".."}})"); }).find("no plain file name"), std::string::npos);
  EXPECT_NE(error_of([&] { with(R"({"weight_map":{"x":"a-3"}})"); }).find("a-3 is missing"), std::string::npos);
  EXPECT_NE(error_of([&] { with(R"({"weight_map":{"x":3}})"); }).find("other than file names"), std::string::npos);
  EXPECT_NE(error_of([&] { with(R"({"weight_map":{}})"); }).find("no index"), std::string::npos);
  EXPECT_NE(error_of([&] { with(std::string(100000, '[')); }), "");
  EXPECT_NE(error_of([&] { with("nonsense"); }).find("no index"), std::string::npos);
}

}  // namespace lorikeet
