#include "io/model_folders.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "io/tensor_file.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace {
class ModelFoldersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("lorikeet_folders_" + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  // A small safetensors file whose content depends on its path, so that hashes differ.
  fs::path add(const std::string& path, std::map<std::string, std::string> metadata = {}) {
    const fs::path file = root_ / path;
    fs::create_directories(file.parent_path());
    write_safetensors(file, {{"t", torch::full({4}, static_cast<double>(std::hash<std::string>{}(path) % 1000))}}, metadata);
    return file;
  }
  void touch(const std::string& path) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << "x";
  }
  std::vector<std::string> names(const ModelFolders& folders, ModelKind kind) {
    std::vector<std::string> result;
    for (const ModelFile& file : folders.list(kind)) result.push_back(file.name);
    return result;
  }
  std::string message_of_missing(const ModelFolders& folders, ModelKind kind, std::string_view name) {
    try {
      folders.find(kind, name);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::not_found);
      return error.what();
    }
    ADD_FAILURE() << name << " was found";
    return {};
  }
  fs::path root_;
};
using Names = std::vector<std::string>;
}  // namespace

TEST_F(ModelFoldersTest, A1111sLayoutIsReadAsAModelsFolderAndFromItsProgramFolder) {
  add("webui/models/Stable-diffusion/sub/a.safetensors");
  add("webui/models/Lora/fox.safetensors");
  add("webui/models/LyCORIS/owl.safetensors");
  add("webui/models/VAE/v.safetensors");
  add("webui/embeddings/neg.safetensors");
  for (const char* root : {"webui/models", "webui"}) {
    ModelFolders folders;
    folders.add_root(root_ / root);
    EXPECT_EQ(names(folders, ModelKind::checkpoint), Names{"sub/a"}) << root;
    EXPECT_EQ(names(folders, ModelKind::lora), (Names{"fox", "owl"})) << root;
    EXPECT_EQ(names(folders, ModelKind::vae), Names{"v"}) << root;
    EXPECT_EQ(names(folders, ModelKind::embedding), Names{"neg"}) << root;
  }
}

TEST_F(ModelFoldersTest, ComfysLayoutIsReadAndFoldersAddUp) {
  add("one/checkpoints/a.safetensors");
  add("one/loras/fox.safetensors");
  add("two/loras/owl.safetensors");
  add("three/wolf.safetensors");
  ModelFolders folders;
  folders.add_root(root_ / "one");
  folders.add_root(root_ / "two");
  folders.add_folder(ModelKind::lora, root_ / "three");
  folders.add_folder(ModelKind::lora, root_ / "three/../three");
  EXPECT_EQ(names(folders, ModelKind::lora), (Names{"fox", "owl", "wolf"}));
  EXPECT_THROW(folders.add_root(root_ / "none"), Error);
}

TEST_F(ModelFoldersTest, OnlyModelsAreListed) {
  add("checkpoints/a.safetensors");
  add("checkpoints/a.vae.safetensors");
  add("checkpoints/.hidden/b.safetensors");
  touch("checkpoints/a.png");
  touch("checkpoints/readme.txt");
  touch("checkpoints/sd15/model_index.json");
  add("checkpoints/sd15/unet/diffusion_pytorch_model.safetensors");
  touch("loras/peft/adapter_config.json");
  add("loras/peft/adapter_model.safetensors");
  add("embeddings/neg.safetensors");
  touch("embeddings/neg.png");
  touch("embeddings/neg.preview.png");
  touch("embeddings/drawn.png");
  fs::create_directory_symlink(root_ / "checkpoints", root_ / "checkpoints/loop");
  ModelFolders folders;
  folders.add_root(root_);
  EXPECT_EQ(names(folders, ModelKind::checkpoint), (Names{"a", "sd15"}));
  EXPECT_EQ(names(folders, ModelKind::vae), Names{"a.vae"});
  EXPECT_EQ(names(folders, ModelKind::lora), Names{"peft"});
  EXPECT_EQ(names(folders, ModelKind::embedding), (Names{"drawn", "neg"}));
  EXPECT_EQ(folders.find(ModelKind::lora, "peft").file.path, root_ / "loras/peft/adapter_model.safetensors");
}

TEST_F(ModelFoldersTest, ANameIsFoundWithAndWithoutExtensionFolderAndCase) {
  const fs::path file = add("loras/styles/Monet v1.5.safetensors");
  ModelFolders folders;
  folders.add_root(root_);
  for (const char* name :
       {"Monet v1.5", "Monet v1.5.safetensors", "styles/Monet v1.5", "styles\\Monet v1.5.safetensors", "monet V1.5", " Monet v1.5 "})
    EXPECT_EQ(folders.find(ModelKind::lora, name).file.path, file) << name;
  EXPECT_TRUE(folders.find(ModelKind::lora, "Monet v1.5").notes.empty());
}

TEST_F(ModelFoldersTest, ExactCaseWinsOverAnyCase) {
  const fs::path upper = add("loras/Fox.safetensors"), low = add("loras/fox.safetensors");
  ModelFolders folders;
  folders.add_root(root_);
  EXPECT_EQ(folders.find(ModelKind::lora, "Fox").file.path, upper);
  EXPECT_EQ(folders.find(ModelKind::lora, "fox").file.path, low);
}

TEST_F(ModelFoldersTest, OfEqualNamesTheOneNearestToTheRootIsTakenAndTheOthersAreNamed) {
  add("loras/aaa/fox.safetensors");
  const fs::path direct = add("loras/fox.safetensors");
  ModelFolders folders;
  folders.add_root(root_);
  const FoundModel found = folders.find(ModelKind::lora, "fox");
  EXPECT_EQ(found.file.path, direct);
  ASSERT_EQ(found.notes.size(), 1u);
  EXPECT_NE(found.notes[0].find("aaa"), std::string::npos);
  EXPECT_EQ(folders.find(ModelKind::lora, "aaa/fox").file.path, root_ / "loras/aaa/fox.safetensors");
}

TEST_F(ModelFoldersTest, ALoraIsFoundByAliasAndByHash) {
  add("loras/other.safetensors");
  const fs::path file = add("loras/file.safetensors", {{"ss_output_name", "Fox style"}});
  ModelFolders folders;
  folders.add_root(root_);
  EXPECT_EQ(folders.find(ModelKind::lora, "Fox style").file.path, file);
  EXPECT_EQ(folders.find(ModelKind::lora, "fox STYLE").file.path, file);
  EXPECT_EQ(folders.find(ModelKind::lora, auto_v2(file)).file.path, file);
  EXPECT_EQ(folders.find(ModelKind::lora, auto_v3(file).substr(0, 12)).file.path, file);
  EXPECT_EQ(folders.find_hash(ModelKind::lora, sha256_file(file))->path, file);
  EXPECT_FALSE(folders.find_hash(ModelKind::lora, "0123456789"));
}

TEST_F(ModelFoldersTest, AMissNamesTheNearOnesAndThePlaces) {
  add("loras/monet.safetensors");
  ModelFolders folders;
  folders.add_root(root_);
  const std::string text = message_of_missing(folders, ModelKind::lora, "monnet");
  EXPECT_NE(text.find("did you mean monet?"), std::string::npos) << text;
  EXPECT_NE(text.find((root_ / "loras").string()), std::string::npos) << text;
  const std::string none = message_of_missing(folders, ModelKind::checkpoint, "x");
  EXPECT_NE(none.find("checkpoints"), std::string::npos) << none;
  EXPECT_NE(none.find("Stable-diffusion"), std::string::npos) << none;
}

TEST_F(ModelFoldersTest, ANameNeverLeavesTheFolders) {
  const fs::path outside = add("secret.safetensors");
  add("loras/a.safetensors");
  ModelFolders folders;
  folders.add_folder(ModelKind::lora, root_ / "loras");
  for (const std::string& name : {std::string("../secret"), std::string("x/../../secret"), std::string(""), outside.string()})
    EXPECT_THROW(folders.find(ModelKind::lora, name), Error) << name;
  EXPECT_EQ(folders.find(ModelKind::lora, outside.string(), true).file.path, outside);
}

TEST_F(ModelFoldersTest, AFolderThatIsNoModelDoesNotHideTheModelOfItsName) {
  const fs::path model = add("checkpoints/demo.safetensors"), before = fs::current_path();
  add("here/demo/notes.txt"), add("here/other/notes.txt"), add("here/whole/model_index.json");
  ModelFolders folders;
  folders.add_folder(ModelKind::checkpoint, root_ / "checkpoints");
  fs::current_path(root_ / "here");
  const auto found = [&](const char* name) { return folders.find(ModelKind::checkpoint, name, true).file.path; };
  EXPECT_EQ(found("demo"), model);
  EXPECT_EQ(found("whole"), "whole");
  EXPECT_EQ(found("other"), "other");  // what is missing in it is for the reader of checkpoints to say
  EXPECT_EQ(found("../here"), "../here");
  fs::current_path(before);
}
