#include "shelf.h"

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "io/picture.h"

namespace fs = std::filesystem;

namespace lorikeet::testing {

void write_lora(const fs::path& path, const LoraShape& shape) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!shape.metadata.empty()) header["__metadata__"] = shape.metadata;
  uint64_t at = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> sides) {
    uint64_t bytes = 2;
    for (const int64_t side : sides) bytes *= static_cast<uint64_t>(side);
    header[name] = {{"dtype", "F16"}, {"shape", sides}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  };
  for (int i = 0; i < shape.modules; ++i) {
    const std::string module = "lora_unet_down_blocks_" + std::to_string(i) + "_attentions_0_transformer_blocks_0_attn2_to_k";
    add(module + ".lora_down.weight", {shape.rank, shape.context});
    add(module + ".lora_up.weight", {320, shape.rank});
    add(module + ".alpha", {});
  }
  const std::string text = header.dump();
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  const uint64_t length = text.size();
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << text;
  if (shape.seed != 0) {
    std::mt19937 random(shape.seed);
    const std::string start(4, static_cast<char>(random()));
    out << start;
  }
  out.close();
  fs::resize_file(path, 8 + text.size() + at);
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string png(int width_px, int height_px, const std::string& parameters) {
  Picture picture{width_px, height_px, 3, std::vector<uint8_t>(static_cast<size_t>(width_px) * static_cast<size_t>(height_px) * 3, 90)};
  const auto bytes = encode_picture(PictureFormat::png, picture, {{"parameters", parameters}});
  return {bytes.begin(), bytes.end()};
}

Shelf::Shelf() {
  for (const fs::path& place : {loras(), checkpoints(), embeddings(), vaes()}) fs::create_directories(place);
}

LibraryOptions Shelf::options() const {
  LibraryOptions options;
  options.folders.add_root(root());
  options.data = data();
  options.watch = options.hash = false;
  options.threads = 2;
  return options;
}

std::unique_ptr<Library> Shelf::open(LibraryOptions options) {
  auto library = std::make_unique<Library>(std::move(options));
  library->refresh();
  return library;
}

std::vector<std::string> names(const LibraryPage& page) {
  std::vector<std::string> names;
  for (const LibraryCard& card : page.items) names.push_back(card.name);
  return names;
}

std::vector<std::string> found(const Library& library, const std::string& text, ModelKind kind) {
  return names(library.list({.kind = kind, .text = text, .limit = 1000}));
}

bool soon(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace lorikeet::testing
